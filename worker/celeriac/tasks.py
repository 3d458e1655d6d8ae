"""The Celery edge: what a task of a saga does when its message arrives.

Owns: the task class of steps and compensations, adopting existing tasks into it, and how the end
of an attempt is told to Celery (result, Retry, Ignore, or an error that calls `link_error`).
Refuses to know: what may be claimed and what follows (`transitions`), and how it is stored.

The life of an attempt, in the order of the code: claim, arguments, body, settle, announce.
"""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from celery.local import Proxy
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from celeriac import payloads
from celeriac.canvas import HEADER, carries_on, delivery_of, message_options
from celeriac.commands import Fail
from celeriac.context import StepContext, entered
from celeriac.errors import (
    Abort,
    CommandRefused,
    LeaseLost,
    OutputInvalid,
    PayloadTooLarge,
    RunNotFound,
    SagaError,
    StepFailed,
    StoreError,
)
from celeriac.models import Failure
from celeriac.observe import log, title
from celeriac.policy import retryable
from celeriac.signatures import write
from celeriac.transitions import SHORT_DELAY

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from celeriac.engine import Attempt, Delivery
    from celeriac.models import Dispatch
    from celeriac.runtime import Runtime
    from celeriac.signatures import Shape
    from celeriac.transitions import Transition

_ANYTHING = TypeAdapter(Any)
_LONGEST_MESSAGE = 2_000
_LONGEST_TRACEBACK = 4_000


class SagaTask(Task):  # type: ignore[misc]  # Celery has no types
    """A task that can be a step of a saga.  Called in any other way it is what it always was."""

    abstract = True
    Request = "celeriac.keeper:SagaRequest"
    saga_runtime: Runtime
    saga_shape: Shape
    saga_adopted = False  # True: arguments stay plain JSON, as Celery would deliver them

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task: as an attempt, if a saga's message asks for it."""
        request = self.request
        delivery = None if request.called_directly else delivery_of(request)
        if delivery is None:
            return super().__call__(*args, **kwargs)
        return _attempt(self, delivery, super().__call__)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send a message; a saga's holds no arguments, so they are not checked."""
        if HEADER not in (options.get("headers") or {}):
            return super().apply_async(args, kwargs, **options)
        options = {**self._get_exec_options(), **options, "ignore_result": True}
        options.pop("add_to_parent", None)
        return self._get_app().send_task(
            self.name, (), kwargs, result_cls=self.AsyncResult, task_type=self, **options
        )

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

    Idempotent; to be done before a worker builds its tracer (celery.md, rule 14).
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
        "throws": (*tuple(kind.throws or ()), StepFailed),
    }
    task.__class__ = type(kind.__name__, (SagaTask, kind), body)


def _seconds(eta: datetime | None, countdown: float | None, default: float | None) -> float:
    if eta is not None:
        aware = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    return float(countdown if countdown is not None else default or 0)


# --- an attempt --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    """An attempt at the Celery edge."""

    task: SagaTask
    attempt: Attempt
    name: str  # `order-42 · charge · #1`

    @property
    def runtime(self) -> Runtime:
        return self.task.saga_runtime


def _attempt(task: SagaTask, delivery: Delivery, body: Callable[..., Any]) -> None:
    """Claim, run and settle one attempt; what is returned or raised tells Celery how it went."""
    work = _claim(task, delivery)
    if work is None:
        return  # it has its result: the chain goes on, in case its next link got lost
    settle = _run(work, body)
    # Only now, outside of any handler: Celery would show what the body raised, and the payload it
    # may hold, in its events and logs as the context of what is raised here.
    try:
        settle()
    except (CommandRefused, RunNotFound) as refused:
        # The id was started anew, or the run is gone: nobody is left who could use the report.
        log.warning("%s: its report was refused: %s", work.name, refused)
        raise Ignore(f"{work.name}: {refused.code}") from None


def _run(work: _Work, body: Callable[..., Any]) -> Callable[[], None]:
    """Run the body; return what settles the attempt."""
    context = _context(work)
    try:
        args, kwargs = _arguments(work, context)
    except SagaError as error:
        # The body never ran: there is nothing to undo here, and trying again cannot help.
        return partial(_fail, work, error, kind="abort", effect=False)
    try:
        with entered(context):
            result = body(*args, **kwargs)
        output = _output(work, result)
    except Exception as error:  # noqa: BLE001 -- whatever a step raises is how its attempt ended
        return partial(_failed, work, error)
    return partial(_complete, work, output)


def _claim(task: SagaTask, delivery: Delivery) -> _Work | None:
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
    return _Work(task, attempt, name)


def _context(work: _Work) -> StepContext:
    attempt, delivery = work.attempt, work.attempt.delivery
    run = attempt.run
    left = attempt.fields.get(payloads.beat_field(delivery.step, delivery.phase))
    return StepContext(
        run_id=run.id,
        saga=run.saga,
        step=delivery.step,
        attempt=delivery.attempt,
        idempotency_key=attempt.key,
        deadline=datetime.fromtimestamp(run.deadline / 1000, UTC) if run.deadline else None,
        tags=dict(run.tags),
        reason=_reason(attempt) if delivery.phase == "undo" else None,
        generation=run.step(delivery.step).generation,
        heartbeat_details=from_json(left) if left else None,
        on_heartbeat=lambda details: _heartbeat(work, details),
    )


def _reason(attempt: Attempt) -> str:
    run = attempt.run
    if run.why == "failed":
        return f"{run.culprit} failed"
    return run.reason or {"deadline": "the deadline passed"}.get(run.why, run.why)


