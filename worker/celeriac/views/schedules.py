"""A schedule as people see it: its times, what it waits for, and what happened to its ticks.

Owns: the snapshot.  Refuses to know: how it is printed, and the rules of schedules.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from celeriac.machine import Frozen
from celeriac.observing import tick_details
from celeriac.scheduling import Calendar, Overlap
from celeriac.views.times import moment

if TYPE_CHECKING:
    from celeriac.scheduling import Definition, Record, TickEvent

ScheduleStatus = Literal["active", "paused", "deleted", "new"]
_SHOWN = 3  # ticks to come


class ScheduleState(Frozen):
    """A schedule as it was when it was looked at."""

    name: str
    saga: str
    every: str = Field(description="the fields of a crontab, or the length of an interval")
    timezone: str
    overlap: Overlap
    catch_up: float = Field(description="seconds that a tick may be late and yet start a run")
    status: ScheduleStatus = Field(description="new: no sweep has seen it yet")
    next: tuple[datetime, ...] = Field(description="the ticks to come; none if it is not active")
    last: datetime | None = Field(description="the newest tick that has passed")
    runs: tuple[str, ...] = Field(description="its newest runs, as far as the next tick asks")
    waiting: str | None = Field(description="id of the run that waits for those to be at rest")
    reason: str = Field(default="", description="why it is paused or deleted")
    by: str = Field(default="", description="who did that")
    defined: bool = Field(description="it is in the code of this process")


class ScheduleEvent(Frozen):
    """Something that happened to a schedule, or to some of its ticks."""

    at: datetime
    kind: str
    tick: datetime | None = Field(description="the tick, or the first of several")
    last: datetime | None = Field(description="the last of several ticks")
    count: int = Field(description="how many ticks")
    run: str
    why: str
    by: str
    text: str = Field(description="all of it in words")


def tick_time(at: datetime) -> str:
    """Return a time as people read it, wherever they are: `2026-11-28 03:00:00Z`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def schedule_state(
    name: str, record: Record | None, defined: Definition | None, now: int
) -> ScheduleState:
    """Return what is shown of a schedule that the store or the code knows."""
    definition = record.definition if record else defined
    assert definition is not None
    timetable = definition.timetable
    stop = record and (record.deleted or record.paused)
    coming: list[datetime] = []
    at = max(now, record.last) if record else now
    while not stop and len(coming) < _SHOWN:
        at = timetable.next(at)
        coming.append(moment(at))
    launched = record and record.starting
    return ScheduleState(
        name=name,
        saga=definition.saga,
        every=timetable.text,
        timezone=timetable.zone if isinstance(timetable, Calendar) else "UTC",
        overlap=definition.overlap,
        catch_up=definition.catch_up / 1000,
        status=_status(record),
        next=tuple(coming),
        last=moment(record.ticked) if record and record.ticked else None,
        runs=(*(record.runs if record else ()), *((launched.run_id,) if launched else ())),
        waiting=record.waiting.run_id if record and record.waiting else None,
        reason=stop.reason if stop else "",
        by=stop.by if stop else "",
        defined=defined is not None,
    )


def schedule_event(event: TickEvent) -> ScheduleEvent:
    """Return what is shown of an event."""
    return ScheduleEvent(
        at=moment(event.at),
        kind=event.kind.value,
        tick=None if event.tick is None else moment(event.tick),
        last=None if event.last is None else moment(event.last),
        count=event.count,
        run=event.run,
        why=event.why,
        by=event.by,
        text=tick_details(event),
    )


def _status(record: Record | None) -> ScheduleStatus:
    if record is None:
        return "new"
    if record.deleted:
        return "deleted"
    return "paused" if record.paused else "active"
