"""RabbitMQ as the broker, and a Redis for the runs: nothing of a run tells which broker it was.

Owns: classic and quorum queues, early and late acknowledgement, priorities, a broker that is killed
or takes a message back.  Refuses to know: how the server is started (`tests/rabbitmq.py`).

One server for the tests of this file; queues and namespace are of each test's own.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from amqp.exceptions import PreconditionFailed

from celeriac.workers.queue_name import own_queue
from tests.rabbitmq import RabbitServer
from tests.redis_server import RedisServer
from tests.workers import load
from tests.workers.histories import claims, effects, events
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celeriac import RunHandle
    from tests.processes import Process

    #: Makes a world from settings of Celery's.
    Made = Callable[..., World]

_numbers = count(1)
QUORUM = {"task_default_queue_type": "quorum"}
TOPIC = {**QUORUM, "task_default_exchange_type": "topic", "task_default_exchange": "steps"}
LATE = {"task_annotations": {"*": {"acks_late": True}}}
PROVING = pytest.mark.skipif(
    os.environ.get("PROVE") != "1", reason="a server of its own; PROVE=1 runs it"
)


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """The server; it starts in some seconds."""
    with RabbitServer(tmp_path_factory.mktemp("rabbit") / "node") as found:
        yield found


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Made]:
    """Makes the world of a test, over the server of this file or another."""
    worlds: list[World] = []
    with RedisServer(tmp_path / "redis") as state:

        def make(broker: RabbitServer | None = None, **conf: Any) -> World:
            server = broker or request.getfixturevalue("rabbit")
            name = f"test{next(_numbers)}"
            own = {"task_default_queue": name, "saga_namespace": name, **conf}
            worlds.append(World(tmp_path, state, broker=server.url, conf=own))
            return worlds[-1]

        try:
            yield make
        finally:
            for each in worlds:
                each.close()


@pytest.mark.parametrize("conf", [{}, LATE], ids=["early", "late"])
def test_runs_come_to_rest_with_classic_queues(made: Made, conf: dict[str, Any]) -> None:
    """They complete, are tried again, fail and are undone, however messages are acknowledged."""
    world, _, runs = _loaded(made, conf)
    assert _kind_of(world, own_queue(world.kit.app)) == "classic"
    assert any("sent" in event.data for run in runs for event in events(run, "failed"))


@pytest.mark.parametrize("conf", [QUORUM, TOPIC], ids=["direct", "topic"])
def test_retries_on_quorum_queues_have_no_eta(made: Made, conf: dict[str, Any]) -> None:
    """However short its delay, a retry waits in the wake index: its message is sent when due."""
    world, worker, runs = _loaded(made, conf)
    assert _kind_of(world, own_queue(world.kit.app)) == "quorum"
    assert not any("sent" in event.data for run in runs for event in events(run, "failed"))
    flaky = runs[5]
    assert claims(flaky, "pay") == [1, 2, 3]
    sent = [(e.attempt, e.data.get("why")) for e in events(flaky, "dispatched", "pay")]
    assert sent == [(2, "due"), (3, "due")]
    assert not worker.says("this task may block the worker")  # Celery warns of each ETA


def _loaded(made: Made, conf: dict[str, Any]) -> tuple[World, Process, list[RunHandle[Any]]]:
    """A world, its worker, and ten runs of every kind, which have come to rest as they should."""
    world = made(**conf)
    worker = world.worker()
    world.beat()
    runs = load.start(world, "r", range(10))
    load.all_rest(world, runs)
    assert load.statuses(runs) == load.expected(runs)
    return world, worker, runs


def _kind_of(world: World, queue: str) -> str:
    """Which kind of queue RabbitMQ has made of one: it refuses to make another of it."""
    with world.kit.app.connection_for_write() as link:
        for kind in ("classic", "quorum"):
            try:
                link.channel().queue_declare(
                    queue, durable=True, auto_delete=False, arguments={"x-queue-type": kind}
                )
            except PreconditionFailed:
                continue
            return kind
    raise AssertionError(f"{queue} is neither")


def test_a_priority_counts(made: Made) -> None:
    """With `task_queue_max_priority`, what has the higher one is taken first, as for any task."""
    world = made(task_queue_max_priority=10)
    app, sagas = world.kit.app, world.kit.sagas
    app.amqp.queues["elsewhere"]  # declared with that priority, as by a worker
    runs = {n: world.kit.tour.start(Trip(), id=f"p-{n}") for n in range(3)}
    assert sagas.runtime.engine is not None
    world.worker(children=1, args=("-X", "elsewhere"))
    world.beat()
    for run in runs.values():
        world.until(partial(claims, run, "further"), "the other branch is on its way")
    with app.connection_for_read() as link:
        queue = app.amqp.queues["elsewhere"].bind(link.default_channel)
        found = queue.get(no_ack=False)
        assert found is not None
        assert found.properties["priority"] == 3
        found.requeue()
    world.worker("w2", children=1, args=("-Q", "elsewhere"))
    for run in runs.values():
        assert world.rest(run).status == "completed"


@PROVING
def test_a_broker_that_is_killed_and_comes_back(made: Made, tmp_path: Path) -> None:
    """What it had not written is gone, what was sent meanwhile too: every run comes to rest."""
    with RabbitServer(tmp_path / "node") as broker:
        world = made(broker)
        world.worker("w1")
        world.worker("w2")
        world.beat()
        runs = load.start(world, "r", range(20))
        world.until(lambda: any(run.status.at_rest for run in runs), "they are at work")
        broker.kill()
        runs += load.start(world, "late", range(5))
        broker.start()
        # Celery waits longer and longer, up to half a minute, before it looks for its broker again.
        world.worker("w3")
        world.beat("beat-2")
        load.all_rest(world, runs, 90)
    assert load.statuses(runs) == load.expected(runs)


@PROVING
def test_a_step_longer_than_the_brokers_patience(made: Made, tmp_path: Path) -> None:
    """RabbitMQ takes back what is not acknowledged, and Celery ends; the run goes on (F20)."""
    impatient: dict[str, str | int] = {"consumer_timeout": 2000}
    with RabbitServer(
        tmp_path / "node", options=impatient, erlang="-rabbit channel_tick_interval 300"
    ) as broker:
        world = made(broker, **LATE)
        world.worker()
        world.beat()
        run = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="long")
        world.reached(run, "pay")
        world.until(broker.took_back, "the broker has lost its patience", 60)
        world.until(world.supervise, "the worker has ended, and was replaced", 60)
        world.until(lambda: claims(run, "pay") == [1, 2], "the step is tried again", 60)
        world.open(run, "pay")
        state = world.rest(run, 60)
    assert state.status == "completed"
    assert effects(world, run) == ["do book", "do pay", "do send"]
