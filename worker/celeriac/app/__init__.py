"""Everything put together for one Celery app.

Owns: what an app gets from Celeriac, and what application code is given in return.  Refuses to
know: how anything is decided, stored or sent.

Its files, from the ground up::

    inputs | client | instruments < bulk | wiring
"""
