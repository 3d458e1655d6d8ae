"""The store that forgets: runs in this process, for tests and the lab.

Owns: the `Store` promise on plain dictionaries, with a clock that can be moved.  Refuses to know:
Redis, and what a transition means.

It keeps what the Redis store keeps, as text: nobody shares a value that could change, and what
cannot be written down fails here too.  The file is long because the promise is: one short method
for each of its sentences, over the same few dictionaries.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celeriac.errors import StoreError
from celeriac.machine import Plan
from celeriac.store import payloads
from celeriac.store.bulks import MemoryBulks
from celeriac.store.codec import dump_plan, dump_run, load_plan, load_run, stamp
from celeriac.store.gates import MemoryGates
from celeriac.store.history import dump_events, load_events
from celeriac.store.keys import CUT, shard_of
from celeriac.store.presence import MemoryPresences
from celeriac.store.protocol import (
    Due,
    DueBatch,
    Entry,
    Expired,
    IndexedRun,
    Lease,
    Pulse,
    RunPage,
    Snapshot,
    StoreStats,
    SweepMark,
)
from celeriac.store.schedules import MemorySchedules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from celeriac.machine import Event, Run, RunStatus
    from celeriac.store.bulks import Bulks
    from celeriac.store.gates import Gates
    from celeriac.store.protocol import Change, Query, UnreadableRun, Waiter
    from celeriac.store.schedules import Schedules

OUTAGES_KEPT = 100


def wall_clock() -> int:
    """Return the time of this machine in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _Record:
    """What is kept of a run."""

    head: str
    fields: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    expire_at: int | None = None


