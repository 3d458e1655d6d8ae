"""What a store of runs promises.  Two keep it: Redis, and memory for tests and the lab.

Owns: the `Store` protocol and the values that cross it.  Refuses to know: how they are kept, and
what a transition means: a store compares versions and writes what it is given.

The one rule: a run is only ever written by `commit`, which does everything or nothing, and only
if the run still has the version the caller has read (compare and commit).  A `commit` that was
sent twice writes once (F6).  `tests/store/` holds both stores to this text.

This file is long because it is one promise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from celeriac.errors import StoreError
    from celeriac.machine import Event, Phase, Plan, Run, RunStatus
    from celeriac.store.bulks import Bulks
    from celeriac.store.gates import Gates
    from celeriac.store.presence import Presences
    from celeriac.store.schedules import Schedules


class Lease(NamedTuple):
    """A live attempt, as the wake index knows it."""

    run_id: str
    step: str
    phase: Phase
    attempt: int
    epoch: int = 1

    @property
    def as_before(self) -> Lease:
        """The same as version 0.1.0 wrote it: without the epoch of an id that was started anew."""
        return self._replace(epoch=1)


class Snapshot(NamedTuple):
    """A run as it was read, in one round trip."""

    run: Run | None  # None: no such run
    now: int  # ms, the store's clock at the time of reading
    fields: Mapping[str, str]  # the payload fields asked for, as far as they exist


_NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Change(NamedTuple):
    """What one commit writes.

    `before` is the run as it was read (None: there was none); its version is compared.
    """

    before: Run | None
    run: Run
    events: Sequence[Event]
    wake_at: int | None  # ms; None: at rest, and no longer in the wake index
    fields: Mapping[str, str] = _NOTHING  # payloads to write
    leases: Mapping[Lease, int] = _NOTHING  # to add: expiry in ms
    released: Sequence[Lease] = ()  # to remove
    lapsed: tuple[Lease, int] | None = None  # guard: this lease must still expire at this ms
    plan: Plan | None = None  # to be kept with the run, if it is not kept yet
    fresh: bool = False  # the id starts anew: forget the payloads (history stays)
    claimed: tuple[str, int] | None = None  # (queue, ms): a message sent at ms arrived there
    expire_at: int | None = None  # ms; at rest: when it may be removed (None: never)
    relist: bool = False  # put it into every index it belongs to, as if it were in none


class Due(NamedTuple):
    """One entry of the wake index whose time has come."""

    run_id: str
    at: int  # ms; when it was due
    lease: Lease | None  # the attempt whose lease ran out; None: a timer of the run


class DueBatch(NamedTuple):
    """What a sweep of one shard finds."""

    now: int  # ms, the store's clock
    due: Sequence[Due]  # oldest first
    pulse: Pulse
    arrivals: Mapping[str, int]  # queue -> ms: when the newest message that arrived was sent


class Pulse(NamedTuple):
    """What is known of the workers' contact with the store."""

    last: int  # ms; the newest sign of life of any worker, 0: never
    since: int  # ms; signs of life came without a gap since then
    outages: Sequence[tuple[int, int]]  # (from, to) in ms: workers could not reach the store


class SweepMark(NamedTuple):
    """What is known of the newest sweep that got through every shard."""

    at: int  # ms, the store's clock: when it ended
    lag: int  # ms that the entry longest due had waited for it; 0: nothing was due
    took: int  # ms
    now: int  # ms, the store's clock at the time of reading


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs to list.  All given conditions hold; times are ms, `since` in, `until` out."""

    statuses: frozenset[RunStatus] = frozenset()  # empty: any
    saga: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    awaiting: bool = False  # only those that wait for a signal
    past_deadline: bool = False  # only those that go on though their deadline has passed
    since: int | None = None
    until: int | None = None
    limit: int = 50
    cursor: tuple[int, str] | None = None  # (started_at, id) of the last run of the page before

    def admits(self, run: Run) -> bool:
        """True if *run* is one of those asked for, on whichever page."""
        return (
            (not self.statuses or run.shown in self.statuses)
            and (self.saga is None or run.saga == self.saga)
            and set(self.tags) <= set(run.tags)
            and (run.awaits or not self.awaiting)
            and (run.past_deadline or not self.past_deadline)
            and (self.since is None or run.started_at >= self.since)
            and (self.until is None or run.started_at < self.until)
        )


class RunPage(NamedTuple):
    """A page of runs."""

    runs: list[Run]  # newest first, ids in descending order within a ms
    cursor: tuple[int, str] | None  # where to go on; None: there is nothing more


class Expired(NamedTuple):
    """A run at rest that may be removed, as it was found."""

    run: Run
    at: int | None  # ms; its `expire_at`, which must not have changed; None: that does not matter


class StoreStats(NamedTuple):
    """How the runs stand as a whole.  Times are ms, by the store's clock."""

    now: int
    counts: Mapping[tuple[str, RunStatus], int]  # by saga and status
    recent: Mapping[str, int]  # by saga: those started since the time asked for
    oldest: Mapping[str, tuple[int, str]]  # by saga: (started_at, id) of the oldest not at rest
    due: int  # entries of the wake index whose time has come
    due_since: int | None  # when the oldest of them was due
    expired: int  # runs at rest whose `expire_at` has passed
    expired_since: int | None  # the oldest `expire_at` among them
    awaiting: int  # runs that wait for a signal, whatever else they do
    past_deadline: int  # runs that go on though their deadline has passed


