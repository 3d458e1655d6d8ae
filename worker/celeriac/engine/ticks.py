"""Seeing to schedules: read, decide, commit, and start the run of a tick.

Owns: in which order a schedule and its run are written, and what others do when somebody dies in
between.  Refuses to know: the rules (`scheduling`), Celery, and who looks how often.

The schedule is committed first, and says which run is to be started; then the run is started under
the id of its tick; then the schedule notes that it was.  Whoever finds a decision that was not
carried out carries it out: an id that exists has run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import (
    CommandRefused,
    RunConflict,
    RunNotFound,
    SagaError,
    ScheduleNotFound,
    StoreError,
    StoreUnavailable,
)
from celeriac.failure import class_name
from celeriac.machine import Start, commands
from celeriac.observing import Ticked, log
from celeriac.points import reached
from celeriac.scheduling import (
    Judged,
    Launch,
    Record,
    is_idle,
    judge,
    manual_id,
    offer,
    settle,
    trigger,
)
from celeriac.store import UnreadableSchedule, payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.engine.dispatching import Dispatcher
    from celeriac.engine.engine import Engine
    from celeriac.machine import Plan
    from celeriac.scheduling import Definition, TickEvent

# Seconds after which nobody carries out what it has decided: others have, and the run may be gone.
_PATIENCE = 60.0
_TOLD_AGAIN = 60.0  # seconds after which the log says once more that a schedule cannot be seen to


class Scheduled(NamedTuple):
    """What the code of this process says of a schedule."""

    definition: Definition
    plan: Plan
    inputs: Mapping[str, str]  # JSON by parameter
    tags: tuple[tuple[str, str], ...] = ()


Known = tuple[Record | None, Scheduled | None]  # what the store says of it, and the code


class Ticks:
    """The schedules of one app, as one process sees to them.  Two at once are harmless."""

    def __init__(
        self,
        engine: Engine,
        dispatcher: Dispatcher,
        scheduled: Mapping[str, Scheduled],
        age: Callable[[], float],
        told: dict[str, float] | None = None,
    ) -> None:
        """*age* is for how many seconds there has been the process whose code *scheduled* is.

        *told* keeps what was said of schedules that cannot be seen to, and when.
        """
        self._engine, self._dispatcher, self._scheduled = engine, dispatcher, scheduled
        self._age = age
        self._told = {} if told is None else told

    def run(self) -> None:
        """See to every schedule whose time has come."""
        store, away = self._engine.store, []
        shards: dict[int, list[str]] = {}
        for name in self._scheduled:
            shards.setdefault(store.shard_of(name), []).append(name)
        for names in shards.values():
            try:
                now, found = store.schedules.read(names)
                for name in names:
                    self._see_safely(name, found.get(name), now)
            except StoreUnavailable as error:
                if not store.apart:
                    raise
                away.append(error)  # the other shards may be within reach
        if away:
            raise away[0]

    def trigger(self, name: str, run_id: str | None, by: str) -> tuple[str, bool]:
        """Start a run by hand; return its id, and False if it waits for the one before.

        The same *run_id* again is the same run.  Raises ScheduleNotFound, CommandRefused.
        """
        if name not in self._scheduled:
            raise ScheduleNotFound(name)
        asked: list[Launch] = []

        def rule(record: Record, now: int) -> Judged:
            asked[:] = [Launch(run_id=run_id or manual_id(name, now), at=now, manual=True, by=by)]
            if record.waiting and record.waiting.run_id == asked[0].run_id:
                return Judged(record)
            if self._engine.store.read(asked[0].run_id).run is not None:
                return Judged(record)
            return trigger(record, asked[0], self._running(record), now)

        record = self.command(name, rule)
        waits = record.waiting is not None and record.waiting.run_id == asked[0].run_id
        return asked[0].run_id, not waits

    def command(self, name: str, rule: Callable[[Record, int], Judged]) -> Record:
        """Do to a schedule what a rule says; return what is known of it then.

        Raises ScheduleNotFound if neither the code nor the store knows it.
        """
        while True:
            now, record = self._read(name)
            base = record
            scheduled = self._scheduled.get(name)
            offered = None
            if scheduled is not None:
                offered = offer(record, name, scheduled.definition, self._born(now), now)
                base = offered.record if offered else record
            if base is None:
                raise ScheduleNotFound(name)
            if base.starting and scheduled is not None:
                self._carry_out(base, scheduled)
                continue
            judged = rule(base, now)
            events = (*(offered.events if offered else ()), *judged.events)
            if self._commit(record, judged._replace(events=events)):
                return self._follow(judged, scheduled) if scheduled else judged.record

    def history(self, name: str) -> list[TickEvent]:
        """Return what happened to a schedule, oldest first; the newest of it."""
        engine = self._engine
        return engine.retry_while_unavailable(lambda: engine.store.schedules.history(name))

    def known(self, names: Sequence[str] | None) -> tuple[int, dict[str, Known]]:
        """Return the time (ms), and what is known of schedules, by name; None: all there are.

        Left out are those that neither code nor store knows, and those that cannot be read.
        """
        engine = self._engine
        kept = engine.store.schedules

        def once() -> tuple[int, Mapping[str, Record | UnreadableSchedule]]:
            return kept.read(names or sorted({*self._scheduled, *kept.names()}))

        now, found = engine.retry_while_unavailable(once)
        known: dict[str, Known] = {
            name: (record, self._scheduled.get(name))
            for name, record in found.items()
            if isinstance(record, Record)
        }
        for name in names or self._scheduled:
            if name in self._scheduled and name not in found:
                known[name] = (None, self._scheduled[name])
        return now, known

    # --- a tick --------------------------------------------------------------------------------

    def _see_safely(self, name: str, found: Record | UnreadableSchedule | None, now: int) -> None:
        """One schedule that cannot be seen to must not keep the sweep from the others."""
        try:
            self._see_to(name, _readable(found), now)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 -- it is logged, and looked at again
            self._trouble(name, error)

    def _trouble(self, name: str, error: Exception) -> None:
        """Tell that a schedule cannot be seen to; once a minute, since it is tried every second."""
        at = self._engine.clock()
        if name in self._told and at < self._told[name] + _TOLD_AGAIN:
            return
        self._told[name] = at
        if isinstance(error, SagaError):
            log.error("schedule %s cannot be seen to: %s", name, error)
        else:
            what = class_name(error)
            log.error("schedule %s cannot be seen to: %s", name, what, exc_info=error)

    def _see_to(self, name: str, record: Record | None, now: int) -> None:
        scheduled = self._scheduled[name]
        while True:
            began = self._engine.clock()
            offered = offer(record, name, scheduled.definition, self._born(now), now)
            if offered is None:
                return  # a newer process sees to it
            judged = self._judged(offered.record, now)
            judged = judged._replace(events=(*offered.events, *judged.events))
            if self._commit(record, judged):
                if self._engine.clock() - began < _PATIENCE:
                    self._follow(judged, scheduled)
                return
            now, record = self._read(name)

    def _judged(self, record: Record, now: int) -> Judged:
        if is_idle(record, now):
            return Judged(record)
        kept = record.definition.catch_up
        retention = self._retention(record)
        if kept >= retention:  # the id of a tick protects it no longer than its run is kept
            shorter = record.definition.model_copy(update={"catch_up": retention - 1})
            found = judge(record.changed(definition=shorter), self._running(record), now)
            restored = found.record.model_copy(update={"definition": record.definition})
            return found._replace(record=restored)
        return judge(record, self._running(record), now)

    def _retention(self, record: Record) -> int:
        scheduled = self._scheduled.get(record.name)
        own = scheduled.plan.retention if scheduled else None
        return self._engine.terms.retention if own is None else own

    def _running(self, record: Record) -> tuple[str, ...]:
        """The runs of a schedule that are not at rest."""
        if record.definition.overlap == "allow":
            return record.runs  # nobody asks
        read = self._engine.store.read
        found = ((run_id, read(run_id).run) for run_id in record.runs)
        return tuple(run_id for run_id, run in found if run and not run.status.at_rest)

    def _follow(self, judged: Judged, scheduled: Scheduled) -> Record:
        """Do what was decided."""
        reached("tick.decided", judged.record.name)
        for run_id in judged.cancel:
            self._cancel(judged.record.name, run_id)
        if judged.record.starting is None:
            return judged.record
        return self._carry_out(judged.record, scheduled)

    def _carry_out(self, record: Record, scheduled: Scheduled) -> Record:
        """Start the run that was decided on, and note that it was; return what is known then."""
        launch = record.starting
        assert launch is not None
        refused = self._start(launch, scheduled)
        reached("tick.started", launch.run_id)
        while True:
            now, found = self._read(record.name)
            if found is None:
                return record  # the store has lost it
            settled = settle(found, launch, now, refused)
            if self._commit(found, settled):
                return settled.record

    def _start(self, launch: Launch, scheduled: Scheduled) -> str:
        """Start a run; return the code of the error if it can never be."""
        engine, plan, inputs = self._engine, scheduled.plan, scheduled.inputs
        try:
            for parameter, text in inputs.items():
                what = f"input {parameter!r} of {plan.saga}"
                payloads.checked(what, text, engine.terms.max_payload)
            start = Start(
                run_id=launch.run_id,
                digest=payloads.digest(plan.saga, inputs),
                nonce=os.urandom(4).hex(),
                grace=engine.terms.grace,
                tags=scheduled.tags,
                by=launch.by,
            )
            _, decided, now = engine.start(plan, start, inputs)
        except RunConflict:
            return ""  # an id that exists has run, whatever its input
        except StoreError:
            raise
        except SagaError as error:
            log.error("the run %s of a schedule cannot be started: %s", launch.run_id, error)
            return error.code
        if decided.events:
            engine.send(self._dispatcher, plan, decided.run, decided.dispatches, now)
        return ""

    def _cancel(self, name: str, run_id: str) -> None:
        """Cancel a run, so that the next one can start; one that cannot be is waited for."""
        command = commands.Cancel(f"the next run of schedule {name} is due", f"schedule {name}")
        try:
            plan, decided, now = self._engine.command(run_id, command)
        except (CommandRefused, RunNotFound):
            return
        self._engine.send(self._dispatcher, plan, decided.run, decided.dispatches, now)

    # --- the store -----------------------------------------------------------------------------

    def _read(self, name: str) -> tuple[int, Record | None]:
        now, found = self._engine.store.schedules.read((name,))
        return now, _readable(found.get(name))

    def _commit(self, before: Record | None, judged: Judged) -> bool:
        if judged.record == before:
            return True
        record, events = judged.record, judged.events
        if not self._engine.store.schedules.commit(before, record, events):
            return False
        if events:
            self._engine.observers.tell(Ticked(record.name, record.definition.saga, events))
        return True

    def _born(self, now: int) -> int:
        return now - round(self._age() * 1000)


def _readable(found: Record | UnreadableSchedule | None) -> Record | None:
    if not isinstance(found, UnreadableSchedule):
        return found
    raise StoreError(
        f"schedule {found.name!r} cannot be read ({found.why}): was it written by a newer version?"
    )
