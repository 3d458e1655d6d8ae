"""What a chain of ours is on the wire: the very message that Celery's own canvas would send.

Owns: that nothing of a message shows how it was made.  Refuses to know: what its receiver does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chain

from celeriac import Sagas
from celeriac.machine.events import Dispatch
from celeriac.machine.runs import Run, RunStatus
from celeriac.workers.canvas import CeleryDispatcher
from celeriac.workers.message_options import task_id
from tests.machine.story import saga, step

if TYPE_CHECKING:
    from celeriac.machine import Plan

NAMES = ("reserve", "charge", "ship", "mail")


@pytest.fixture
def app() -> Celery:
    """An app whose messages stay in this process, and which knows one of the tasks."""
    found = Celery("shop", broker="memory://", set_as_current=False)
    sagas = Sagas(found)

    @sagas.step(name="shop.reserve")
    def reserve(sku: str) -> str:
        return sku

    found.finalize()
    with found.connection_for_write() as connection:  # what others left: the broker is this process
        found.amqp.queues["celery"](connection.default_channel).purge()
    return found


def received(app: Celery) -> dict[str, Any]:
    """The one message that waits in the queue, as it is on the wire."""
    with app.connection_for_read() as connection:
        queue = app.amqp.queues["celery"](connection.default_channel)
        queue.declare()
        message = queue.get(no_ack=True)
        assert message is not None
        assert queue.get(no_ack=True) is None
        own = ("delivery_tag", "delivery_info")  # of each message that is put into a queue
        properties = {name: it for name, it in message.properties.items() if name not in own}
        return {"body": message.decode(), "headers": message.headers, "properties": properties}


def by_celery(app: Celery, plan: Plan, run: Run, dispatch: Dispatch) -> None:
    """Send what is due as Celery does, as a chain if it has several links."""
    links = CeleryDispatcher(app).links(plan, run, dispatch)
    root = task_id(run, plan.nodes[0].name, "do", 1)
    links[0].options["root_id"] = root
    if links[0].options["task_id"] != root:
        links[0].options["parent_id"] = root
    sent = chain(*links) if len(links) > 1 else links[0]
    sent.apply_async(retry=False)


@pytest.mark.parametrize("first", range(len(NAMES)))
def test_a_chain_is_what_celery_would_send(app: Celery, first: int) -> None:
    """Body, headers and properties are the same, with any number of links."""
    plan = saga(*NAMES[:-1], step("mail", timeout=2_000))
    run = Run("order-42", plan.saga, plan.fingerprint, RunStatus.RUNNING, 1, 1_000)
    dispatch = Dispatch(NAMES[first], "do", 1, 0)
    by_celery(app, plan, run, dispatch)
    expected = received(app)
    CeleryDispatcher(app).send(plan, run, [dispatch], 0)
    found = received(app)
    assert len(found["body"][2]["chain"] or ()) == len(NAMES) - 1 - first
    assert found == expected


@pytest.mark.parametrize(("first", "carried"), [(0, 0), (1, 1), (2, 0)])
def test_what_may_be_run_ahead_travels_in_no_chain(app: Celery, first: int, carried: int) -> None:
    """A worker that takes up what follows needs no message for it; what it will not, is carried."""
    plan = saga("reserve", "charge", step("ship", ahead=False), "mail")
    run = Run("order-42", plan.saga, plan.fingerprint, RunStatus.RUNNING, 1, 1_000)
    dispatch = Dispatch(plan.nodes[first].name, "do", 1, 0)
    assert len(CeleryDispatcher(app, lambda: 1).links(plan, run, dispatch)) == 1 + carried
    whole = CeleryDispatcher(app, lambda: 0).links(plan, run, dispatch)
    assert len(whole) == len(plan.nodes) - first
