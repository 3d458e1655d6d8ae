"""The memory store as the lab keeps it: every call is a contact, and every commit is looked at.

Owns: announcing calls, so that they can fail, pause or kill the caller; the checks after each
commit: the history folds to the run (I9), the wake index fits its status (I13), a recorded output
stays (I15).  Refuses to know: who calls, and what goes wrong.

A contact has the name of the method that is called.  The engine's own tests stand on it too
(`tests/engine/driver.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from celeriac.machine import IllegalMove, apply, wake_at
from celeriac.store import Lease
from celeriac.store.codec import load_run
from celeriac.store.gates import MemoryGates
from celeriac.store.history import load_events
from celeriac.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.machine import Event, Plan, Run
    from celeriac.scheduling import Record, TickEvent
    from celeriac.store import (
        Change,
        Due,
        DueBatch,
        GateChange,
        GateSnapshot,
        Schedules,
        Snapshot,
        UnreadableSchedule,
    )
    from celeriac.testing.clock import Clock

T = TypeVar("T")
_SHARDS = 2


class Violation(AssertionError):
    """A promise of Celeriac itself was broken: a bug of its, not of the saga."""


class Witness(Protocol):
    """Hears of each call before and after it, and of what was recorded."""

    def contact(self, contact: str, when: str) -> None:
        """A call is about to be made, or was; raises what the caller is to see of it."""

    def committed(self, run: Run, events: Sequence[Event]) -> None:
        """A commit was written."""

    def broke(self, error: BaseException) -> BaseException:
        """A promise was broken; return the error, to be raised."""


class CheckedStore(MemoryStore):
    """Runs in memory, behind a line that can fail."""

    def __init__(self, clock: Clock, witness: Witness) -> None:
        super().__init__(clock.ms, shards=_SHARDS)
        self._witness = witness
        self.looked_at = self.schedules  # without a contact
        self.schedules = _CheckedSchedules(self.looked_at, self._over)
        self.kept_gates = MemoryGates(clock.ms, self.shard_of)  # without a contact
        self.gates = _CheckedGates(self.kept_gates, self._over)
        self._folded: dict[str, Run] = {}
        self._read_plans: dict[str, Plan] = {}

    # --- calls that are contacts ---------------------------------------------------------------

    def read(self, run_id: str, fields: Sequence[str] = ()) -> Snapshot:
        """Return the run, the payload *fields* asked for, and the store's time."""
        return self._over("read", lambda: self.look(run_id, fields))

    def commit(self, change: Change) -> bool:
        """Write *change* and return True; return False, with nothing written, if a guard fails."""
        return self._over("commit", lambda: self._commit(change))

    def due(self, shard: int, limit: int) -> DueBatch:
        """Return up to *limit* entries of a shard's wake index whose time has come."""
        return self._over("due", lambda: super(CheckedStore, self).due(shard, limit))

    def postpone(self, entries: Mapping[Due, int]) -> None:
        """Move entries to a later time (ms), each only if it still stands where it was found."""
        self._over("postpone", lambda: super(CheckedStore, self).postpone(entries))

    def plan(self, run_id: str, fingerprint: str) -> Plan:
        """Return the plan that a run was started with; processes keep what they have read."""
        return self._kept_plan(run_id, fingerprint)

    def _kept_plan(self, run_id: str, fingerprint: str) -> Plan:
        found = self._read_plans.get(fingerprint)
        if found is None:
            found = self._read_plans[fingerprint] = super().plan(run_id, fingerprint)
        return found

    def _over(self, contact: str, call: Callable[[], T]) -> T:
        self._witness.contact(contact, "before")
        answer = call()
        self._witness.contact(contact, "after")
        return answer

    # --- looking, without a contact ------------------------------------------------------------

    def look(self, run_id: str, fields: Sequence[str] = ()) -> Snapshot:
        """Read a run as nobody in the lab does: not a contact."""
        return super().read(run_id, fields)

    def runs(self) -> list[Run]:
        """Return every run, in the order in which they were first started."""
        return self._runs()

    def earliest(self) -> int | None:
        """Return when a sweep will find something, in ms; None: never."""
        times = [*self._wake.values()]
        times += [r.expire_at for r in self._records.values() if r.expire_at is not None]
        times += [at for at in (self.kept_gates.earliest(),) if at is not None]
        return min(times, default=None)

    # --- what must hold ------------------------------------------------------------------------

    def _commit(self, change: Change) -> bool:
        outputs = self._outputs(change)
        if not super().commit(change):
            return False
        for name, text in outputs.items():
            if self._records[change.run.id].fields.get(name) != text:
                raise self._broken(
                    f"I15: {name!r} of run {change.run.id!r} was recorded, and changed"
                )
        self._check(change)
        self._witness.committed(change.run, change.events)
        return True

    def _broken(self, what: str) -> BaseException:
        return self._witness.broke(Violation(what))

    def _outputs(self, change: Change) -> dict[str, str]:
        record = self._records.get(change.run.id)
        if record is None or change.fresh:
            return {}
        return {name: text for name, text in record.fields.items() if _is_output(name)}

    def _check(self, change: Change) -> None:
        record = self._records[change.run.id]
        stored = load_run(change.run.id, record.head)
        before = None if change.before is None else self._folded.get(change.run.id)
        written = record.log[len(record.log) - len(change.events) :]
        if change.events and change.events[0].replaces:  # what is left has to make the run, too
            before, written = None, record.log
        try:
            plan = self._kept_plan(change.run.id, stored.plan)
            for event in load_events(written, stored.started_at):
                before = apply(plan, change.run.id, before, event)
        except IllegalMove as illegal:
            raise self._broken(
                f"I9: run {change.run.id!r} made an illegal move: {illegal}"
            ) from None
        if before != stored:
            raise self._broken(f"I9: the history folds to {before}, stored is {stored}")
        self._folded[change.run.id] = stored
        self._check_wake(stored)

    def _check_wake(self, run: Run) -> None:
        entries = [key for key in self._wake if key == run.id or _is_of(key, run.id)]
        sleeps = wake_at(run) is None
        if (run.id in entries) == sleeps or (sleeps and entries):
            raise self._broken(f"I13: run {run.id!r} is {run.status}, in the wake index: {entries}")