class IndexedRun(NamedTuple):
    """A run, and what the indexes said of it at the same moment."""

    run: Run
    now: int  # ms, the store's clock
    wake_at: int | None  # ms; its timer in the wake index
    leases: Mapping[Lease, int]  # of its newest attempts, as far as they are in the wake index
    expire_at: int | None  # ms; when it may be removed
    listed: bool  # it is in every index it belongs to
    planned: bool  # its plan is there


class UnreadableRun(NamedTuple):
    """A run that cannot be read."""

    run_id: str
    why: str


class Entry(NamedTuple):
    """One entry of an index, and the run it speaks of."""

    kind: str  # wake, expire or list
    place: str  # the index
    member: str
    run_id: str
    lease: Lease | None
    run: Run | None  # None: there is no such run
    listed: bool  # the run belongs where it is listed


@dataclass(eq=False, slots=True)
class Waiter:
    """Somebody who waits for a run to come to rest."""

    run_id: str
    told: Callable[[Snapshot | Exception], object]
    """Called once, from any thread, with the run at rest and the fields it wanted, or with none if
    there is no such run (any more); or with what stands in the way."""
    wanted: Callable[[Run], Sequence[str]] = lambda _: ()
    """Names the payload fields to read, when the run is at rest."""
    since: float = field(default_factory=monotonic)
    seen: Run | None = None  # as it was when it was last looked at
    trouble: StoreError | None = None  # why it could not be looked at since


