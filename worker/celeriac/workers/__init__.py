"""What a Celery worker does with a message of ours.

Owns: tasks, chains, leases, and what a worker tells of itself.  Refuses to know: how sagas are
defined and steered.

Its files, from the ground up::

    canvas | places | heartbeat < leases | intake | runtime < report | tasks
"""
