"""The state machine, wired to a store: one attempt, one command, one sweep.

Owns: what is read and written for each of them, the body of an attempt, repair and retention.
Refuses to know: Celery; messages are sent by a dispatcher that it is given.

Its files, from the ground up::

    archive < changes | retention < engine < bodies | sweep | repair
"""
