"""The stores under test: memory, and Redis on a private server and on a private cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.store.memory import MemoryStore
from celeriac.store.redis import RedisStore
from tests.cluster import Cluster
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.store import Store


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all tests that do not harm it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """The shared Redis, empty."""
    with shared_server.client() as client:
        client.flushall()
    return shared_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may kill, fill or reconfigure."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def redis_store(server: RedisServer) -> Iterator[RedisStore]:
    """An empty store on Redis."""
    store = RedisStore(server.url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for all tests that do not harm it."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """The shared cluster, empty."""
    shared_cluster.flush()
    return shared_cluster


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose nodes the test may kill."""
    with Cluster(tmp_path / "cluster") as found:
        yield found


@pytest.fixture
def lone_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster in which nobody takes over from a node that is away, however slow the machine."""
    with Cluster(tmp_path / "cluster", replicas=False) as found:
        yield found


@pytest.fixture
def cluster_store(cluster: Cluster) -> Iterator[RedisStore]:
    """An empty store on a cluster."""
    store = RedisStore(cluster.url)
    yield store
    store.close()


@pytest.fixture(params=["memory", "redis", "cluster"])
def store(request: pytest.FixtureRequest) -> Store:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryStore()
    found: RedisStore = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def own_store(own_server: RedisServer) -> Iterator[RedisStore]:
    """A store on a server that the test may harm."""
    store = RedisStore(own_server.url)
    yield store
    store.close()