class MemoryStore:
    """Runs in memory; *clock* returns the time in milliseconds.  Safe to share among threads."""

    apart = False

    def __init__(self, clock: Callable[[], int] = wall_clock, shards: int = 8) -> None:
        self.shards = shards
        self._clock = clock
        self._lock = threading.RLock()
        self._waiters: dict[str, set[Waiter]] = {}
        self._records: dict[str, _Record] = {}
        self._plans: dict[str, str] = {}
        self._started: dict[tuple[int, str], int] = {}  # (shard, plan): its newest start, in ms
        self._definitions: dict[tuple[str, int], str] = {}  # by saga and version
        self._turns: dict[str, int] = {}  # by work: until when somebody is at it, in ms
        self._wake: dict[str | Lease, int] = {}  # by run id or lease, when to look, in ms
        self._seen: list[dict[str, int]] = [{} for _ in range(shards)]
        self._last = self._since = 0
        self._outages: list[tuple[int, int]] = []
        self._swept: tuple[int, int, int] | None = None
        self.presences = MemoryPresences(clock)
        self.schedules: Schedules = MemorySchedules(clock)
        self.bulks: Bulks = MemoryBulks()
        self.gates: Gates = MemoryGates(clock, self.shard_of)

    def shard_of(self, run_id: str) -> int:
        """Return the shard a run belongs to."""
        return shard_of(run_id, self.shards)

    # --- runs ----------------------------------------------------------------------------------

    def read(self, run_id: str, fields: Sequence[str] = ()) -> Snapshot:
        """Return the run, the payload *fields* asked for, and the store's time."""
        with self._lock:
            record = self._records.get(run_id)
            if record is None:
                return Snapshot(None, self._clock(), {})
            run = load_run(run_id, record.head)
            kept = {name: record.fields.get(payloads.kept_as(name, run)) for name in fields}
            found = {name: text for name, text in kept.items() if text is not None}
            return Snapshot(run, self._clock(), found)

    def commit(self, change: Change) -> bool:
        """Write *change* and return True; return False, with nothing written, if a guard fails."""
        if change.before is None and CUT in change.run.id:
            raise StoreError(f"run id {change.run.id!r} holds a control character: use another id")
        head = dump_run(change.run)
        events = dump_events(change.events, change.run.started_at)
        with self._lock:
            if not self._may(change):
                return False
            self._write(change, head, events)
            self._schedule(change)
            if change.run.status.at_rest:
                self._tell(change.run.id)
            return True

    def plan(self, run_id: str, fingerprint: str) -> Plan:
        """Return the plan that a run was started with."""
        with self._lock:
            if fingerprint not in self._plans:
                raise StoreError(f"the plan {fingerprint} of run {run_id!r} was never stored")
            return load_plan(run_id, self._plans[fingerprint])

    def history(self, run_id: str, first: int = 0, limit: int | None = None) -> list[Event]:
        """Return the events of a run, oldest first; empty if there is no such run."""
        with self._lock:
            record = self._records.get(run_id)
            return load_events(record.log)[first:][:limit] if record else []

    def _may(self, change: Change) -> bool:
        record = self._records.get(change.run.id)
        if (record is None) != (change.before is None):
            return False
        if record and not record.head.startswith(stamp(change.before)):
            return False
        return change.lapsed is None or self._wake.get(change.lapsed[0]) == change.lapsed[1]

    def _write(self, change: Change, head: str, events: list[str]) -> None:
        record = self._records.setdefault(change.run.id, _Record(""))
        record.head = head
        if change.fresh:
            record.fields.clear()
        before = None if change.fresh else change.before
        for name, text in payloads.worth_keeping(change.fields).items():
            record.fields[payloads.kept_as(name, before)] = text
        for back in change.events[0].replaces if change.events else ():
            if back < len(record.log):
                del record.log[-back - 1]
        record.log.extend(events)
        if change.plan is not None:
            name = change.plan.fingerprint
            self._plans.setdefault(name, dump_plan(change.plan))
            place = (self.shard_of(change.run.id), name)
            self._started[place] = max(change.run.started_at, self._started.get(place, 0))
        record.expire_at = change.expire_at

    def _schedule(self, change: Change) -> None:
        run_id = change.run.id
        for lease in change.released:
            self._wake.pop(lease, None)
        for lease, expiry in change.leases.items():
            self._wake[lease] = expiry
        if change.wake_at is None:
            self._wake.pop(run_id, None)
        else:
            self._wake[run_id] = change.wake_at
        if change.claimed is not None:
            queue, sent = change.claimed
            seen = self._seen[self.shard_of(run_id)]
            seen[queue] = max(sent, seen.get(queue, 0))

    # --- several runs ----------------------------------------------------------------------------

    def read_all(
        self,
        wanted: Mapping[str, Sequence[str] | None],
        known: Sequence[Run] = (),  # noqa: ARG002 -- nothing is spared here
    ) -> dict[str, Snapshot]:
        """Read several runs by id, each with the payload fields named (None: all), in one go."""
        with self._lock:
            return {
                run_id: self.read(run_id, self._all_of(run_id) if names is None else names)
                for run_id, names in wanted.items()
                if run_id in self._records
            }

    def _all_of(self, run_id: str) -> tuple[str, ...]:
        record = self._records[run_id]
        run = load_run(run_id, record.head)
        return tuple(payloads.read_as(name, run) for name in record.fields)

    def plans(self, runs: Iterable[Run]) -> dict[str, Plan]:
        """Return the plans that *runs* follow, by fingerprint; those that are lost are left out."""
        with self._lock:
            return {
                run.plan: self.plan(run.id, run.plan) for run in runs if run.plan in self._plans
            }

    def histories(self, run_ids: Sequence[str]) -> dict[str, list[Event]]:
        """Return the history of each of *run_ids*, empty if there is no such run."""
        return {run_id: self.history(run_id) for run_id in run_ids}

    # --- the wake index ------------------------------------------------------------------------

    def due(self, shard: int, limit: int) -> DueBatch:
        """Return up to *limit* entries of a shard's wake index whose time has come."""
        with self._lock:
            now = self._clock()
            pulse = Pulse(self._last, self._since, tuple(self._outages))
            entries = self._entries(shard, now)[:limit]
            return DueBatch(now, entries, pulse, dict(self._seen[shard]))

    def coming(self, shard: int, within_ms: int, skip: int, limit: int) -> list[Due]:
        """Return entries of a shard's wake index whose time comes within *within_ms*."""
        with self._lock:
            return self._entries(shard, self._clock() + within_ms)[skip : skip + limit]

    def postpone(self, entries: Mapping[Due, int]) -> None:
        """Move entries to a later time (ms), each only if it still stands where it was found."""
        with self._lock:
            for due, later in entries.items():
                entry = due.lease or due.run_id
                if self._wake.get(entry) == due.at:
                    self._wake[entry] = later

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> set[Lease]:
        """Extend *leases* to *lease_ms* from now; return those that no longer exist."""
        with self._lock:
            expiry = self._clock() + lease_ms
            held = [lease for lease in leases if lease in self._wake]
            self._wake.update(dict.fromkeys(held, expiry))
            return set(leases) - set(held)

    def lapse(self, leases: Sequence[Lease]) -> None:
        """Let *leases* run out now: whoever held them is known to be dead."""
        self.renew(leases, 0)

    def pulse(
        self,
        gap_ms: int,
        outage_ms: int = 0,
        shards: Collection[int] | None = None,  # noqa: ARG002 -- none of them can be away alone
    ) -> None:
        """Note a sign of life of a worker, in every shard."""
        with self._lock:
            now = self._clock()
            if now - self._last > gap_ms:
                self._since = now
            self._last = max(self._last, now)
            if outage_ms > 0:
                spans = _united([*self._outages, (now - outage_ms, now)])
                self._outages = spans[-OUTAGES_KEPT:]

    def swept(self, lag_ms: int, took_ms: int) -> None:
        """Note that a sweep got through every shard, now."""
        self._swept = (self._clock(), lag_ms, took_ms)

    def last_sweep(self) -> SweepMark | None:
        """Return what was noted of the newest sweep; None: there was none yet."""
        return SweepMark(*self._swept, self._clock()) if self._swept else None

    # --- everything else -----------------------------------------------------------------------

    def find(self, query: Query) -> RunPage:
        """Return up to `query.limit` runs, newest first, and where to go on."""
        found = [run for run in self._runs() if query.admits(run)]
        if query.cursor is not None:
            found = [run for run in found if (run.started_at, run.id) < query.cursor]
        found.sort(key=lambda run: (run.started_at, run.id), reverse=True)
        page = found[: query.limit]
        more = len(found) > len(page)
        return RunPage(page, (page[-1].started_at, page[-1].id) if more else None)

    def count(self, query: Query) -> int:
        """Return how many runs there are of what *query* asks for."""
        return sum(1 for run in self._runs() if query.admits(run))

    def figures(self, since: int = 0) -> StoreStats:
        """Return how the runs stand as a whole; `recent` counts from *since*."""
        with self._lock:
            now, runs = self._clock(), self._runs()
            oldest: dict[str, tuple[int, str]] = {}
            for run in runs:
                if not run.status.at_rest:
                    mark = (run.started_at, run.id)
                    oldest[run.saga] = min(mark, oldest.get(run.saga, mark))
            due = [at for at in self._wake.values() if at <= now]
            ends = [record.expire_at for record in self._records.values()]
            over = [at for at in ends if at is not None and at <= now]
            recent = Counter(run.saga for run in runs if run.started_at >= since)
            return StoreStats(
                *(now, self.counts(), recent, oldest),
                *(len(due), min(due, default=None)),
                *(len(over), min(over, default=None)),
                sum(run.awaits for run in runs),
                sum(run.past_deadline for run in runs),
            )

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return the number of runs by saga and status."""
        counts: dict[tuple[str, RunStatus], int] = {}
        for run in self._runs():
            counts[run.saga, run.shown] = counts.get((run.saga, run.shown), 0) + 1
        return counts

    def servers(self) -> dict[str, dict[str, str]]:
        """Return nothing: there are none."""
        return {}

    def add_waiter(self, waiter: Waiter) -> None:
        """Tell *waiter* when its run is at rest, also if it is already."""
        with self._lock:
            self._waiters.setdefault(waiter.run_id, set()).add(waiter)
            self._tell(waiter.run_id)

    def remove_waiter(self, waiter: Waiter) -> None:
        """Tell *waiter* nothing more."""
        with self._lock:
            others = self._waiters.get(waiter.run_id, set())
            others.discard(waiter)
            if not others:
                self._waiters.pop(waiter.run_id, None)

    def expired(self, shard: int, limit: int) -> list[Expired]:
        """Return up to *limit* runs at rest whose `expire_at` has passed, oldest first."""
        with self._lock:
            now = self._clock()
            found = [
                Expired(load_run(run_id, record.head), record.expire_at)
                for run_id, record in self._records.items()
                if record.expire_at is not None
                and record.expire_at <= now
                and self.shard_of(run_id) == shard
            ]
            return sorted(found, key=lambda each: each.at or 0)[:limit]

    def remove(self, expired: Sequence[Expired]) -> int:
        """Remove runs, each only if it is at rest and unchanged; return how many."""
        with self._lock:
            gone = [run.id for run, at in expired if run.status.at_rest and self._as_found(run, at)]
            for run_id in gone:
                del self._records[run_id]
                self._tell(run_id)
            return len(gone)

    def put_off(self, expired: Sequence[tuple[Expired, int]]) -> None:
        """Let runs expire so many ms from now, each only if it still was to expire as found."""
        with self._lock:
            for (run, at), ms in expired:
                record = self._records.get(run.id)
                if record and record.expire_at is not None and at in (None, record.expire_at):
                    record.expire_at = self._clock() + ms

    def remove_plans(self, shard: int, unused_ms: int) -> int:
        """Remove plans that no run of a shard can follow any more; return how many."""
        with self._lock:
            gone = [
                (place, name)
                for (place, name), at in self._started.items()
                if place == shard and self._unused(shard, name, at, unused_ms)
            ]
            for key in gone:
                del self._started[key]
                if not any(name == key[1] for _, name in self._started):
                    del self._plans[key[1]]
            return len(gone)

    def indexed_runs(self, shard: int, batch: int = 100) -> Iterator[IndexedRun | UnreadableRun]:  # noqa: ARG002
        """Yield every run of a shard with what the wake index says of it."""
        with self._lock:
            runs = [run for run in self._runs() if self.shard_of(run.id) == shard]
            found = [self._standing(run) for run in runs]
        yield from found

    def entries(self, shard: int, batch: int = 100) -> Iterator[Entry]:  # noqa: ARG002
        """Yield every entry of the wake index of a shard: there is no other index."""
        with self._lock:
            wake = [entry for entry in self._wake if self.shard_of(_run_id(entry)) == shard]
        for entry in wake:
            run_id, lease = _run_id(entry), entry if isinstance(entry, Lease) else None
            run = self.read(run_id).run
            yield Entry("wake", "wake", str(entry), run_id, lease, run, listed=False)

    def drop(self, entry: Entry) -> bool:
        """Remove an entry of the wake index, if the run it speaks of is still as it was found."""
        with self._lock:
            if self.read(entry.run_id).run != entry.run:
                return False
            return self._wake.pop(entry.lease or entry.run_id, None) is not None

    def _standing(self, run: Run) -> IndexedRun:
        leases = {
            entry: at
            for entry, at in self._wake.items()
            if isinstance(entry, Lease) and entry.run_id == run.id
        }
        return IndexedRun(
            run=run,
            now=self._clock(),
            wake_at=self._wake.get(run.id),
            leases=leases,
            expire_at=self._records[run.id].expire_at,
            listed=True,
            planned=run.plan in self._plans,
        )

    def keep_definition(self, saga: str, version: int, text: str) -> str:
        """Keep the file that defines a version of a saga; return the one that is kept."""
        with self._lock:
            return self._definitions.setdefault((saga, version), text)

    def definitions(self) -> dict[tuple[str, int], str]:
        """Return all definitions that are kept, by saga and version."""
        with self._lock:
            return dict(self._definitions)

    def try_lock(self, work: str, ms: int) -> bool:
        """Return True if nobody else is at *work*; then nobody will be, for *ms* milliseconds."""
        with self._lock:
            if self._turns.get(work, 0) > self._clock():
                return False
            self.unlock(work, ms)
            return True

    def unlock(self, work: str, ms: int = 0) -> None:
        """Give back the turn at *work*; nobody takes it again for *ms* milliseconds."""
        self._turns[work] = self._clock() + ms

    def _as_found(self, run: Run, at: int | None) -> bool:
        record = self._records.get(run.id)
        if record is None or not record.head.startswith(stamp(run)):
            return False
        return at is None or record.expire_at == at

    def _unused(self, shard: int, name: str, at: int, unused_ms: int) -> bool:
        saga = Plan.model_validate_json(self._plans[name]).saga
        left = [run for run in self._runs() if run.saga == saga and self.shard_of(run.id) == shard]
        return at <= self._clock() - unused_ms and all(
            run.started_at >= at + unused_ms for run in left
        )

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _entries(self, shard: int, until: int) -> list[Due]:
        """What is in the wake index of a shard up to a time, oldest first."""
        found = (
            _due(entry, at)
            for entry, at in self._wake.items()
            if at <= until and self.shard_of(_run_id(entry)) == shard
        )
        return sorted(found, key=lambda due: due.at)

    def _runs(self) -> list[Run]:
        with self._lock:
            return [load_run(run_id, record.head) for run_id, record in self._records.items()]

    def _tell(self, run_id: str) -> None:
        """Tell who waits for a run, if it is at rest or gone."""
        found = MemoryStore.read(self, run_id)  # the lab makes a contact of `read`
        for waiter in list(self._waiters.get(run_id, ())):
            waiter.seen = found.run
            if found.run is None or found.run.status.at_rest:
                self.remove_waiter(waiter)
                fields = waiter.wanted(found.run) if found.run else ()
                waiter.told(MemoryStore.read(self, run_id, fields))


def _run_id(entry: str | Lease) -> str:
    return entry if isinstance(entry, str) else entry.run_id


def _due(entry: str | Lease, at: int) -> Due:
    return Due(entry, at, None) if isinstance(entry, str) else Due(entry.run_id, at, entry)


def _united(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return *spans* sorted, with those that touch made one."""
    united: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if united and first <= united[-1][1]:
            united[-1] = (united[-1][0], max(last, united[-1][1]))
        else:
            united.append((first, last))
    return united
