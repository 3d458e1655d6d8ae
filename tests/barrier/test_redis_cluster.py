"""The barrier in a participant's own Redis Cluster: mark and effect in one slot.

Owns: that WATCH and MULTI do there what they do on one server, also while a slot moves.  Refuses to
know: what the barrier promises (`test_laws`, `test_redis_barrier`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from celeriac import Abort
from celeriac.barrier import RedisBarrier
from celeriac.store.slots import slot_of
from tests.barrier.participants import backward, forward
from tests.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

STOCK, PREFIX = "{mug}:stock", "{mug}:barrier:"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster without replicas."""
    with Cluster(tmp_path_factory.mktemp("cluster"), replicas=False) as found:
        yield found


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Any]:
    """The participant's client, with a stock of three."""
    with RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as found:
        found.flushall(target_nodes=RedisCluster.PRIMARIES)
        found.set(STOCK, 3)
        yield found


def take(tx: Any) -> int:
    """Take one."""
    tx.decr(STOCK)
    return 1


def give_back(tx: Any, taken: int) -> None:
    """Give back what was taken."""
    tx.incrby(STOCK, taken)


def test_an_effect_happens_once_and_never_after_its_undo(client: Any) -> None:
    """The four laws, each once."""
    barrier = RedisBarrier(client, prefix=PREFIX)
    assert [barrier.do(forward("a"), take) for _ in range(2)] == [1, 1]
    assert client.get(STOCK) == b"2"
    assert [barrier.undo(backward("a"), give_back) for _ in range(2)] == [True, False]
    assert client.get(STOCK) == b"3"
    assert not barrier.undo(backward("b"), give_back)
    for key in ("a", "b"):
        with pytest.raises(Abort, match="undone"):
            barrier.do(forward(key), take)
    assert client.get(STOCK) == b"3"


def test_what_was_read_is_still_true(client: Any) -> None:
    """WATCH sees what somebody else changed meanwhile."""
    seen: list[int] = []

    def last_one(tx: Any) -> int:
        seen.append(int(client.get(STOCK)))
        if len(seen) == 1:
            client.decr(STOCK)  # another customer
        tx.set(STOCK, seen[-1] - 1)
        return seen[-1]

    assert RedisBarrier(client, prefix=PREFIX).do(forward("a"), last_one, watch=[STOCK]) == 2
    assert seen == [3, 2]


def test_a_command_that_is_refused_is_told(client: Any) -> None:
    """What Redis refuses while EXEC runs marks the effect as broken, as on one server."""
    barrier = RedisBarrier(client, prefix=PREFIX)

    def wrong(tx: Any) -> None:
        tx.decr(STOCK)
        tx.lpush(STOCK, 1)

    with pytest.raises(RedisError, match="WRONGTYPE"):
        barrier.do(forward("a"), wrong)
    with pytest.raises(Abort, match="a part of it was refused"):
        barrier.do(forward("a"), take)


def test_mark_and_effect_must_share_a_slot(client: Any) -> None:
    """With the default prefix they hardly ever do: that is an error before anything happens."""
    with pytest.raises(RedisClusterException, match="same slot"):
        RedisBarrier(client).do(forward("a"), take)
    assert client.get(STOCK) == b"3"
    assert client.keys("*", target_nodes=RedisCluster.PRIMARIES) == [STOCK.encode()]


def test_a_slot_that_moved_is_followed(client: Any, cluster: Cluster) -> None:
    """The slot of mark and effect moves between two effects: both happen, each once."""
    barrier = RedisBarrier(client, prefix=PREFIX)
    barrier.do(forward("a"), take)
    owner = cluster.owner(STOCK)
    cluster.move(slot_of(STOCK), next(node for node in cluster.nodes if node is not owner))
    assert barrier.do(forward("a"), take) == 1
    assert barrier.do(forward("b"), take) == 1
    assert barrier.undo(backward("a"), give_back)
    assert client.get(STOCK) == b"2"