def _heartbeat(work: _Work, details: Any) -> None:
    text = None
    if details is not None:
        text = _checked(work, "a heartbeat", to_json(details).decode())
    try:
        work.runtime.engine.heartbeat(work.attempt, text)
    except CommandRefused as refused:
        raise LeaseLost(refused.reason, str(refused)) from None


def _checked(work: _Work, what: str, text: str) -> str:
    return payloads.checked(f"{what} of {work.name}", text, work.runtime.engine.terms.max_payload)


def _arguments(work: _Work, context: StepContext) -> tuple[list[Any], dict[str, Any]]:
    shape, texts = work.task.saga_shape, work.attempt.arguments()
    read = _plain if work.task.saga_adopted else shape.load
    return shape.arguments(context, {key: read(key, text) for key, text in texts.items()})


def _plain(_key: str, text: str) -> Any:
    return from_json(text)


def _output(work: _Work, result: Any) -> str:
    task = work.task
    if work.attempt.delivery.phase == "undo":
        return payloads.NULL
    if task.saga_adopted:
        text = write(_ANYTHING, result, f"what {task.name} returned", OutputInvalid)
    else:
        text = task.saga_shape.dump(result)
    return _checked(work, "the output", text)


# --- settling ----------------------------------------------------------------------------------


def _complete(work: _Work, output: str) -> None:
    """Record a success; a late one ends its task too, and at most has to be undone."""
    _announce(work, work.runtime.engine.complete(work.attempt, output))


def _announce(work: _Work, done: Transition) -> None:
    """Send what follows, unless this task's own chain does."""
    request = work.task.request
    if len(done.dispatches) == 1 and carries_on(request, done.dispatches[0]):
        return
    request.chain = None  # its next link would not be due
    _send(work, done)


def _send(work: _Work, done: Transition) -> None:
    now = done.events[-1].at if done.events else work.attempt.now
    work.runtime.courier.send(work.attempt.plan, done.run, done.dispatches, now)


def _failed(work: _Work, error: Exception) -> None:
    """Record how the body ended, by what it raised."""
    if isinstance(error, RetryWanted):
        delay = int((error.when or 0) * 1000)
        _fail(work, error.exc or error, retry=True, delay=delay)
    elif isinstance(error, Abort):
        _fail(work, error, kind="abort", effect=error.effect)
    elif isinstance(error, LeaseLost | OutputInvalid | PayloadTooLarge):
        _fail(work, error, kind="abort")
    elif isinstance(error, Ignore | Reject):
        # There is no "neither done nor failed" in a saga.
        _fail(work, error, kind="abort")
    elif isinstance(error, SoftTimeLimitExceeded):
        _fail(work, error, kind="timeout", retry=True)
    else:
        _fail(work, error)


def _fail(
    work: _Work,
    error: BaseException,
    *,
    kind: Any = "error",
    effect: bool | None = None,
    retry: bool | None = None,
    delay: int | None = None,
) -> None:
    attempt, d = work.attempt, work.attempt.delivery
    rule = attempt.node.policy(d.phase)
    failure = _failure(error, effect)
    command = Fail(
        d.step,
        d.phase,
        d.attempt,
        attempt.holder,
        d.epoch,
        kind=kind,
        error=failure.type,
        code=failure.code,
        effect=effect,
        retryable=retryable(rule, error) if retry is None else retry,
        delay=delay,
    )
    done = work.runtime.engine.fail(attempt, command, failure)
    work.task.request.chain = None
    _tell_celery(work, failure, done)


def _failure(error: BaseException, effect: bool | None) -> Failure:
    text = "".join(traceback.format_exception(type(error), error, _own_frames(error)))
    return Failure(
        type=type(error).__name__,
        message=str(error)[:_LONGEST_MESSAGE],
        code=error.code if isinstance(error, SagaError) else None,
        effect=effect,
        traceback=text[-_LONGEST_TRACEBACK:],
    )


def _own_frames(error: BaseException) -> TracebackType | None:
    """The traceback from where the body begins: how it was called helps nobody."""
    found = error.__traceback__
    while found is not None and _is_plumbing(found.tb_frame.f_globals.get("__name__", "")):
        found = found.tb_next
    return found


def _is_plumbing(module: str) -> bool:
    return module.partition(".")[0] in ("celeriac", "celery")


def _tell_celery(work: _Work, failure: Failure, done: Transition) -> None:
    """Raise what makes Celery do, and Flower show, what the run has decided."""
    code = f" ({failure.code})" if failure.code else ""
    told = StepFailed(f"{work.name}: {failure.type}{code}")
    event = done.events[0] if done.events else None
    if event is None or "retry" not in event.data:
        raise told  # used up, or too late: link_error asks for what is to be undone
    retry_at = event.data["retry"]
    delay = (retry_at - event.at) / 1000
    if retry_at - event.at <= SHORT_DELAY and done.dispatches:
        _retry_by_celery(work, told, done.dispatches[0], delay)
    # A long wait is the wake index's business; Flower shows RETRY all the same.
    raise Retry(str(told), when=datetime.now(UTC) + timedelta(seconds=delay)) from None


def _retry_by_celery(work: _Work, told: StepFailed, dispatch: Dispatch, delay: float) -> None:
    done = work.attempt
    options = message_options(done.plan, done.run, dispatch)
    del options["task_id"]  # a retry keeps its id, so that Flower shows one task
    Task.retry(work.task, exc=told, countdown=delay, max_retries=sys.maxsize, **options)
