"""How our messages are written, whatever the application sends its own in.

Owns: the serializer of every kind of message, and the door behind which each is taken in.  Refuses
to know: what becomes of other forms in real workers (`test_forms`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from celery import Celery
from celery.exceptions import InvalidTaskError

from celeriac import Flow, Sagas
from celeriac.app.tick_logs import SWEEP
from celeriac.machine.events import Dispatch
from celeriac.machine.runs import Run, RunStatus
from celeriac.workers.canvas import ERRBACK, CeleryDispatcher
from celeriac.workers.headers import HEADER
from celeriac.workers.intake import STRATEGY, _check
from tests.machine.story import saga


def shop(**conf: Any) -> tuple[Celery, Sagas]:
    """An app with a step."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(conf)
    sagas = Sagas(app)

    @sagas.step(name="shop.reserve")
    def reserve(sku: str) -> str:
        return sku

    app.finalize()
    return app, sagas


def messages_of(app: Celery) -> list[Any]:
    """The messages of an attempt whose task this app knows, and of one that it does not."""
    plan = saga("reserve", "charge")
    run = Run("order-42", plan.saga, plan.fingerprint, RunStatus.RUNNING, 1, 1)
    dispatcher = CeleryDispatcher(app)
    return [dispatcher.signature(plan, run, Dispatch(node.name, "do", 1, 0)) for node in plan.nodes]


@pytest.mark.parametrize("asked", ["pickle", "yaml", "json"])
def test_our_messages_are_json(asked: str) -> None:
    """Steps, errbacks and ticks are written as JSON, whatever other tasks are written in."""
    app, _ = shop(task_serializer=asked)
    for message in messages_of(app):
        assert message.options["serializer"] == "json"
        assert [each.options["serializer"] for each in message.options["link_error"]] == ["json"]
    assert app.conf.beat_schedule[SWEEP]["options"]["serializer"] == "json"


def test_signed_messages_stay_signed() -> None:
    """An application that signs its messages gets ours signed, as its workers take no other."""
    app, _ = shop(task_serializer="auth", accept_content=["auth"])
    for message in messages_of(app):
        assert "serializer" not in message.options
        assert all("serializer" not in each.options for each in message.options["link_error"])
    assert "serializer" not in app.conf.beat_schedule[SWEEP]["options"]


def test_every_task_of_ours_has_the_door() -> None:
    """Steps, adopted tasks and Celeriac's own take their messages in through `intake`."""
    app, sagas = shop()

    @app.task(name="shop.mail", shared=False)  # type: ignore[untyped-decorator]
    def mail(sku: str) -> None:
        """Existed before."""

    def send(flow: Flow, sku: str) -> None:
        flow.step(mail, sku)

    sagas.saga(send)
    # Others in this process may share theirs with every app: those are not ours.
    ours = [name for name in app.tasks if name.startswith(("shop.", "celeriac."))]
    assert {SWEEP, ERRBACK, "shop.mail", "shop.reserve"} <= set(ours)
    assert {name for name in ours if app.tasks[name].Strategy != STRATEGY} == set()


class Message:
    """As much of a message as is looked at."""

    headers: ClassVar = {HEADER: [1], "id": "x"}

    def __init__(self, content_type: str, body: Any = None) -> None:
        self.content_type, self._body = content_type, body

    @property
    def payload(self) -> Any:
        """What Celery would decode."""
        assert self._body is not None, "it was decoded"
        return self._body


@pytest.mark.parametrize("form", ["application/json", "application/data"])
def test_the_form_is_looked_at_before_the_content(form: str) -> None:
    """What is not in the form that is asked for is refused unread, and so is what is no task's."""
    _check(Message(form, [[], {}, {}]), form)
    for other in ("application/x-python-serialize", "application/x-yaml", "text/plain", ""):
        with pytest.raises(InvalidTaskError, match=f"is {form}"):
            _check(Message(other), form)
    with pytest.raises(InvalidTaskError, match="its body is not that of a task"):
        _check(Message(form, [[], {}]), form)
