"""What a failover loses, by sentinels or in a cluster: a primary dies, or is only replaced.

Owns: these accidents, under load.  Refuses to know: what is promised, and how it is told.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from celeriac.store.keys import Keys
from tests.cluster import Cluster
from tests.durability.load import Load, Loss
from tests.processes import until
from tests.sentinels import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: After this many seconds everybody has asked the sentinels again, and has gone on elsewhere.
_SETTLED = 2.5


class Outcome(NamedTuple):
    """What a failover cost."""

    url: str  # where the state is since then
    loss: Loss
    refusals: int


@contextmanager
def failed_over(folder: Path, *, kill: bool, guarded: bool = False) -> Iterator[Outcome]:
    """A failover under load; what is left is there until the block ends."""
    options: dict[str, str | int] = {"appendfsync": "everysec"}
    if guarded:
        options |= {"min-replicas-to-write": 1, "min-replicas-max-lag": 2}
    with Watched(folder, options=options) as watched:
        first = watched.primary
        load = Load(watched.url)
        with load.running():
            load.wait_for(100)
            if kill:
                first.kill()
            else:
                watched.fail_over()
            until(lambda: watched.moved_from(first.port), "the sentinels name another")
            moved = time.monotonic()
            until(lambda: time.monotonic() > moved + _SETTLED, "everybody has gone on")
            if not guarded:  # who is guarded waits for a replica, which takes its time
                load.wait_for(20)
        now = watched.primary
        yield Outcome(now.url, _window(load, now.url), load.refusals)


@contextmanager
def cluster_failed_over(folder: Path, *, kill: bool) -> Iterator[Outcome]:
    """The same in a cluster: the primary of one of two shards dies, or its replica is told to."""
    wake = Keys("celeriac", 2).shards[0].wake
    with Cluster(folder) as cluster:
        first = cluster.owner(wake)
        load = Load(cluster.url)
        with load.running():
            load.wait_for(100)
            if kill:
                cluster.kill(first)
            else:
                cluster.ask(cluster.replica_of(first), "CLUSTER", "FAILOVER")
                until(lambda: cluster.owner(wake) is not first, "the replica has taken over")
            moved = time.monotonic()
            until(lambda: time.monotonic() > moved + _SETTLED, "everybody has gone on")
            load.wait_for(20)
        yield Outcome(cluster.url, _window(load, cluster.url), load.refusals)


def _window(load: Load, url: str) -> Loss:
    """What is lost, and over how long a time it was written."""
    versions = load.versions(url)
    gone = [each.told for each in load.acknowledged if versions[each.run.id] < each.run.version]
    return Loss(len(gone), load.writes, max(gone) - min(gone) if gone else 0.0)
