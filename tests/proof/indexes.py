"""What must hold of the keys beside a run: the wake index, the lists, and what expires.

Owns: the laws I12 and I13 for a store in Redis: a write that was torn leaves an index behind that
does not fit the run.  Refuses to know: histories and the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.plans import PHASES
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.timing import wake_at
from celeriac.store import Lease
from celeriac.store.keys import lease_member, member, pair, split_wake
from celeriac.store.redis import RedisStore
from tests.proof.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from celeriac.machine.runs import Run
    from celeriac.store import Store


def index_findings(store: Store, run: Run) -> list[Finding]:
    """What is wrong with the indexes of *run*; nothing if it changed meanwhile."""
    if not isinstance(store, RedisStore):
        return []
    found = [*_woken(store, run), *_listed(store, run)]
    return found if not found or store.read(run.id).run == run else []


def stray_entries(store: Store, runs: Iterable[str]) -> list[tuple[str, Finding]]:
    """The entries of the wake index that belong to no run, or to one at rest, by run id."""
    if not isinstance(store, RedisStore):
        return []
    known, strays = set(runs), []
    for shard in store._keys.shards:
        for entry in store._redis.ask("ZRANGE", shard.wake, 0, -1):
            parts = split_wake(entry)
            if parts is None:
                strays.append(
                    ("", Finding("I13", f"the wake index holds {entry!r}, which is none"))
                )
            elif parts[0] not in known and store.read(parts[0]).run is None:
                strays.append((parts[0], Finding("I13", "the wake index holds a run that is not")))
    return strays


def _woken(store: RedisStore, run: Run) -> Iterator[Finding]:
    """I13: in the wake index if and only if not at rest; a lease for each attempt at work."""
    keys = store._keys.of(run.id)
    entries = set(store._redis.ask("ZRANGE", keys.wake, 0, -1))
    awake = wake_at(run) is not None  # at rest, only as long as another run has to be told
    if not awake and run.id in entries:
        yield Finding("I13", f"it is at rest ({run.status}), and in the wake index")
    if awake and run.id not in entries:
        yield Finding("I13", f"it is {run.status}, and nobody will ever look at it")
    held = {lease_member(lease): lease for lease in _at_work(run)}
    mine = {entry for entry in entries if (parts := split_wake(entry)) and parts[0] == run.id}
    for entry, lease in held.items():
        if entry not in mine:
            what = f"{lease.phase} {lease.step!r} #{lease.attempt} is at work without a lease"
            yield Finding("I13", what, frozenset({lease.step}))
    for entry in mine - {run.id, *held}:
        yield Finding("I13", f"the lease {entry!r} is that of no attempt at work")


def _at_work(run: Run) -> list[Lease]:
    if run.status.at_rest:
        return []
    return [
        Lease(run.id, name, phase, step.direction(phase).attempt, each.epoch)
        for each in (run, *run.still_undone)
        for name, step in each.steps.items()
        for phase in PHASES
        if step.direction(phase).state is PhaseStatus.RUNNING and not step.direction(phase).child
    ]


def _listed(store: RedisStore, run: Run) -> Iterator[Finding]:
    """I12: listed under its status and no other; to expire if and only if it has ended."""
    keys, entry = store._keys.of(run.id), member(run.started_at, run.id)
    for status in RunStatus:
        index = f"{run.saga}:{status.value}"
        listed = store._redis.ask("ZSCORE", keys.runs(index), entry) is not None
        if listed != (index == pair(run)):
            how = "listed" if listed else "not listed"
            yield Finding("I12", f"it is {run.status}, and {how} as {status}")
    for name, value in run.tags:
        if store._redis.ask("ZSCORE", keys.tag(name, value), entry) is None:
            yield Finding("I12", f"it is not listed under its tag {name}={value}")
    expires = store._redis.ask("ZSCORE", keys.expire, run.id) is not None
    ends = run.status.at_rest and run.status is not RunStatus.FAILED
    if expires != ends:
        yield Finding("I12", f"it is {run.status}, and {'' if expires else 'not '}to expire")
