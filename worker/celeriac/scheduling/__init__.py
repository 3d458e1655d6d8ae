"""Schedules: at which times runs are started, and what becomes of each time.  Pure.

Owns: the reckoning of ticks, what is known of a schedule, and every rule about a tick: whether it
starts a run, waits, or is not run, and why.  Refuses to know: clocks, servers, and how a run is
started; it is told what time it is, and which runs are not at rest.

Its files, from the ground up::

    timetables < records < judging
"""

from __future__ import annotations

from celeriac.scheduling.judging import (
    KEPT_FOR,
    Judged,
    delete,
    is_idle,
    judge,
    next_looks,
    offer,
    pause,
    resume,
    settle,
    trigger,
)
from celeriac.scheduling.records import (
    Definition,
    Launch,
    NotRun,
    Overlap,
    Record,
    TickEvent,
    TickEventKind,
    manual_id,
    tick_id,
)
from celeriac.scheduling.timetables import Calendar, Interval, Timetable, utc_text

__all__ = [
    "KEPT_FOR",
    "Calendar",
    "Definition",
    "Interval",
    "Judged",
    "Launch",
    "NotRun",
    "Overlap",
    "Record",
    "TickEvent",
    "TickEventKind",
    "Timetable",
    "delete",
    "is_idle",
    "judge",
    "manual_id",
    "next_looks",
    "offer",
    "pause",
    "resume",
    "settle",
    "tick_id",
    "trigger",
    "utc_text",
]