class _CheckedSchedules:
    """The schedules of the store, behind the same line."""

    def __init__(self, kept: Schedules, over: Callable[..., Any]) -> None:
        self._kept, self._over = kept, over

    def read(self, names: Sequence[str]) -> tuple[int, Mapping[str, Record | UnreadableSchedule]]:
        """Return the time, and what is known of each of *names*, if anything is."""
        found: tuple[int, Mapping[str, Record | UnreadableSchedule]]
        found = self._over("read", lambda: self._kept.read(names))
        return found

    def names(self) -> Sequence[str]:
        """Return the names of all schedules there ever were, sorted."""
        return self._kept.names()

    def commit(self, before: Record | None, record: Record, events: Sequence[TickEvent]) -> bool:
        """Keep *record*; return False, with nothing written, if *before* is not what is kept."""
        return bool(self._over("commit", lambda: self._kept.commit(before, record, events)))

    def history(self, name: str) -> list[TickEvent]:
        """Return the newest events of a schedule, oldest first."""
        return self._kept.history(name)


class _CheckedGates:
    """The gates of the store, behind the same line."""

    def __init__(self, kept: MemoryGates, over: Callable[..., Any]) -> None:
        self._kept, self._over = kept, over
        self.due, self.known, self.salt = kept.due, kept.known, kept.salt

    def read(
        self, gate: str, place: str = "", order: int | None = None, first: int = 0, turn: str = ""
    ) -> GateSnapshot:
        """Return what is known of a gate."""
        found: GateSnapshot
        found = self._over("read", lambda: self._kept.read(gate, place, order, first, turn))
        return found

    def commit(self, change: GateChange) -> bool:
        """Write *change*; return False, with nothing written, if the record has changed."""
        return bool(self._over("gate", lambda: self._kept.commit(change)))


def _is_output(field: str) -> bool:
    return (field.partition(":")[2] if field.startswith("~") else field).startswith("out:")


def _is_of(key: Any, run_id: str) -> bool:
    return isinstance(key, Lease) and key.run_id == run_id
