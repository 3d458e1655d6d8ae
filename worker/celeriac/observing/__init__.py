"""Who hears of what happens: logs, signals, traces and metrics.

Owns: the notices of the engine, and everyone who listens to them.  Refuses to know: how to break
anything; whatever goes wrong in here is contained.

Its files, from the ground up::

    observers < logs | signals | traces | metrics
"""
