"""What a worker does once an attempt was taken up along with another's end.

Owns: what is sent then, and a hard limit that comes too late.  Refuses to know: real workers
(`test_ahead`).
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from celeriac.engine import Work
from celeriac.engine.onward import Ended
from celeriac.machine import Dispatch
from celeriac.machine.transitions import Transition
from celeriac.store import Lease
from celeriac.workers.passage import Passage
from celeriac.workers.progress import Position, Progress
from celeriac.workers.supervision import Supervision


def test_what_is_due_beside_what_was_taken_up_is_sent() -> None:
    """A report that was decided anew may lead to more than the one attempt that was claimed."""
    beside = Dispatch("charge", "undo", 1, 7)
    sent: list[Any] = []
    run: Any = SimpleNamespace(id="order-42")
    ended = Ended(Transition(run, (), (beside,)), SimpleNamespace())  # type: ignore[arg-type]
    engine = SimpleNamespace(
        complete=lambda *_: ended,
        send=lambda _dispatcher, _plan, _run, each, _now: sent.extend(each),
    )
    attempt: Any = SimpleNamespace(delivery=None, plan=None, now=7)
    task = SimpleNamespace(saga_runtime=SimpleNamespace(dispatcher=None))
    work = Work(attempt, engine, "shop.charge", None)  # type: ignore[arg-type]
    request = SimpleNamespace(chain=["link"], errbacks=["errback"])
    passage = Passage(task, work, "id", {})
    passage._complete("null", request)
    assert passage.following is not None
    assert sent == [beside]
    assert (request.chain, request.errbacks) == (None, None)


@pytest.mark.parametrize(("at_last", "killed"), [("first", True), ("second", False)])
def test_a_hard_limit_ends_only_the_attempt_that_is_over_it(
    monkeypatch: pytest.MonkeyPatch, at_last: str, killed: bool
) -> None:
    """Where the child has got further before the main loop acts, its next attempt goes on."""
    progress, later = Progress(rows=1), []
    ended: list[object] = []
    job = SimpleNamespace(_timeout=None)
    request = SimpleNamespace(id="first", _apply_result=lambda: job)
    monkeypatch.setattr(state, "active_requests", [request])
    monkeypatch.setattr(state, "requests", {})
    worker: Any = SimpleNamespace(
        app=SimpleNamespace(tasks={}),
        hub=SimpleNamespace(call_soon=lambda act, *about: later.append((act, about))),
        hostname="w1",
        blueprint=SimpleNamespace(state=1),
        consumer=SimpleNamespace(event_dispatcher=None),
        pool=SimpleNamespace(_pool=SimpleNamespace(on_hard_timeout=ended.append)),
    )
    at = Position("first", "first", "pay", "trip", Lease("order-42", "pay", "do", 1))
    progress.tell(at._replace(hard=time.monotonic() - 1, limit=3.0))
    Supervision(worker, progress).look()
    progress.tell(at._replace(task_id=at_last))
    for act, about in later:
        act(*about)
    assert ended == ([job] if killed else [])
    assert hasattr(request, "celeriac_ended") is killed
