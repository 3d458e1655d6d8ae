"""Where a message came from and where it has got to, without a worker.

Owns: queues that share a routing key, and what is told where a claim was refused.  Refuses to know:
what workers make of it (`test_ahead`).
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound
from kombu.entity import Exchange, Queue

from celeriac import Sagas
from celeriac.machine import Dispatch
from celeriac.store import Lease
from celeriac.workers.ahead import RunAhead
from celeriac.workers.limits import Limits
from celeriac.workers.progress import Progress
from tests.machine.story import Story, saga, step

if TYPE_CHECKING:
    from celeriac.engine import Attempt
    from celeriac.machine import Run
    from celeriac.workers.runtime import Runtime

PLAN = saga("book", "pay")
PAY = Dispatch("pay", "do", 1, 0)


def running_ahead(runtime: Any, whence: dict[str, Any]) -> tuple[RunAhead, Progress]:
    """What may follow on the message of `book`, and what the main process hears of it."""
    progress = Progress()
    request = {"id": "order-42:book:1", "delivery_info": whence}
    return RunAhead(cast("Runtime", runtime), progress, request, Limits()), progress


def begun() -> tuple[RunAhead, Progress, Run]:
    """A run whose `book` is at work, and may be followed by many attempts."""
    engine = SimpleNamespace(terms=SimpleNamespace(run_ahead=100))
    runtime = SimpleNamespace(engine=engine, new_holder=lambda: "nonce")
    ahead, progress = running_ahead(runtime, {})
    story = Story(PLAN)
    story.start()
    run = story.run
    book = SimpleNamespace(
        delivery=SimpleNamespace(run_id=run.id, step="book", phase="do", attempt=1, epoch=1),
        plan=PLAN,
        run=run,
    )
    task = SimpleNamespace(name="shop.book")
    ahead.begin(cast("Attempt", book), "order-42:book:1", task, None)
    return ahead, progress, run


@pytest.mark.parametrize(
    ("exchange", "key", "suits"),
    [("quick", "task", False), ("slow", "task", True), ("", "slow", True), ("", "quick", False)],
)
def test_a_routing_key_means_something_at_its_exchange(
    exchange: str, key: str, suits: bool
) -> None:
    """Two queues may have one key, each at another exchange."""
    app = Celery("shop", broker="memory://")
    app.conf.saga_redis_url = "redis://localhost:1/0"  # nobody asks it
    make: Any = Queue
    app.conf.task_queues = [
        make(name, Exchange(name, "topic"), routing_key="task")  # type: ignore[no-untyped-call]
        for name in ("quick", "slow")
    ]
    app.conf.task_routes = {"shop.pay": {"queue": "slow"}}
    sagas = Sagas(app)

    @sagas.step(name="shop.pay")
    def pay() -> None:
        """Take the money."""

    app.tasks["shop.pay"].saga_tracer = len
    ahead, _ = running_ahead(sagas.runtime, {"exchange": exchange, "routing_key": key})
    assert ahead.suits(step("pay"), "do") is suits


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"exchange": "slow", "routing_key": "slow.pay"}, "slow"),  # a topic: who knows its keys
        ({"exchange": "quick", "routing_key": "task"}, "quick"),
        ({"queue": "slow"}, "slow"),
        ({"exchange": "quick", "routing_key": "other"}, "exchange 'quick' with the routing key"),
        ({"exchange": "gone", "routing_key": "task"}, "exchange 'gone' with the routing key"),
    ],
)
@pytest.mark.parametrize("where", ["task", "routes"])
@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")  # such as `exchange=`
def test_an_exchange_leads_to_the_queue_that_is_bound_to_it(
    said: dict[str, str], found: str, where: str
) -> None:
    """Where a task or a route names an exchange, that is where its messages wait, or are lost."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    make: Any = Queue
    app.conf.task_queues = [
        make("celery"),
        make("quick", Exchange("quick", "direct"), routing_key="task"),  # type: ignore[no-untyped-call]
        make("slow", Exchange("slow", "topic"), routing_key="slow.#"),  # type: ignore[no-untyped-call]
    ]
    if where == "routes":
        app.conf.task_routes = {"shop.pay": said}
    sagas = Sagas(app)

    options: Any = said if where == "task" else {}

    @sagas.step(name="shop.pay", **options)
    def pay() -> None:
        """Take the money."""

    queue_of = sagas.runtime.dispatcher.queue_of
    if found in said.values() or found == "slow":
        assert queue_of("shop.pay").name == found
        return
    with pytest.raises(QueueNotFound, match=found):
        queue_of("shop.pay")


@pytest.mark.parametrize(("took", "most"), [(0.0, 100), (0.025, 10), (0.05, 10), (0.3, 4)])
def test_more_than_ten_follow_only_if_they_are_quick(
    monkeypatch: pytest.MonkeyPatch, took: float, most: int
) -> None:
    """A second is for ten; after those, others wait for a fifth of one and no longer."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ahead, _, run = begun()
    count = 0
    while ahead.left and ahead.take(run, PLAN.by_name["pay"], PAY):
        count += 1
        now[0] += took
    assert count == most


def test_a_lease_that_was_not_granted_is_nobodys_here() -> None:
    """Somebody else may be at that attempt, and must not lose it with our child."""
    ahead, progress, run = begun()
    assert ahead.take(run, PLAN.by_name["pay"], PAY) == "nonce"
    (told,) = progress.positions().values()
    assert told.leases == {Lease(run.id, "book", "do", 1), Lease(run.id, "pay", "do", 1)}
    ahead.not_granted()
    assert not progress.positions()
