"""The gauges of Redis and of the app: right, and absent where nobody tells.

Owns: what they say of a real server and a real broker.  Refuses to know: what an alert makes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import Flow, Sagas
from celeriac.errors import StoreUnavailable
from celeriac.observing.metrics import METRICS
from celeriac.observing.metrics.defined import definitions
from celeriac.observing.metrics.server import Condition
from celeriac.store.connecting import connection_to
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.machine import Plan

OF_REDIS = {metric.name for metric in METRICS if metric.source == "redis"}
LIMIT = 50 * 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, with a limit."""
    with RedisServer(tmp_path / "redis", options={"maxmemory": LIMIT}) as started:
        yield started


@pytest.fixture
def app(server: RedisServer) -> Celery:
    """An app with two sagas, one of which has a deadline, and three queues."""
    app = Celery("shop", broker=server.url, set_as_current=False)
    app.conf.task_routes = {"pay": {"queue": "money"}, "unpay": {"queue": "refunds"}}
    sagas = Sagas(app)

    @sagas.step(name="pay")
    def pay() -> None:
        return None

    @pay.compensation(name="unpay")
    def unpay() -> None:
        return None

    @sagas.step(name="wrap")
    def wrap() -> None:
        return None

    @sagas.saga(name="order", deadline="15m")
    def order(flow: Flow) -> None:
        flow.step(pay)
        flow.step(wrap)

    @sagas.saga(name="gift")
    def gift(flow: Flow) -> None:
        flow.step(wrap)

    assert app.celeriac.defined == {"order": order, "gift": gift}
    return app


def told(url: str) -> dict[str, float]:
    """What a server says of itself."""
    connection = connection_to(url)
    try:
        return {sample.name: sample.value for sample in Condition(connection).samples()}
    finally:
        connection.close()


def said(app: Celery) -> dict[tuple[str, ...], float]:
    """What an app says."""
    plans: list[Plan] = [saga.planned.plan for saga in app.celeriac.defined.values()]
    return {
        (each.name, *each.labels): each.value
        for each in definitions(app, plans, "celeriac", app.celeriac.runtime.dispatcher.queue_of)
    }


def test_a_server_that_is_well(server: RedisServer) -> None:
    """It tells all there is: its memory, its limit, no eviction, a good file, how long it is up."""
    found = told(server.url)
    assert set(found) == OF_REDIS
    assert found["celeriac_redis_memory_limit_bytes"] == LIMIT
    assert 0 < found["celeriac_redis_memory_bytes"] < LIMIT
    assert found["celeriac_redis_evicted_keys"] == 0
    assert found["celeriac_redis_aof_ok"] == 1
    assert 0 <= found["celeriac_redis_uptime_seconds"] < 120
    assert found["celeriac_redis_clients"] >= 1
    assert found["celeriac_redis_aof_delayed_fsyncs"] == 0
    assert found["celeriac_redis_slow_commands"] == 0


def test_a_server_without_its_file(server: RedisServer) -> None:
    """It shows at once."""
    with server.client() as client:
        client.config_set("appendonly", "no")
    assert told(server.url)["celeriac_redis_aof_ok"] == 0


def test_a_server_that_evicts(server: RedisServer) -> None:
    """Each key that it gave up is counted."""
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)
        for number in range(100):
            client.set(f"cache:{number}", "x" * 10_000)
    assert told(server.url)["celeriac_redis_evicted_keys"] > 0


def test_a_server_that_is_slow(server: RedisServer) -> None:
    """What it found slow is counted, also what it does not keep any more."""
    with server.client() as client:
        client.config_set("slowlog-max-len", 3)
        client.config_set("slowlog-log-slower-than", 0)
        for _ in range(10):
            client.ping()
        client.config_set("slowlog-log-slower-than", -1)
    assert told(server.url)["celeriac_redis_slow_commands"] > 10


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        ("+@all -slowlog", OF_REDIS - {"celeriac_redis_slow_commands"}),
        ("+@all -info", {"celeriac_redis_slow_commands"}),
        ("+@all -info -slowlog", set()),
    ],
)
def test_a_server_that_says_little(server: RedisServer, rights: str, expected: set[str]) -> None:
    """What an ACL forbids hides its gauges, and breaks nothing."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "~*", *rights.split())
    assert set(told(server.url.replace("//", "//mute:pw@"))) == expected


def test_what_is_forbidden_is_asked_once(server: RedisServer) -> None:
    """The log in which a server notes who was refused does not fill up with us."""
    connection = connection_to(server.url.replace("//", "//mute:pw@"))
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "+info")
        condition = Condition(connection)
        found = [{sample.name for sample in condition.samples()} for _ in range(5)]
        refused = {entry["object"]: entry["count"] for entry in client.acl_log()}
        assert refused["slowlog|get"] == 1
        assert found == [OF_REDIS - {"celeriac_redis_slow_commands"}] * 5
        client.execute_command("ACL", "SETUSER", "mute", "-info")
        assert [list(condition.samples()) for _ in range(3)] == [[], [], []]
    connection.close()


def test_a_server_that_is_away(server: RedisServer) -> None:
    """It is an error, which whoever asks leaves out."""
    server.kill()
    with pytest.raises(StoreUnavailable):
        told(server.url)


def test_deadlines_and_queues(app: Celery) -> None:
    """Every queue that a step, a compensation or Celeriac uses is there, also an empty one."""
    assert said(app) == {
        ("celeriac_deadline_seconds", "order"): 900,
        ("celeriac_queue_messages", "celeriac"): 0,
        ("celeriac_queue_messages", "celery"): 0,
        ("celeriac_queue_messages", "money"): 0,
        ("celeriac_queue_messages", "refunds"): 0,
    }


def test_what_waits_in_a_queue(app: Celery) -> None:
    """Messages that nobody took are counted where they wait."""
    run = app.celeriac.defined["order"].start(id="order-1")
    assert run.id == "order-1"
    for _ in range(3):
        app.send_task("unpay", queue="refunds")
    found = said(app)
    assert found["celeriac_queue_messages", "money"] == 1
    assert found["celeriac_queue_messages", "refunds"] == 3
    assert found["celeriac_queue_messages", "celery"] == 0


def test_asking_leaves_no_connection_behind(app: Celery, server: RedisServer) -> None:
    """Somebody looks four times a minute, for months."""
    said(app)
    with server.client() as client:
        before = client.info("clients")["connected_clients"]
        for _ in range(10):
            said(app)
        assert client.info("clients")["connected_clients"] <= before


def test_a_broker_that_is_away(app: Celery, server: RedisServer) -> None:
    """Its queues are left out, the deadlines stay."""
    server.kill()
    assert said(app) == {("celeriac_deadline_seconds", "order"): 900}
