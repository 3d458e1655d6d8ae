"""The Celery edge: what a task of a saga does when its message arrives.

Owns: the task class of steps and compensations, adopting existing tasks into it, and how the end
of an attempt is told to Celery (result, Retry, Ignore, or an error that calls `link_error`).
Refuses to know: what may be claimed and what follows (`transitions`), how it is stored, and how a
body is given its arguments and its failure taken (`bodies`).

The life of an attempt, in the order of the code: claim, perform, settle, announce.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from billiard.process import current_process
from celery import Task
from celery.exceptions import (
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
    WorkerShutdown,
    WorkerTerminate,
)
from celery.local import Proxy

from celeriac.engine import AttemptFailure, Work, classify_error, perform, report
from celeriac.errors import CommandRefused, RunNotFound, StepFailed, StoreError
from celeriac.machine import SHORT_DELAY
from celeriac.observing import log, title
from celeriac.points import reached
from celeriac.workers.canvas import (
    HEADER,
    carries_on,
    delivery_of,
    header_of,
    message_options,
    written,
)
from celeriac.workers.intake import STRATEGY

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.authoring import Shape
    from celeriac.engine import Delivery
    from celeriac.failure import Failure
    from celeriac.machine import Dispatch, Transition
    from celeriac.workers.runtime import Runtime

_LONGEST_COUNTDOWN = 10 * 366 * 86_400.0


class SagaTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task that can be a step of a saga.  Called in any other way it is what it always was."""

    abstract = True
    Request = "celeriac.workers.leases:SagaRequest"
    Strategy = STRATEGY
    saga_runtime: Runtime
    saga_shape: Shape
    saga_adopted = False  # True: arguments stay plain JSON, as Celery would deliver them

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task: as an attempt, if a saga's message asks for it."""
        request = self.request
        delivery = None if request.called_directly else delivery_of(request)
        if delivery is None:
            if not request.called_directly and header_of(request):
                raise Ignore(f"{self.name}: its saga header is malformed")
            return super().__call__(*args, **kwargs)
        return _attempt(self, delivery, super().__call__)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send a message; a saga's holds no arguments, so they are not checked."""
        if HEADER not in (options.get("headers") or {}):
            return super().apply_async(args, kwargs, **options)
        options = {**self._get_exec_options(), **options, "ignore_result": True}
        options.update(written(self._get_app()))
        options.pop("add_to_parent", None)
        reached("message.publishing", options["headers"][HEADER])
        sent = self._get_app().send_task(
            self.name, (), kwargs, result_cls=self.AsyncResult, task_type=self, **options
        )
        reached("message.published", options["headers"][HEADER])
        return sent

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Ask for another attempt, as in any Celery task; in a saga, the run decides."""
        if self.request.called_directly or delivery_of(self.request) is None:
            return super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)
        most = self.max_retries if max_retries is None else max_retries
        if most is not None and self.request.retries >= most:
            raise exc or MaxRetriesExceededError(f"{self.name} was tried {most + 1} times")
        wanted = RetryWanted(exc=exc, when=_seconds(eta, countdown, self.default_retry_delay))
        if throw:
            raise wanted from exc
        return wanted


class RetryWanted(Retry):  # type: ignore[misc]  # Celery has no types
    """A body called `self.retry`; `when` is the delay in seconds."""


def adopt(task: Any, shape: Shape, runtime: Runtime) -> None:
    """Make an existing task able to be a step; name, queue, limits and direct calls stay.

    Idempotent; to be done before a worker builds its tracer (F14).
    """
    # Only this task's promise is kept; asking app.tasks would keep all of them, before the app
    # has its configuration.
    while issubclass(type(task), Proxy):
        task = task._get_current_object()  # noqa: SLF001 -- Celery's own way to ask
    if isinstance(task, SagaTask):
        return
    kind = type(task)
    body = {
        "__module__": kind.__module__,
        "abstract": False,
        "saga_runtime": runtime,
        "saga_shape": shape,
        "saga_adopted": True,
        # A task with a request class of its own keeps it; its deaths show a little later.
        "Request": SagaTask.Request if kind.Request == Task.Request else kind.Request,
        "Strategy": STRATEGY if kind.Strategy == Task.Strategy else kind.Strategy,
        "throws": (*tuple(kind.throws or ()), StepFailed),
    }
    task.__class__ = type(kind.__name__, (SagaTask, kind), body)


def _seconds(eta: datetime | None, countdown: float | None, default: float | None) -> float:
    if eta is not None:
        aware = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    seconds = float(countdown if countdown is not None else default or 0)
    if math.isnan(seconds) or seconds > _LONGEST_COUNTDOWN:
        raise ValueError(f"countdown={countdown!r}: give seconds, at most ten years of them")
    return max(0.0, seconds)


# --- an attempt --------------------------------------------------------------------------------


def classify_celery_error(error: Exception) -> AttemptFailure:
    """Return how an attempt ended that raised *error*; Celery's own exceptions have a meaning."""
    if isinstance(error, RetryWanted):
        return AttemptFailure(error.exc or error, retry=True, delay=int((error.when or 0) * 1000))
    if isinstance(error, Ignore | Reject):
        # There is no "neither done nor failed" in a saga.
        return AttemptFailure(error, "abort")
    if isinstance(error, SoftTimeLimitExceeded):
        return AttemptFailure(error, "timeout", retry=True)
    return classify_error(error)


