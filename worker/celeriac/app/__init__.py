"""Everything put together for one Celery app.

Owns: what an app gets from Celeriac, and what application code is given in return.  Refuses to
know: how anything is decided, stored or sent.

Its files, from the ground up::

    inputs | handles | instruments < pages | wiring < bulk
"""

from __future__ import annotations

from celeriac.app.bulk import give, kinds, matching
from celeriac.app.handles import RunHandle, dump_plain
from celeriac.app.inputs import (
    checked_id,
    checked_statuses,
    checked_tags,
    dump_cursor,
    inputs_of,
    load_cursor,
    moment_ms,
    uuid7,
)
from celeriac.app.instruments import Instruments, count_into, serve_store
from celeriac.app.pages import Page
from celeriac.app.wiring import sweep_once, wire

__all__ = [
    "Instruments",
    "Page",
    "RunHandle",
    "checked_id",
    "checked_statuses",
    "checked_tags",
    "count_into",
    "dump_cursor",
    "dump_plain",
    "give",
    "inputs_of",
    "kinds",
    "load_cursor",
    "matching",
    "moment_ms",
    "serve_store",
    "sweep_once",
    "uuid7",
    "wire",
]
