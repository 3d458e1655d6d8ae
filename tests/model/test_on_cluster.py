"""The same machine on a cluster: two shards at two nodes, whose slots move between the rules.

Owns: what is different there.  Refuses to know: the rules (`test_machine`), and nodes that die:
what one may lose is measured elsewhere (`tests/durability`), and would be in the way here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from redis.cluster import RedisCluster

from celeriac.store.keys import Keys
from celeriac.store.slots import slot_of
from tests.cluster import Cluster
from tests.model import test_machine
from tests.model.test_machine import Machine, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.redis_server import RedisServer

PROVING = os.environ.get("PROVE") == "1"
EXAMPLES, STEPS = (200, 50) if PROVING else (12, 30)
WAKES = [keys.wake for keys in Keys("celeriac", 2).shards]


class _AsServer:
    """A cluster where the machine expects a server."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.url = cluster, cluster.url

    def client(self) -> Any:
        """Return a new client of all nodes."""
        port = self.cluster.nodes[0].port
        return RedisCluster(host="127.0.0.1", port=port, decode_responses=True, protocol=2)


class ClusterMachine(Machine):
    """The machine, on a cluster that is not to lose a node."""

    kills = test_machine.MOST_KILLS

    @rule(shard=st.integers(0, 1), to=st.integers(0, 2))
    def move(self, shard: int, to: int) -> None:
        """The slot of a shard moves to another node, or stays where it is."""
        cluster = cast("_AsServer", self.server).cluster
        target = cluster.nodes[to]
        if cluster.owner(WAKES[shard]) is not target:
            cluster.move(slot_of(WAKES[shard]), target)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A cluster that may be harmed, but for its nodes."""
    with Cluster(tmp_path / "cluster", replicas=False) as found:
        yield cast("RedisServer", _AsServer(found))


@pytest.mark.timeout(3600 if PROVING else 180)
def test_the_stored_state_is_the_pure_one(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults of all kinds, and slots that move: every key is what the state machine says."""
    monkeypatch.setattr(ClusterMachine, "server", server, raising=False)
    walk(ClusterMachine, EXAMPLES, STEPS)
