"""Brokers that are no servers: those of users' own tests, and one with the limits of SQS.

Owns: that runs come to rest over each.  Refuses to know: RabbitMQ (`test_rabbitmq`) and Redis.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from celeriac import Abort, Flow, Sagas
from tests.processes import until
from tests.redis_server import RedisServer
from tests.workers import limited_transport, load
from tests.workers.histories import claims, events
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for the runs."""
    with RedisServer(tmp_path / "redis") as found:
        yield found


def over_files(state: RedisServer, folder: Path, scheme: str) -> World:
    """A world whose messages are files."""
    for name in ("messages", "control"):
        (folder / name).mkdir()
    options = {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
    }
    conf = {"broker_transport_options": options, "worker_enable_remote_control": False}
    return World(folder, state, broker=f"{scheme}://", conf=conf)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Celery, which runs in this process
def test_messages_in_memory(state: RedisServer) -> None:
    """With Celery's worker in the process of a test, a run completes, and one is undone."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(saga_redis_url=state.url, task_default_queue="in-memory")
    sagas, undone = Sagas(app), list[str]()

    @sagas.step
    def reserve(sku: str) -> str:
        return sku

    @reserve.compensation
    def release(sku: str) -> None:
        undone.append(sku)

    @sagas.step
    def pay(sku: str) -> str:
        if sku == "gold":
            raise Abort("too dear", effect=False)
        return sku

    @sagas.saga
    def order(flow: Flow, sku: str) -> str:
        return flow.step(pay, flow.step(reserve, sku))

    with start_worker(app, perform_ping_check=False, pool="solo", shutdown_timeout=60):
        assert order.start("mug", id="fine").result(timeout=60) == "mug"
        dear = order.start("gold", id="dear")
        until(lambda: sagas.sweep() >= 0 and dear.status.at_rest, "it is at rest", 60)
    assert (dear.status, undone) == ("compensated", ["gold"])
    sagas.runtime.close()


@pytest.mark.skipif(os.environ.get("PROVE") != "1", reason="PROVE=1 runs it; so is SQS's")
def test_messages_in_files(state: RedisServer, tmp_path: Path) -> None:
    """Workers and beat in processes of their own, and no server but the state's Redis."""
    world = over_files(state, tmp_path, "filesystem")
    try:
        world.worker()
        world.beat()
        runs = load.start(world, "r", range(10))
        load.all_rest(world, runs)
        assert load.statuses(runs) == load.expected(runs)
    finally:
        world.close()


def test_a_broker_with_the_limits_of_sqs(state: RedisServer, tmp_path: Path) -> None:
    """No ETA is longer than two seconds; what is lost is found though no queue can be counted."""
    assert limited_transport.LONGEST_DELAY > 2
    world = over_files(state, tmp_path, "limited")
    try:
        world.worker()
        world.beat()
        with world.fault("drop", "lost:book"):
            lost = world.kit.trip.start(Trip(), id="lost")
        runs = load.start(world, "r", range(10))
        load.all_rest(world, [*runs, lost])
        assert load.statuses(runs) == load.expected(runs)
        assert lost.status == "completed"
        assert [event.data["why"] for event in events(lost, "dispatched", "book")] == ["unclaimed"]
        assert claims(lost, "book") == [1]
        delays = [float(line) for line in (tmp_path / "delays").read_text().split()]
        assert 0 < max(delays) <= 2
        assert world.kit.sagas.runtime.dispatcher.backlog("tests.workers.kit.book") is None
    finally:
        world.close()
