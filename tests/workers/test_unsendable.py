"""A run whose messages cannot be sent: it is accepted, says why, and goes on as soon as they can.

Owns: what Celery, its routers and its serializers raise when a message is published, and messages
that were revoked.  Refuses to know: a broker that is away (`test_redis_faults`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import EncodeError

from celeriac import Flow, Saga, Sagas
from celeriac.doctor import examine
from celeriac.engine import Backlog
from celeriac.views import wording
from tests.workers.kit import GRACE, Trip
from tests.workers.monitors import Events

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World


# Celery would rather have queues in `task_routes`, and goes on to take them from tasks.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Shop(NamedTuple):
    """An app with a saga of one step, which has a queue of its own."""

    app: Celery
    sagas: Sagas
    labels: Saga[str, None]


def open_shop(world: World, queue: str | None = "labels", **conf: Any) -> Shop:
    """Make the app; *conf* is its configuration."""
    app = Celery("shop", broker=world.redis.url, set_as_current=False)
    app.conf.update(saga_grace=GRACE, saga_lease=2, saga_sweep_interval=0.2, **conf)
    sagas = Sagas(app)

    options: dict[str, Any] = {"queue": queue} if queue else {}

    @sagas.step(name="shop.label", **options)
    def label(parcel: str) -> None:
        """Print nothing."""

    def labels(flow: Flow, parcel: str) -> None:
        flow.step(label, parcel)

    return Shop(app, sagas, sagas.saga(labels))


def blocked(run: RunHandle[Any]) -> str | None:
    """What the run says of its step."""
    return run.state().step("label").blocked


def sweep_until_sent(world: World, shop: Shop, run: RunHandle[Any], queue: str) -> None:
    """Sweep, until there is a message."""

    def swept() -> bool:
        shop.sagas.sweep()
        with world.redis.client() as redis:
            return bool(redis.llen(queue))

    world.until(swept, f"the message of {run.id} is sent")


def test_a_queue_that_is_not_declared(world: World) -> None:
    """`start` returns, the run says what is missing, and goes on when the queue is there."""
    shop = open_shop(world, "undeclared", task_create_missing_queues=False)
    run = shop.labels.start("one", id="order-1")
    why = "not sent: QueueNotFound: Queue 'undeclared' missing from task_queues"
    assert blocked(run) == why
    texts = {each.text for each in examine(shop.sagas.runtime, only=("blocked", "routes")).findings}
    assert texts == {
        f"order-1 of 1 live runs looked at: label: {why}",
        "shop.label: Queue 'undeclared' missing from task_queues",
    }
    assert wording.whereabouts(run.state()) == f"label scheduled blocked: {why}"
    assert [e.data.get("why") for e in run.history() if e.kind == "blocked"] == [why]

    shop.app.amqp.queues.add(Queue("undeclared"))  # type: ignore[no-untyped-call]
    sweep_until_sent(world, shop, run, "undeclared")
    assert blocked(run) is None


def test_a_router_that_raises(world: World) -> None:
    """Whatever is raised on the way to the broker is a reason, and no answer to who started."""
    broken = True

    def router(*_: Any, **__: Any) -> None:
        if broken:
            raise TypeError("a router of yesterday")

    shop = open_shop(world, None, task_routes=(router,))
    run = shop.labels.start("one", id="order-1")
    assert blocked(run) == "not sent: TypeError: a router of yesterday"
    broken = False
    sweep_until_sent(world, shop, run, "celery")
    assert blocked(run) is None


@pytest.mark.parametrize("error", [EncodeError("no such thing"), KeyError("x"), RuntimeError("y")])
def test_an_error_while_publishing(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Of which kind it is does not matter; the others' runs go on beside it."""
    shop = open_shop(world, None)
    publish = shop.app.amqp.send_task_message

    def refuse(producer: Any, name: str, message: Any, **options: Any) -> Any:
        if message.headers["id"].startswith("bad"):
            raise error
        return publish(producer, name, message, **options)

    monkeypatch.setitem(shop.app.amqp.__dict__, "send_task_message", refuse)
    bad = shop.labels.start("one", id="bad")
    good = shop.labels.start("two", id="good")
    assert blocked(bad) == f"not sent: {type(error).__name__}: {error.args[0]}"
    assert blocked(good) is None
    assert bad.pause("wait") is True
    assert bad.resume() is True
    with world.redis.client() as redis:
        assert redis.llen("celery") == 1
    monkeypatch.undo()
    with world.redis.client() as redis:
        redis.delete("celery")
    sweep_until_sent(world, shop, bad, "celery")


def test_the_queue_of_a_step_is_the_one_that_is_asked(world: World) -> None:
    """How much waits is asked of the queue that the step itself names."""
    shop = open_shop(world, "labels")
    shop.labels.start("one", id="order-1")
    shop.labels.start("two", id="order-2")
    assert shop.sagas.runtime.dispatcher.backlog("shop.label") == Backlog("labels", 2)


def test_a_message_of_a_run_does_not_expire(world: World) -> None:
    """What is said of all tasks would end a step that waits, and it would only be sent again."""
    shop = open_shop(world, None, task_annotations={"*": {"expires": 1}})
    shop.labels.start("one", id="order-1")
    with world.redis.client() as redis:
        (text,) = redis.lrange("celery", 0, -1)
    assert json.loads(text)["headers"]["expires"] is None


@pytest.mark.parametrize(
    ("step", "script"),
    [("pay:1", {}), ("pay:undo:1", {"send": ["abort"]})],
    ids=["forward", "compensation"],
)
def test_a_worker_that_cannot_send_what_follows(
    world: World, step: str, script: dict[str, list[str]]
) -> None:
    """What Celery would publish after a step, forward and back, is a reason of the run's too."""
    world.worker()
    world.beat()
    with world.fault("refuse", only=f":{step}"):
        run = world.kit.trip.start(Trip(script=script), id="stuck")
        why = world.until(lambda: run.state().step("pay").blocked, "the run says why")
        assert why == "not sent: TypeError: a publisher of yesterday"
        others = world.kit.trip.start(Trip(script=script), id="other")
        world.until(lambda: others.state().step("pay").blocked, "the other is not forgotten")
    assert world.rest(run).status == ("compensated" if script else "completed")
    assert run.state().step("pay").blocked is None
    assert world.rest(others).status.at_rest
    assert world.ledger.bodies("stuck", "book") == 1


# --- revoked -------------------------------------------------------------------------------------


def test_a_waiting_step_that_was_revoked_is_sent_again(world: World) -> None:
    """The red button in Flower discards one message: the next has another id."""
    worker = world.worker(args=("-Q", "celeriac"))  # it takes no steps yet
    world.beat()
    control = world.kit.app.control
    with Events(world.kit.app) as seen:
        run = world.kit.trip.start(Trip(), id="revoked")
        control.revoke("revoked:book:1")
        world.until(lambda: worker.says("flagged as revoked"), "the worker knows of it")
        control.add_consumer("celery", reply=True)
        world.until(lambda: "revoked" in seen.of_task("revoked:book:1"), "it was discarded")
        assert world.rest(run).status == "completed"
    again = [event for event in run.history() if event.kind == "dispatched"]
    assert [(event.step, event.data["again"]) for event in again] == [("book", 1)]
    assert world.published("revoked:book:1.2")
    assert [world.ledger.bodies("revoked", step) for step in ("book", "pay", "send")] == [1, 1, 1]
