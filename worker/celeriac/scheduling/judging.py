"""What becomes of each tick: the rules of schedules, as plain functions.

Owns: whether a tick starts a run, waits for the one before, or is not run and why; what operators
may ask; whose definition counts while a deploy is under way.  Refuses to know: how a record is
kept: whoever commits one does so only if nobody else has changed it, so a tick is decided once.

Deciding and starting are two commits, since run and schedule have their places apart.  So a
decision to start is part of the record (`starting`), and is carried out again by the next who
comes, until it is settled.  The run's id is made of the tick: started twice, it is one run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import CommandRefused
from celeriac.scheduling.records import (
    Definition,
    Launch,
    NotRun,
    Pause,
    Record,
    TickEvent,
    TickEventKind,
    tick_id,
)

if TYPE_CHECKING:
    from collections.abc import Collection

#: ms after which a definition that nobody has confirmed gives way to an older process.
KEPT_FOR = 120_000
_CONFIRM = 30_000  # ms: so often is it noted that a definition is still in use
_MOST_RUNS = 100  # that are watched; with overlap `allow` there may be more
_MOST_COUNTED = 10_000  # ticks of one event; beyond, there are at least so many

_Kind = TickEventKind


class Judged(NamedTuple):
    """What was decided of a schedule."""

    record: Record
    events: tuple[TickEvent, ...] = ()
    cancel: tuple[str, ...] = ()  # runs to be cancelled, so that the waiting one can start


# --- definitions -------------------------------------------------------------------------------


def offer(
    found: Record | None, name: str, definition: Definition, born: int, now: int
) -> Judged | None:
    """What a schedule is for a process whose code has *definition*; None: it is not its business.

    Code wins over the store, and of two codes that of the process that was begun later: after a
    deploy, workers of both are at work for a while.  An older process takes over when no newer one
    has been here for `KEPT_FOR`.  A new schedule, and new times, begin now: nothing is filled in;
    but where an older process takes over, they begin when the newer one was last here.
    """
    if found is None:
        event = TickEvent(now, _Kind.CREATED)
        record = Record(
            name=name, definition=definition, born=born, confirmed=now, last=now, runs=()
        )
        return Judged(record, (event,))
    if found.definition == definition:
        if now - found.confirmed < _CONFIRM:
            return Judged(found)
        return Judged(found.changed(confirmed=now, born=max(born, found.born)))
    newer = born > found.born
    if not newer and now - found.confirmed < KEPT_FOR:
        return None
    values: dict[str, object] = {"definition": definition, "born": born, "confirmed": now}
    if found.definition.timetable != definition.timetable:
        values["last"] = now if newer else max(found.last, found.confirmed)
    return Judged(found.changed(**values), (TickEvent(now, _Kind.CHANGED),))


# --- ticks -------------------------------------------------------------------------------------


def is_idle(record: Record, now: int) -> bool:
    """True if there is nothing to decide, whatever the runs do."""
    if record.deleted or record.starting:
        return True
    return record.waiting is None and record.definition.timetable.next(record.last) > now


def next_looks(record: Record) -> tuple[int, ...]:
    """When there may be something to decide; 0 is now."""
    if record.starting is not None:
        return (0,)
    if record.deleted:
        return ()
    return (record.definition.timetable.next(record.last),)


def judge(record: Record, running: Collection[str], now: int) -> Judged:
    """Decide what becomes of the ticks up to *now*, and of the run that waits.

    *running* are those of `record.runs` that are not at rest.  At most one run is to be started
    then: `record.starting`.
    """
    if record.deleted or record.starting:
        return Judged(record)
    tick = record.definition.timetable.newest(record.last, now)
    if tick is None:
        return _started_after_others(record, running, now)
    events = list(_older(record, tick, now))
    ticked = record.changed(last=tick, ticked=tick)
    if record.paused:
        return Judged(ticked, (*events, _skipped(now, tick, NotRun.PAUSED)))
    if now - tick > record.definition.catch_up:
        after = _started_after_others(ticked, running, now)
        late = _skipped(now, tick, NotRun.LATE)
        return after._replace(events=(*events, late, *after.events))
    launch = Launch(run_id=tick_id(record.name, tick), at=tick)
    found = _launched(ticked, launch, running, now)
    return found._replace(events=(*events, *found.events))


def settle(record: Record, launch: Launch, now: int, refused: str = "") -> Judged:
    """Note that a run was started, or that it cannot be: *refused* is the code of the error."""
    if record.starting != launch:
        return Judged(record)  # somebody else has noted it
    if refused:
        event = TickEvent(
            now, _Kind.SKIPPED, launch.at, launch.run_id, f"{NotRun.REFUSED}: {refused}", launch.by
        )
        return Judged(record.changed(starting=None), (event,))
    kind = _Kind.TRIGGERED if launch.manual else _Kind.STARTED
    event = TickEvent(now, kind, launch.at, launch.run_id, by=launch.by)
    runs = (*(run for run in record.runs if run != launch.run_id), launch.run_id)
    return Judged(record.changed(starting=None, runs=runs[-_MOST_RUNS:]), (event,))


def _launched(record: Record, launch: Launch, running: Collection[str], now: int) -> Judged:
    """Start a run, or let it wait, or not, as the rule for overlapping runs says."""
    alive = tuple(run for run in record.runs if run in running)
    overlap, waiting = record.definition.overlap, record.waiting
    if overlap == "allow" or (not alive and (waiting is None or overlap != "queue")):
        return Judged(_start(record, launch, alive), _overtaken(waiting, now))
    if overlap == "cancel":
        found = record.changed(waiting=launch, runs=alive)
        return Judged(found, (*_overtaken(waiting, now), _queued(launch, now)), alive)
    if not alive and waiting is not None:
        # The one that waited is at its turn; the new one takes its place.
        found = _start(record, waiting, alive).changed(waiting=launch)
        return Judged(found, (_queued(launch, now),))
    if overlap == "queue" and waiting is None:
        return Judged(record.changed(waiting=launch, runs=alive), (_queued(launch, now),))
    why = NotRun.QUEUE_FULL if overlap == "queue" else NotRun.OVERLAP
    return Judged(record, (_skipped(now, launch.at, why, launch),))


def _started_after_others(record: Record, running: Collection[str], now: int) -> Judged:
    """Start the run that waits, if those before it are at rest."""
    if record.waiting is None:
        return Judged(record)
    alive = tuple(run for run in record.runs if run in running)
    if record.definition.overlap == "allow" or not alive:
        return Judged(_start(record, record.waiting, alive))
    if record.definition.overlap == "skip":  # it was edited meanwhile
        event = _skipped(now, record.waiting.at, NotRun.OVERLAP, record.waiting)
        return Judged(record.changed(waiting=None), (event,))
    return Judged(record, (), alive if record.definition.overlap == "cancel" else ())


def _start(record: Record, launch: Launch, alive: tuple[str, ...]) -> Record:
    """Let a run be started.  The one before it stays watched: an operator may revive it."""
    newest = tuple(run for run in record.runs[-1:] if run not in alive)
    return record.changed(starting=launch, waiting=None, runs=(*alive, *newest))


def _older(record: Record, newest: int, now: int) -> tuple[TickEvent, ...]:
    """The ticks before the newest: they are not run."""
    timetable = record.definition.timetable
    count = timetable.count(record.last, newest - 1, _MOST_COUNTED)
    if not count:
        return ()
    why = NotRun.PAUSED if record.paused else NotRun.LATE
    first, last = timetable.next(record.last), timetable.newest(record.last, newest - 1)
    return (TickEvent(now, _Kind.SKIPPED, first, why=why, count=count, last=last),)


def _skipped(now: int, tick: int, why: NotRun, launch: Launch | None = None) -> TickEvent:
    run, by = (launch.run_id, launch.by) if launch else ("", "")
    return TickEvent(now, _Kind.SKIPPED, tick, run, why, by)


def _queued(launch: Launch, now: int) -> TickEvent:
    return TickEvent(now, _Kind.QUEUED, launch.at, launch.run_id, by=launch.by)


def _overtaken(waiting: Launch | None, now: int) -> tuple[TickEvent, ...]:
    return () if waiting is None else (_skipped(now, waiting.at, NotRun.OVERTAKEN, waiting),)


# --- what operators ask ------------------------------------------------------------------------


def pause(record: Record, reason: str, by: str, now: int) -> Judged:
    """Let no tick start a run until `resume`; what waits is given up.

    What waits from then on was asked for by hand, and starts all the same.
    """
    _be_there(record)
    if record.paused:
        return Judged(record)
    event = TickEvent(now, _Kind.PAUSED, why=reason, by=by)
    paused = Pause(at=now, reason=reason, by=by)
    waiting = record.waiting
    given_up = () if waiting is None else (_skipped(now, waiting.at, NotRun.PAUSED, waiting),)
    return Judged(record.changed(paused=paused, waiting=None), (event, *given_up))


def resume(record: Record, reason: str, by: str, now: int) -> Judged:
    """Let ticks start runs again, also after `delete`; those that have passed are not filled in."""
    if not record.paused and not record.deleted:
        return Judged(record)
    passed: tuple[TickEvent, ...] = ()
    newest = record.definition.timetable.newest(record.last, now)
    if newest is not None and not record.deleted:
        passed = (*_older(record, newest, now), _skipped(now, newest, NotRun.PAUSED))
    event = TickEvent(now, _Kind.RESUMED, why=reason, by=by)
    found = record.changed(paused=None, deleted=None, last=max(record.last, now))
    return Judged(found, (*passed, event))


def delete(record: Record, reason: str, by: str, now: int) -> Judged:
    """Let the schedule be gone, though the code may still have it; runs under way go on."""
    if record.deleted:
        return Judged(record)
    event = TickEvent(now, _Kind.DELETED, why=reason, by=by)
    gone = Pause(at=now, reason=reason, by=by)
    return Judged(record.changed(deleted=gone, paused=None, waiting=None), (event,))


def trigger(record: Record, launch: Launch, running: Collection[str], now: int) -> Judged:
    """Start a run now, also of a paused schedule, unless the rule for overlapping runs forbids it.

    What was to be started before must have been (`starting`).  Raises CommandRefused then, as
    `overlap` or `queue_full`.
    """
    _be_there(record)
    found = _launched(record, launch, running, now)
    refused = [each.why for each in found.events if each.run == launch.run_id and each.why]
    alive = ", ".join(run for run in record.runs if run in running)
    rule = f"overlap is {record.definition.overlap!r}"
    if NotRun.QUEUE_FULL in refused:
        waiting = record.waiting.run_id if record.waiting else ""
        raise CommandRefused(
            "queue_full", f"{waiting} waits for {alive} already, and {rule}: wait, or cancel one"
        )
    if refused:
        raise CommandRefused(
            "overlap",
            f"schedule {record.name!r} starts nothing beside {alive}, since {rule}: wait until "
            "that is at rest, or cancel it",
        )
    return found


def _be_there(record: Record) -> None:
    if record.deleted:
        raise CommandRefused(
            "deleted", f"schedule {record.name!r} was deleted; resume it to have it again"
        )
