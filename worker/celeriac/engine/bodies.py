"""What an attempt does between its claim and its report: arguments, context, body, output.

Owns: calling a body with what its signature asks for, reading how it ended off what it returned or
raised, and the report that makes of it.  Refuses to know: Celery, who claims attempts, and what a
report leads to.  The Celery edge and the lab both run bodies through here.
"""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from celeriac.authoring import write
from celeriac.context import StepContext, entered
from celeriac.errors import (
    Abort,
    CommandRefused,
    LeaseLost,
    OutputInvalid,
    PayloadTooLarge,
    SagaError,
)
from celeriac.failure import Failure
from celeriac.machine import Fail, retryable
from celeriac.observing import Working, title
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from celeriac.authoring import Shape
    from celeriac.engine.engine import Attempt, Engine

_ANYTHING = TypeAdapter(Any)
_LONGEST_MESSAGE = 2_000
_LONGEST_TRACEBACK = 4_000


@dataclass(frozen=True, slots=True)
class Work:
    """An attempt that was granted, and the task that runs it."""

    attempt: Attempt
    engine: Engine
    task: str  # its name
    shape: Shape
    adopted: bool = False  # arguments stay plain JSON, as Celery would deliver them

    @property
    def name(self) -> str:
        """What people are told it is: `order-42 · charge · #1`."""
        d = self.attempt.delivery
        return title(d.run_id, d.step, d.phase, d.attempt)


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """How a failed attempt is to be taken; `retry` and `delay` (ms) overrule its policy."""

    error: BaseException
    kind: Literal["error", "abort", "timeout"] = "error"
    effect: bool | None = None
    retry: bool | None = None
    delay: int | None = None


def perform(
    work: Work, body: Callable[..., Any], classify: Callable[[Exception], AttemptFailure]
) -> str | AttemptFailure:
    """Run the body; return its output as JSON text, or what *classify* says of its failure."""
    d = work.attempt.delivery
    working = Working(
        d.run_id, work.attempt.plan.saga, d.step, d.phase, d.attempt, work.attempt.holder
    )
    with work.engine.observers.during(working):
        return _perform(work, body, classify)


def _perform(
    work: Work, body: Callable[..., Any], classify: Callable[[Exception], AttemptFailure]
) -> str | AttemptFailure:
    context = _context(work)
    try:
        args, kwargs = _arguments(work, context)
    except SagaError as error:
        # The body never ran: there is nothing to undo here, and trying again cannot help.
        return AttemptFailure(error, "abort", effect=False)
    try:
        with entered(context):
            result = body(*args, **kwargs)
        return _output(work, result)
    except Exception as error:  # noqa: BLE001 -- whatever a step raises is how its attempt ended
        return classify(error)
    except SystemExit as error:
        if threading.current_thread() is threading.main_thread():
            raise  # a child ends, or is ended at its time limit: what it was at is lost with it
        # In a pool of threads nobody would ever hear of it.  How far it got is unknown as well.
        return AttemptFailure(error, "timeout", retry=True)


def classify_error(error: Exception) -> AttemptFailure:
    """Return how an attempt ended that raised *error*, as far as Celeriac's own errors tell."""
    if isinstance(error, Abort):
        return AttemptFailure(error, "abort", effect=error.effect)
    if isinstance(error, LeaseLost | OutputInvalid | PayloadTooLarge):
        return AttemptFailure(error, "abort")
    return AttemptFailure(error)


def report(attempt: Attempt, verdict: AttemptFailure) -> tuple[Fail, Failure]:
    """Return what is recorded of a failed attempt: the command, and the payload to keep."""
    d, rule = attempt.delivery, attempt.node.policy(attempt.delivery.phase)
    failure = _failure(verdict)
    command = Fail(
        d.step,
        d.phase,
        d.attempt,
        attempt.holder,
        d.epoch,
        kind=verdict.kind,
        error=failure.type,
        code=failure.code,
        effect=verdict.effect,
        retryable=retryable(rule, verdict.error) if verdict.retry is None else verdict.retry,
        delay=verdict.delay,
    )
    return command, failure


# --- what a body is given ----------------------------------------------------------------------


def _context(work: Work) -> StepContext:
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


def _heartbeat(work: Work, details: Any) -> None:
    text = None
    if details is not None:
        text = _checked(work, "a heartbeat", to_json(details).decode())
    try:
        work.engine.heartbeat(work.attempt, text)
    except CommandRefused as refused:
        raise LeaseLost(refused.reason, str(refused)) from None


def _checked(work: Work, what: str, text: str) -> str:
    return payloads.checked(f"{what} of {work.name}", text, work.engine.terms.max_payload)


def _arguments(work: Work, context: StepContext) -> tuple[list[Any], dict[str, Any]]:
    texts = work.attempt.arguments()
    read = _plain if work.adopted else work.shape.load
    return work.shape.arguments(context, {key: read(key, text) for key, text in texts.items()})


def _plain(_key: str, text: str) -> Any:
    return from_json(text)


# --- what it leaves ----------------------------------------------------------------------------


def _output(work: Work, result: Any) -> str:
    if work.attempt.delivery.phase == "undo":
        return payloads.NULL
    if work.adopted:
        text = write(_ANYTHING, result, f"what {work.task} returned", OutputInvalid)
    else:
        text = work.shape.dump(result)
    return _checked(work, "the output", text)


def _failure(verdict: AttemptFailure) -> Failure:
    error = verdict.error
    text = "".join(traceback.format_exception(type(error), error, _own_frames(error)))
    return Failure(
        type=type(error).__name__,
        message=str(error)[:_LONGEST_MESSAGE],
        code=error.code if isinstance(error, SagaError) else None,
        effect=verdict.effect,
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
