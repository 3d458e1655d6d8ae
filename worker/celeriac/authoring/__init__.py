"""From a function to a plan: what happens once, when a saga is defined.

Owns: steps, placeholders, the wiring of arguments, and every mistake that can be found before
anything runs.  Refuses to know: runs, servers, Celery.

Its files, from the ground up::

    annotations | signatures < placeholders < steps < flow
"""
