"""Claims: what a worker does to have an attempt granted, and what if it is not to be had.

Owns: asking the engine, and what becomes of a message whose attempt is not granted.  Refuses to
know: what may be claimed (`transitions`), and how an attempt goes on (`passage`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore

from celeriac.engine import Work
from celeriac.errors import CommandRefused, RunNotFound, SagaError, StoreError
from celeriac.observing import log, title
from celeriac.points import reached

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celeriac.engine import Attempt, Delivery, Engine, Glance
    from celeriac.workers.ahead import RunAhead


def send_again(task: Any, others: Sequence[Delivery]) -> None:
    """Send to others what a message brought besides its own attempt."""
    runtime = task.saga_runtime
    try:
        if others:
            runtime.engine.send_again(runtime.dispatcher, others)
    except SagaError as error:
        log.warning("%d attempts not sent again (%s); the sweep will", len(others), error.code)


def work_of(task: Any, attempt: Attempt, engine: Engine) -> Work:
    """What a granted attempt of a task is done with."""
    runtime, plan = task.saga_runtime, attempt.plan
    typed, run_result = partial(runtime.typed, plan), partial(runtime.run_result, plan)
    answer = partial(runtime.answer, plan)
    return Work(
        attempt, engine, task.name, task.saga_shape, task.saga_adopted, typed, run_result, answer
    )


def glances_at(task: Any, others: Sequence[Delivery], ahead: RunAhead) -> Mapping[str, Glance]:
    """Read the runs of what a message brings, in one round trip, as far as that can be."""
    try:
        found: Mapping[str, Glance] = task.saga_runtime.engine.glance_at(others, ahead)
    except SagaError as error:
        log.debug("each run is read when it is claimed: %s", error.code)
        return {}
    return found


def granted(
    task: Any,
    delivery: Delivery,
    request: Mapping[str, Any],
    ahead: RunAhead | None,
    glance: Glance | None = None,
) -> Work | None:
    """Claim an attempt; None: it has its result already.  Raises Ignore if it is not to be had."""
    work = _claim(task, delivery, request, ahead, glance)
    if work is None:
        _look(task, delivery.run_id)  # what follows may have got lost
    else:
        reached("step.claimed", delivery)
    return work


def _claim(
    task: Any,
    delivery: Delivery,
    request: Mapping[str, Any],
    ahead: RunAhead | None,
    glance: Glance | None,
) -> Work | None:
    name = title(delivery.run_id, delivery.step, delivery.phase, delivery.attempt)
    queue = (request.get("delivery_info") or {}).get("routing_key")
    runtime = task.saga_runtime
    try:
        engine = runtime.engine
        attempt = engine.claim(delivery, runtime.new_holder(), queue, task.name, ahead, glance)
    except CommandRefused as refused:
        if refused.reason == "completed":
            return None
        raise Ignore(f"{name}: {refused.reason}") from None
    except RunNotFound:
        raise Ignore(f"{name}: no such run") from None
    except StoreError as error:
        log.warning("%s not claimed (%s); the sweep will send it again", name, error)
        raise Ignore(f"{name}: {error.code}") from None
    return work_of(task, attempt, engine)


def _look(task: Any, run_id: str) -> None:
    """Send what is due of a run."""
    try:
        task.saga_runtime.engine.dispatch_due(run_id, task.saga_runtime.dispatcher)
    except SagaError as error:
        log.warning("%s: not looked at (%s); the sweep will", run_id, error.code)