class Store(Protocol):
    """Where runs live.  Every method is one or two round trips; none of them retries.

    All raise StoreUnavailable when the store cannot be reached (a commit may or may not have been
    written then: read again), and StoreFull when it is out of memory.  Where several shards are
    asked at once and some of them are out of reach, it is done in the others first; the error names
    those.
    """

    shards: int  # how many there are; a sweep looks at each of them
    apart: bool  # whether one may be out of reach while others are not: they are at several servers

    @property
    def presences(self) -> Presences:
        """Which workers there are."""
        ...

    @property
    def schedules(self) -> Schedules:
        """Which schedules there are."""
        ...

    @property
    def bulks(self) -> Bulks:
        """Which commands for many runs there are."""
        ...

    @property
    def gates(self) -> Gates:
        """Which gates there are."""
        ...

    def shard_of(self, run_id: str) -> int:
        """Return the shard a run belongs to: 0 to `shards` - 1."""
        ...

    def read(self, run_id: str, fields: Sequence[str] = ()) -> Snapshot:
        """Return the run, the payload *fields* asked for, and the store's time."""
        ...

    def commit(self, change: Change) -> bool:
        """Write *change* and return True; return False, with nothing written, if a guard fails.

        Guards: the run's version is that of `change.before`; the lease in `change.lapsed` still
        has that expiry.  Starting a run raises StoreFull at `maxmemory`; other commits go through
        where the server can do that (Redis 7).
        """
        ...

    def plan(self, run_id: str, fingerprint: str) -> Plan:
        """Return the plan that a run was started with."""
        ...

    def history(self, run_id: str, first: int = 0, limit: int | None = None) -> list[Event]:
        """Return the events of a run, oldest first; empty if there is no such run.

        Those before *first* are left out, and those after *limit* more.  A negative *first* counts
        from the end: so many of the newest.
        """
        ...

    def due(self, shard: int, limit: int) -> DueBatch:
        """Return up to *limit* entries of a shard's wake index whose time has come."""
        ...

    def postpone(self, entries: Mapping[Due, int]) -> None:
        """Move entries to a later time (ms), each only if it still stands where it was found."""
        ...

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> set[Lease]:
        """Extend *leases* to *lease_ms* from now; return those that no longer exist."""
        ...

    def lapse(self, leases: Sequence[Lease]) -> None:
        """Let *leases* run out now: whoever held them is known to be dead."""
        ...

    def pulse(self, gap_ms: int, outage_ms: int = 0, shards: Collection[int] | None = None) -> None:
        """Note a sign of life of a worker, in every shard or in *shards*.

        A silence of more than *gap_ms* before it begins a new `since`.  *outage_ms* tells that
        the caller could not reach the store for so long until now: kept as an outage.
        """
        ...

    def coming(self, shard: int, within_ms: int, skip: int, limit: int) -> Sequence[Due]:
        """Return entries of a shard's wake index whose time comes within *within_ms*.

        Those whose time has come are among them.  Oldest first: after the first *skip*, at most
        *limit*.
        """
        ...

    def swept(self, lag_ms: int, took_ms: int) -> None:
        """Note that a sweep got through every shard, now.

        *lag_ms* is how long the entry longest due had waited for it, *took_ms* how long it took.
        """
        ...

    def last_sweep(self) -> SweepMark | None:
        """Return what was noted of the newest sweep; None: there was none yet."""
        ...

    def read_all(
        self, wanted: Mapping[str, Sequence[str] | None], known: Sequence[Run] = ()
    ) -> dict[str, Snapshot]:
        """Read several runs by id, each with the payload fields named (None: all), in one go.

        *known* are runs that were just read: of those that have not moved on since, no more than
        that is looked at.

        Runs that do not exist or cannot be read are left out.
        """
        ...

    def plans(self, runs: Iterable[Run]) -> dict[str, Plan]:
        """Return the plans that *runs* follow, by fingerprint; those that are lost are left out."""
        ...

    def histories(self, run_ids: Sequence[str]) -> dict[str, list[Event]]:
        """Return the history of each of *run_ids*, empty if there is no such run."""
        ...

    def find(self, query: Query) -> RunPage:
        """Return up to `query.limit` runs, and where to go on.

        The work is bounded, whatever there is: where few runs are in all of several large indexes
        (a tag and a status, say), a page may hold less than that, or nothing, and yet a cursor.
        """
        ...

    def count(self, query: Query) -> int:
        """Return how many runs there are of a saga, status and time, whatever the limit.

        With tags too, it is the most there can be.
        """
        ...

    def figures(self, since: int = 0) -> StoreStats:
        """Return how the runs stand as a whole, from the indexes; `recent` counts from *since*."""
        ...

    def counts(self) -> dict[tuple[str, RunStatus], int]:
        """Return the number of runs by saga and status, from the indexes."""
        ...

    def servers(self) -> dict[str, dict[str, str]]:
        """Return what each server says of itself, in its own words, by its name ('': there is one).

        None for a store without servers; no words, where nobody may ask.
        """
        ...

    def add_waiter(self, waiter: Waiter) -> None:
        """Tell *waiter* when its run is at rest, also if it is already; returns at once.

        Woken by the commit that brings the run to rest; does not poll.  A store that goes away
        later is waited for; one that is out of reach from the start is told as StoreUnavailable.
        """
        ...

    def remove_waiter(self, waiter: Waiter) -> None:
        """Tell *waiter* nothing more."""
        ...

    def expired(self, shard: int, limit: int) -> list[Expired]:
        """Return up to *limit* runs at rest whose `expire_at` has passed, oldest first."""
        ...

    def remove(self, expired: Sequence[Expired]) -> int:
        """Remove runs, each only if it is at rest and unchanged; return how many."""
        ...

    def put_off(self, expired: Sequence[tuple[Expired, int]]) -> None:
        """Let runs expire so many ms from now, each only if it still was to expire as found."""
        ...

    def remove_plans(self, shard: int, unused_ms: int) -> int:
        """Remove plans that no run of a shard can follow any more; return how many.

        That is a plan whose newest start is at least *unused_ms* ago, where each run that is left
        of its saga started at least *unused_ms* after that.
        """
        ...

    def indexed_runs(self, shard: int, batch: int = 100) -> Iterator[IndexedRun | UnreadableRun]:
        """Yield every run of a shard with what the indexes say of it, *batch* at a time.

        A run that changes all the time may be left out, one that comes or goes too.
        """
        ...

    def entries(self, shard: int, batch: int = 100) -> Iterator[Entry]:
        """Yield every entry of the indexes of a shard, with the run it speaks of."""
        ...

    def drop(self, entry: Entry) -> bool:
        """Remove an entry of an index, if the run it speaks of is still as it was found."""
        ...

    def keep_definition(self, saga: str, version: int, text: str) -> str:
        """Keep the file that defines a version of a saga; return the one that is kept.

        The first one stays: which another has written is for the caller to compare.
        """

    def definitions(self) -> dict[tuple[str, int], str]:
        """Return all definitions that are kept, by saga and version."""

    def try_lock(self, work: str, ms: int) -> bool:
        """Return True if nobody else is at *work*; then nobody will be, for *ms* milliseconds."""
        ...

    def unlock(self, work: str, ms: int = 0) -> None:
        """Give back the turn at *work*; nobody takes it again for *ms* milliseconds."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...
