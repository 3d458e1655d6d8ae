"""What the doctor says of a cluster: what it says of any server of each node, and what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.doctor import Severity
from celeriac.observing.metrics.server import Condition
from celeriac.store.connecting import connection_to
from tests.cluster import Cluster
from tests.doctor.examined_app import build
from tests.processes import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.doctor.conftest import Examine
    from tests.redis_server import RedisServer


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without replicas."""
    with Cluster(tmp_path / "cluster", replicas=False) as found:
        for node in found.nodes:
            found.ask(node, "CONFIG", "SET", "maxmemory", "256mb")
        yield found


def test_a_cluster_node_by_node(examined: Examine, clean: RedisServer, cluster: Cluster) -> None:
    """Whatever is wrong is told of the node where it is; a node that is away is told as well."""
    first, second, third = cluster.nodes
    found = examined(build(clean.url, cluster.url), skip=("workers", "sweeper", "beat"))
    assert found["replicas"].text.startswith("a primary has no replica")  # the same at each node
    assert found["cluster"].severity is found["coverage"].severity is Severity.OK
    assert found["spread"].severity is found["redis"].severity is Severity.OK
    cluster.ask(second, "CONFIG", "SET", "appendonly", "no")
    cluster.ask(third, "CONFIG", "SET", "cluster-require-full-coverage", "yes")
    found = examined(build(clean.url, cluster.url), "aof", "coverage")
    assert found.bad.keys() == {"aof", "coverage"}
    assert found["aof"].text.startswith(f"127.0.0.1:{second.port}: appendonly is no")
    assert found["coverage"].text.startswith(f"127.0.0.1:{third.port}: ")
    cluster.ask(third, "CONFIG", "SET", "cluster-require-full-coverage", "no")
    first.kill()
    found = examined(build(clean.url, cluster.url), "redis", "aof")
    assert found["redis"].text.startswith(f"127.0.0.1:{first.port}: ")
    assert found["redis"].severity is Severity.ERROR


def test_gauges_of_a_cluster(cluster: Cluster) -> None:
    """Numbers are added up, and what is bad at one node is bad."""
    connection = connection_to(cluster.url)

    def told() -> dict[str, float]:
        return {each.name: each.value for each in Condition(connection).samples()}

    before = told()
    assert before["celeriac_redis_aof_ok"] == 1
    assert before["celeriac_redis_memory_limit_bytes"] == 256 * 2**20
    cluster.ask(cluster.nodes[1], "CONFIG", "SET", "maxmemory", "32mb")
    cluster.ask(cluster.nodes[2], "CONFIG", "SET", "appendonly", "no")
    after = told()
    assert after["celeriac_redis_memory_limit_bytes"] == 32 * 2**20
    until(lambda: told()["celeriac_redis_aof_ok"] == 0, "a node without a file is told")
    assert after["celeriac_redis_clients"] >= 3
    connection.close()