def _ends_process(error: BaseException) -> bool:
    """Return whether the process of a pool, or a worker that runs steps itself, is to end."""
    if threading.current_thread() is not threading.main_thread():
        return False  # threads, gevent and eventlet: their pools swallow it, and wait for ever
    if current_process().name == "MainProcess":
        # The solo pool.  Celery asks the worker to end with these two, and with nothing else.
        return isinstance(error, WorkerShutdown | WorkerTerminate)
    return isinstance(error, SystemExit | KeyboardInterrupt)


def _attempt(task: SagaTask, delivery: Delivery, body: Callable[..., Any]) -> None:
    """Claim, run and settle one attempt; what is returned or raised tells Celery how it went."""
    reached("step.arrived", delivery)
    work = _claim(task, delivery)
    if work is None:
        return  # it has its result: the chain goes on, in case its next link got lost
    reached("step.claimed", delivery)
    ended = perform(work, body, classify_celery_error, _ends_process)
    reached("step.performed", delivery)
    # Only now, outside of any handler: Celery would show what the body raised, and the payload it
    # may hold, in its events and logs as the context of what is raised here.
    try:
        _settle(task, work, ended)
    except (CommandRefused, RunNotFound) as refused:
        # The id was started anew, or the run is gone: nobody is left who could use the report.
        log.warning("%s: its report was refused: %s", work.name, refused)
        raise Ignore(f"{work.name}: {refused.code}") from None


def _claim(task: SagaTask, delivery: Delivery) -> Work | None:
    name = title(delivery.run_id, delivery.step, delivery.phase, delivery.attempt)
    queue = (task.request.delivery_info or {}).get("routing_key")
    try:
        engine = task.saga_runtime.engine
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
    task.request.retries = delivery.attempt - 1
    return Work(attempt, engine, task.name, task.saga_shape, task.saga_adopted)


# --- settling ----------------------------------------------------------------------------------


def _settle(task: SagaTask, work: Work, ended: str | AttemptFailure) -> None:
    """Record how the attempt ended; a late success ends its task too, and at most is undone."""
    if isinstance(ended, AttemptFailure):
        _fail(task, work, ended)
    else:
        done = work.engine.complete(work.attempt, ended)
        reached("step.settled", work.attempt.delivery)
        _announce(task, work, done)


def _announce(task: SagaTask, work: Work, done: Transition) -> None:
    """Send what follows, unless this task's own chain does."""
    request = task.request
    if len(done.dispatches) == 1 and carries_on(request, done.dispatches[0]):
        return
    request.chain = None  # its next link would not be due
    now = done.events[-1].at if done.events else work.attempt.now
    dispatcher = task.saga_runtime.dispatcher
    work.engine.send(dispatcher, work.attempt.plan, done.run, done.dispatches, now)


def _fail(task: SagaTask, work: Work, verdict: AttemptFailure) -> None:
    command, failure = report(work.attempt, verdict)
    done = work.engine.fail(work.attempt, command, failure)
    reached("failure.settled", work.attempt.delivery)
    task.request.chain = None
    _tell_celery(task, work, failure, done)


def _tell_celery(task: SagaTask, work: Work, failure: Failure, done: Transition) -> None:
    """Raise what makes Celery do, and Flower show, what the run has decided."""
    code = f" ({failure.code})" if failure.code else ""
    told = StepFailed(f"{work.name}: {failure.type}{code}")
    event = done.events[0] if done.events else None
    if event is None or "retry" not in event.data:
        raise told  # used up, or too late: link_error asks for what is to be undone
    retry_at = event.data["retry"]
    delay = (retry_at - event.at) / 1000
    if retry_at - event.at <= SHORT_DELAY and done.dispatches:
        _retry_by_celery(task, work, told, done.dispatches[0], delay)
    # A long wait is the wake index's business; Flower shows RETRY all the same.
    raise Retry(str(told), when=datetime.now(UTC) + timedelta(seconds=delay)) from None


def _retry_by_celery(
    task: SagaTask, work: Work, told: StepFailed, dispatch: Dispatch, delay: float
) -> None:
    options = message_options(work.attempt.run, dispatch)
    del options["task_id"]  # a retry keeps its id, so that Flower shows one task
    Task.retry(task, exc=told, countdown=delay, max_retries=sys.maxsize, **options)
