"""The state machine: plans, runs, and what may happen to them.  Pure.

Owns: every rule about a run, and the words that rules are written in.  Refuses to know: clocks,
servers, messages, payloads, and who asks.

Its files, from the ground up::

    plans < runs | events | policy | commands < moves < transitions
"""
