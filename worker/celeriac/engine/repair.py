"""Proving that everything stored of the runs fits together, and mending what does not (I13).

Owns: what must be so (a run is in the wake index unless it is at rest, with a lease for each
attempt at work; it is listed where it belongs and nowhere else; its history makes the run; its
plan is there), and what is done where it is not.  Refuses to know: how any of it is kept, and how
it could have come to this: no commit leaves a store so, but another program or a hand may.

What is derived from runs is written again from them, by an ordinary commit that changes nothing
else.  What runs themselves have lost cannot be made up: it is reported, and left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celeriac.engine.changes import leases_of, removable_at
from celeriac.errors import StoreError
from celeriac.machine import IllegalMove, RunStatus, began_once, fold, wake_at
from celeriac.store import Change, IndexedRun, UnreadableRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.engine.engine import Engine
    from celeriac.machine import Plan, Run
    from celeriac.store import Entry

#: What can be wrong, by name, and what it means; of the last three nothing is left to mend from.
FAULTS = {
    "asleep": "it is not at rest, and nothing would ever wake it",
    "awake at rest": "it is at rest, and woken all the same",
    "lease missing": "an attempt is at work, and nobody would notice its worker's death",
    "lease left behind": "a lease of an attempt that is over, or never was",
    "not listed": "it is missing from the lists of runs",
    "listed wrongly": "it is in a list where it does not belong",
    "kept for ever": "it has ended, and would never be removed",
    "removed too early": "it is still needed, and would be removed",
    "without a run": "an entry of an index that speaks of no run",
    "unreadable": "its state cannot be read: restore it, or delete its key",
    "plan lost": "the plan it follows is gone: restore a backup",
    "history differs": "its history does not make the run as it is: restore a backup",
}


class Fault(NamedTuple):
    """Something that does not fit."""

    run_id: str
    what: str  # one of FAULTS
    mended: bool


class Repaired(NamedTuple):
    """What was found, and what became of it."""

    looked_at: int  # runs
    faults: tuple[Fault, ...]

    @property
    def left(self) -> tuple[Fault, ...]:
        """What still does not fit."""
        return tuple(fault for fault in self.faults if not fault.mended)


class Repair:
    """Looks at every run, and at every entry of every index; bounded batches, and no locks."""

    def __init__(self, engine: Engine, *, batch: int = 100) -> None:
        self._engine, self._store, self._batch = engine, engine.store, batch

    def run(self, *, dry_run: bool = False) -> Repaired:
        """Mend what does not fit, as far as that is possible; *dry_run* only looks.

        Runs may go on meanwhile: what they change is not taken for a fault.
        """
        looked, found = 0, dict[tuple[str, str], Fault]()
        for shard in range(self._store.shards):
            for standing in self._store.indexed_runs(shard, self._batch):
                looked += 1
                for fault in self._see_to(standing, dry_run=dry_run):
                    found.setdefault((fault.run_id, fault.what), fault)
            for entry in self._store.entries(shard, self._batch):
                for fault in self._see_to_entry(entry, dry_run=dry_run):
                    found.setdefault((fault.run_id, fault.what), fault)
        return Repaired(looked, tuple(found.values()))

    # --- runs ----------------------------------------------------------------------------------

    def _see_to(self, standing: IndexedRun | UnreadableRun, *, dry_run: bool) -> Iterator[Fault]:
        if isinstance(standing, UnreadableRun):
            yield Fault(standing.run_id, "unreadable", mended=False)
            return
        run = standing.run
        plan = self._plan(standing)
        if plan is None:
            yield Fault(run.id, "plan lost", mended=False)
        elif not self._makes(plan, run):
            yield Fault(run.id, "history differs", mended=False)
        found = self._faults(standing, plan)
        if found:
            mended = not dry_run and self._commit_again(standing, plan)
            yield from (Fault(run.id, what, mended) for what in found)

    def _plan(self, standing: IndexedRun) -> Plan | None:
        if not standing.planned:
            return None
        try:
            return self._store.plan(standing.run.id, standing.run.plan)
        except StoreError:
            return None

    def _makes(self, plan: Plan, run: Run) -> bool:
        """True if the history makes the run; also if the run has gone on since it was read."""
        history = self._store.history(run.id)
        try:
            told = fold(plan, run.id, history)
        except (IllegalMove, LookupError, ValueError):
            told = None
        return told == run or self._gone_on(run)

    def _gone_on(self, run: Run) -> bool:
        return self._store.read(run.id).run != run

    def _faults(self, standing: IndexedRun, plan: Plan | None) -> list[str]:
        run, at_work = standing.run, leases_of(standing.run)
        sleeps = wake_at(run) is None
        found = {
            "asleep": not sleeps and standing.wake_at is None,
            "awake at rest": sleeps and standing.wake_at is not None,
            "lease missing": bool(at_work - standing.leases.keys()),
            "lease left behind": bool(standing.leases.keys() - at_work),
            "not listed": not standing.listed,
        }
        if plan is not None and standing.expire_at is None:
            found["kept for ever"] = removable_at(plan, run, self._engine.terms) is not None
        return [what for what, so in found.items() if so]

    def _commit_again(self, standing: IndexedRun, plan: Plan | None) -> bool:
        """Write what is derived from a run once more; False if it has gone on meanwhile."""
        run, at_work, terms = standing.run, leases_of(standing.run), self._engine.terms
        ends = removable_at(plan, run, terms) if plan else standing.expire_at
        change = Change(
            before=run,
            run=run,
            events=(),
            wake_at=None if wake_at(run) is None else standing.wake_at or wake_at(run),
            # Whoever lives has a lease's time to say so; nobody else is taken for dead before.
            leases=dict.fromkeys(at_work - standing.leases.keys(), standing.now + terms.lease),
            released=tuple(standing.leases.keys() - at_work),
            expire_at=ends and (standing.expire_at or ends),
            relist=True,
        )
        return self._engine.retry_while_unavailable(lambda: self._store.commit(change))

    # --- entries of indexes --------------------------------------------------------------------

    def _see_to_entry(self, entry: Entry, *, dry_run: bool) -> Iterator[Fault]:
        what = self._fault_of(entry)
        if what:
            mended = not dry_run and self._engine.retry_while_unavailable(
                lambda: self._store.drop(entry)
            )
            yield Fault(entry.run_id, what, mended)

    def _fault_of(self, entry: Entry) -> str | None:
        run = entry.run
        if run is None:
            return "without a run"
        if entry.kind == "list":
            return None if entry.listed else "listed wrongly"
        if entry.kind == "expire":
            over = run.status.at_rest and run.status is not RunStatus.FAILED
            return None if over else "removed too early"
        if entry.lease is not None:
            held = leases_of(run)
            known = held | ({lease.as_before for lease in held} if began_once(run) else set())
            return None if entry.lease in known else "lease left behind"
        return "awake at rest" if wake_at(run) is None else None
