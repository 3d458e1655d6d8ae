"""The edge: what stands between a saga's message and Celery's own tracer of its task.

Owns: which messages are attempts, and the claim.  Refuses to know: what may be claimed
(`transitions`), and how an attempt goes on (`passage`).

::

    message -> claim -> arguments -> Celery's tracer(real arguments, real request) -> settle -> next

Whatever Celery does around a task (hooks, signals, a class with a `__call__` of its own) it does
with the arguments of the attempt, and only if the attempt was granted.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.app.trace import trace_ok_t
from celery.exceptions import Ignore

from celeriac.engine import Work
from celeriac.errors import CommandRefused, RunNotFound, SagaError, StoreError
from celeriac.observing import log, title
from celeriac.points import reached
from celeriac.workers.ahead import ReportedRuntime, may_run_ahead
from celeriac.workers.headers import header_in, parse_header
from celeriac.workers.limits import HANDED
from celeriac.workers.passage import Passage, ignored_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.engine import Attempt, Delivery, Engine
    from celeriac.workers.ahead import RunAhead

    #: `(id, args, kwargs, request) -> (result, info, seconds, text)`, as Celery builds it.
    Tracer = Callable[..., Any]


def around(task: Any, tracer: Tracer) -> Tracer:
    """Return what a worker is to call in the place of the tracer that Celery built for *task*."""

    def trace(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        header = header_in(request)
        if not header:
            return tracer(uuid, args, kwargs, request)  # none of ours
        return attempt(task, tracer, uuid, request)

    return trace


def attempt(task: Any, tracer: Tracer, uuid: str, request: dict[str, Any]) -> Any:
    """Let one attempt pass; return what Celery's tracer does of a task that ended in this way."""
    delivery = parse_header(header_in(request))
    if delivery is None:
        return ignored_message(task, request, Ignore(f"{task.name}: its saga header is malformed"))
    reached("step.arrived", delivery)
    ahead = may_run_ahead(task, request)
    request.pop(HANDED, None)  # between the main process and us
    try:
        work = _claim(task, delivery, request, ahead)
    except Ignore as ignored:
        return ignored_message(task, request, ignored)
    if work is None:
        # It has its result: what follows may have got lost.
        _look(task, delivery.run_id)
        return trace_ok_t(None, None, 0.0, "None")
    reached("step.claimed", delivery)
    passage = Passage(task, work, uuid, request, ahead)
    if ahead is None:
        return passage.pass_through(tracer)
    try:
        return _and_what_follows(passage, tracer, ahead)
    finally:
        ahead.over()


def _and_what_follows(first: Passage, tracer: Tracer, ahead: RunAhead) -> Any:
    """Let an attempt pass, and those that are taken up one after the other; return what is told.

    What Celery is told is the end of the message's own task.
    """
    told, raised = _passed(first, tracer)
    passage = first
    while passage.following is not None:
        attempt = passage.following
        reached("ahead.claimed", attempt.delivery)
        task = first.task.app.tasks[attempt.node.task_of(attempt.delivery.phase)]
        passage = passage.next(task, _work(task, attempt, first.work.engine))
        began = time.time()
        found, error = _passed(passage, task.saga_tracer)
        if found is not None:
            ahead.note(task, passage.request, began, found)
        elif error is not None:
            log.warning("%s: a hook raised %s", passage.work.name, type(error).__name__)
    if raised is not None:
        raise raised
    return (
        told._replace(runtime=ReportedRuntime.of(told.runtime, ahead.told)) if ahead.told else told
    )


def _passed(passage: Passage, tracer: Tracer) -> tuple[Any, Exception | None]:
    """Let one attempt pass; what comes out of the tracer must not keep the next from its turn."""
    try:
        return passage.pass_through(tracer), None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 -- raised again, or logged
        return None, error


def _work(task: Any, attempt: Attempt, engine: Engine) -> Work:
    runtime, plan = task.saga_runtime, attempt.plan
    typed, run_result = partial(runtime.typed, plan), partial(runtime.run_result, plan)
    answer = partial(runtime.answer, plan)
    return Work(
        attempt, engine, task.name, task.saga_shape, task.saga_adopted, typed, run_result, answer
    )


def _claim(
    task: Any, delivery: Delivery, request: Mapping[str, Any], ahead: RunAhead | None
) -> Work | None:
    name = title(delivery.run_id, delivery.step, delivery.phase, delivery.attempt)
    queue = (request.get("delivery_info") or {}).get("routing_key")
    runtime = task.saga_runtime
    try:
        engine = runtime.engine
        attempt = engine.claim(delivery, runtime.new_holder(), queue, task.name, ahead)
    except CommandRefused as refused:
        if refused.reason == "completed":
            return None
        raise Ignore(f"{name}: {refused.reason}") from None
    except RunNotFound:
        raise Ignore(f"{name}: no such run") from None
    except StoreError as error:
        log.warning("%s not claimed (%s); the sweep will send it again", name, error)
        raise Ignore(f"{name}: {error.code}") from None
    return _work(task, attempt, engine)


def _look(task: Any, run_id: str) -> None:
    """Send what is due of a run."""
    try:
        task.saga_runtime.engine.dispatch_due(run_id, task.saga_runtime.dispatcher)
    except SagaError as error:
        log.warning("%s: not looked at (%s); the sweep will", run_id, error.code)
