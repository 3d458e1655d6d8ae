"""The edge: what stands between a saga's message and Celery's own tracer of its task.

Owns: which messages are attempts, and the claim.  Refuses to know: what may be claimed
(`transitions`), and how an attempt goes on (`passage`).

::

    message -> claim -> arguments -> Celery's tracer(real arguments, real request) -> settle -> next

Whatever Celery does around a task (hooks, signals, a class with a `__call__` of its own) it does
with the arguments of the attempt, and only if the attempt was granted.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.app.trace import trace_ok_t
from celery.exceptions import Ignore

from celeriac.engine import Work
from celeriac.errors import CommandRefused, RunNotFound, SagaError, StoreError
from celeriac.observing import log, title
from celeriac.points import reached
from celeriac.workers.headers import header_in, parse_header
from celeriac.workers.passage import Passage, ignored_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.engine import Delivery

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
    try:
        work = _claim(task, delivery, request)
    except Ignore as ignored:
        return ignored_message(task, request, ignored)
    if work is None:
        # It has its result: what follows may have got lost.
        _look(task, delivery.run_id)
        return trace_ok_t(None, None, 0.0, "None")
    reached("step.claimed", delivery)
    return Passage(task, work, uuid, request).pass_through(tracer)


def _claim(task: Any, delivery: Delivery, request: Mapping[str, Any]) -> Work | None:
    name = title(delivery.run_id, delivery.step, delivery.phase, delivery.attempt)
    queue = (request.get("delivery_info") or {}).get("routing_key")
    runtime = task.saga_runtime
    try:
        engine = runtime.engine
        attempt = engine.claim(delivery, os.urandom(4).hex(), queue, task.name)
    except CommandRefused as refused:
        if refused.reason == "completed":
            return None
        raise Ignore(f"{name}: {refused.reason}") from None
    except RunNotFound:
        raise Ignore(f"{name}: no such run") from None
    except StoreError as error:
        log.warning("%s not claimed (%s); the sweep will send it again", name, error)
        raise Ignore(f"{name}: {error.code}") from None
    typed = partial(runtime.typed, attempt.plan)
    return Work(attempt, engine, task.name, task.saga_shape, task.saga_adopted, typed)


def _look(task: Any, run_id: str) -> None:
    """Send what is due of a run."""
    try:
        task.saga_runtime.engine.dispatch_due(run_id, task.saga_runtime.dispatcher)
    except SagaError as error:
        log.warning("%s: not looked at (%s); the sweep will", run_id, error.code)
