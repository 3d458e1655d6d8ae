"""What an attempt does between its claim and its report: arguments, context, body, output.

Owns: calling a body with what its signature asks for, reading how it ended off what it returned or
raised, and the report that makes of it.  Refuses to know: Celery, who claims attempts, and what a
report leads to.  The Celery edge and the lab both run bodies through here.
This file is long because it is one attempt, from its arguments to its output.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic_core import from_json

from celeriac.authoring import read_carried, write_carried
from celeriac.context import Later, StepContext, entered
from celeriac.engine.answers import (
    ANSWERS,
    UNKNOWN_GROUP,
    Ends,
    Goes,
    Output,
    as_answer,
    as_anything,
    deferred,
    misplaced,
    skips,
    unknown_group,
)
from celeriac.engine.context_calls import Progress, Token, heartbeat, tag, unheard
from celeriac.engine.failures import failure_of, is_final, worth_retrying
from celeriac.errors import (
    Abort,
    ActionFailed,
    DefinitionError,
    LeaseLost,
    NotYet,
    OutputInvalid,
    PayloadTooLarge,
    Route,
    SagaError,
    Skip,
    Stopping,
)
from celeriac.machine import Fail, duration_ms
from celeriac.observing import Working, title
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from celeriac.authoring import Shape
    from celeriac.engine.attempts import Attempt
    from celeriac.engine.engine import Engine
    from celeriac.errors import Done
    from celeriac.failure import Failure


def as_recorded(_field: str, text: str) -> str:
    """Return the text of a payload: nothing is known of its type."""
    return text


class Work(NamedTuple):
    """An attempt that was granted, and the task that runs it."""

    attempt: Attempt
    engine: Engine
    task: str  # its name
    shape: Shape
    adopted: bool = False  # values are what Celery's own serializer would make of them
    typed: Callable[[str, str], str] = as_recorded
    run_result: Callable[[Any], str] = as_anything  # of the run, if this ends it
    answer: Callable[[Any], str] = as_answer  # for the caller, if this fails it
    tell: Callable[[str], None] = unheard  # how far it is, beside what the run keeps

    @property
    def name(self) -> str:
        """What people are told it is: `order-42 · charge · #1`."""
        d = self.attempt.delivery
        return title(d.run_id, d.step, d.phase, d.attempt)


@dataclass(frozen=True, slots=True)
class Again:
    """What a task asked its next attempt to be."""

    args: tuple[Any, ...] | None = None  # None, both: the arguments stay
    kwargs: dict[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # of its message, such as `queue`
    via: str = ""  # those that the run keeps until it is sent, as JSON


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """How a failed attempt is to be taken; `retry` and `delay` (ms) overrule its policy."""

    error: BaseException
    kind: Literal["error", "abort", "timeout", "postpone"] = "error"
    effect: bool | None = None
    retry: bool | None = None
    delay: int | None = None
    again: Again | None = None


class Report(NamedTuple):
    """What is recorded of a failed attempt."""

    command: Fail
    failure: Failure
    again: str | None = None  # JSON text, as is the answer
    answer: str | None = None


def ends_process(error: BaseException) -> bool:
    """Return whether *error* is how a process ends, rather than an attempt in it.

    In a pool of threads nobody would ever hear of it, so there it is an outcome as any other.
    """
    leaves = isinstance(error, SystemExit | KeyboardInterrupt)
    return leaves and threading.current_thread() is threading.main_thread()


class Prepared(NamedTuple):
    """What a body is given."""

    context: StepContext
    args: list[Any]
    kwargs: dict[str, Any]


def perform(
    work: Work,
    body: Callable[..., Any],
    classify: Callable[[Exception], AttemptFailure],
    ends: Callable[[BaseException], bool] = ends_process,
) -> Output | AttemptFailure:
    """Prepare and run the body; return its output as JSON text, or how the attempt failed."""
    given = prepare(work, classify, ends)
    if isinstance(given, AttemptFailure):
        return given
    call = partial(body, *given.args, **given.kwargs)
    return carry_out(work, given.context, call, classify, ends)[0]


def prepare(
    work: Work,
    classify: Callable[[Exception], AttemptFailure],
    ends: Callable[[BaseException], bool] = ends_process,
) -> Prepared | AttemptFailure:
    """Return what the body is to be given, or how the attempt failed before it began."""
    try:
        context = _context(work)
        return Prepared(context, *_arguments(work, context))
    except SagaError as error:
        # The body never ran: there is nothing to undo here, and trying again cannot help.
        return AttemptFailure(error, "abort", effect=False)
    except BaseException as error:
        if ends(error):
            raise
        # A validator of theirs raised.  The body never ran here either, but it may do next time.
        return replace(_taken(error, classify), effect=False)


def carry_out(
    work: Work,
    context: StepContext,
    call: Callable[[], Any],
    classify: Callable[[Exception], AttemptFailure],
    ends: Callable[[BaseException], bool] = ends_process,
) -> tuple[Output | AttemptFailure, Any]:
    """Run the body; return its output as JSON text and as it is, or what *classify* says.

    Nothing that is raised in here leaves the attempt open, whatever its class, except what *ends*
    the process: then the attempt is lost with it.
    """
    ended: tuple[Output | AttemptFailure, Any] | None = None
    try:
        with _told(work):
            ended = _carried_out(work, context, call, classify, ends)
    except BaseException as error:
        if ends(error):
            raise
        # Raised around the body, by an observer.  What is known of the body itself stays known.
        return (_taken(error, classify), None) if ended is None else ended
    return ended


def _told(work: Work) -> AbstractContextManager[None]:
    d = work.attempt.delivery
    working = Working(
        d.run_id, work.attempt.plan.saga, d.step, d.phase, d.attempt, work.attempt.holder
    )
    return work.engine.observers.during(working)


def _carried_out(
    work: Work,
    context: StepContext,
    call: Callable[[], Any],
    classify: Callable[[Exception], AttemptFailure],
    ends: Callable[[BaseException], bool],
) -> tuple[Output | AttemptFailure, Any]:
    try:
        with entered(context):
            result = call()
        return output_of(work, result), result
    except BaseException as error:
        if ends(error):
            raise  # a child ends, or is ended at its time limit: what it was at is lost with it
        if isinstance(error, ANSWERS):
            return _answered(work, error, classify), None
        return _taken(error, classify), None


def _answered(
    work: Work, answer: Skip | Done | Route, classify: Callable[[Exception], AttemptFailure]
) -> Output | AttemptFailure:
    """Return how an attempt ended that raised an answer; not everybody may."""
    attempt, returns = work.attempt, None if work.adopted else work.shape
    problem = misplaced(answer, attempt.plan, attempt.node, attempt.delivery.phase, returns)
    if problem:
        return AttemptFailure(Abort(problem, code="misplaced_answer"), "abort")
    if isinstance(answer, Skip):
        return skips(answer)
    if isinstance(answer, Route):
        problem = unknown_group(answer.group, attempt.plan, attempt.node)
        unknown = Abort(problem or "", code=UNKNOWN_GROUP)
        return AttemptFailure(unknown, "abort") if problem else Goes(answer.group)
    try:
        return Ends(_checked(work, "the result of the run", work.run_result(answer.result)))
    except Exception as error:  # noqa: BLE001 -- it is how the attempt ended
        return _taken(error, classify)


def taken(
    work: Work,
    result: Any,
    classify: Callable[[Exception], AttemptFailure],
) -> Output | AttemptFailure:
    """Return how an attempt ended that returned *result*, or raised it."""
    if isinstance(result, BaseException):
        return _taken(result, classify)
    try:
        return output_of(work, result)
    except Exception as error:  # noqa: BLE001 -- it is how the attempt ended
        return _taken(error, classify)


def _taken(error: BaseException, classify: Callable[[Exception], AttemptFailure]) -> AttemptFailure:
    """Return how an attempt ended that raised *error*; its effect is unknown, unless it says."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return AttemptFailure(error, "timeout", retry=True)  # as if its process had been lost
    if not isinstance(error, Exception):
        return AttemptFailure(error)  # CancelledError, GeneratorExit, gevent.Timeout, their own
    try:
        return classify(error)
    except Exception:  # noqa: BLE001 -- attributes of theirs were read, such as a delay
        return AttemptFailure(error, "abort" if issubclass(type(error), Abort) else "error")


def classify_error(error: Exception) -> AttemptFailure:
    """Return how an attempt ended that raised *error*, as far as Celeriac's own errors tell."""
    if isinstance(error, Abort):
        return AttemptFailure(error, "abort", effect=error.effect)
    if isinstance(error, NotYet):
        return _postponed(error)
    if isinstance(error, ActionFailed):
        return AttemptFailure(error, "timeout" if error.unknown else "error", effect=error.effect)
    final = isinstance(error, LeaseLost | Stopping | OutputInvalid | PayloadTooLarge)
    return AttemptFailure(error, "abort" if final else "error")


def _postponed(error: NotYet) -> AttemptFailure:
    try:
        delay = duration_ms(error.after)
    except DefinitionError as wrong:
        return AttemptFailure(wrong, "abort", effect=error.effect)
    return AttemptFailure(error, "postpone", effect=error.effect, delay=delay)


def report(work: Work, verdict: AttemptFailure) -> Report:
    """Return what is recorded of a failed attempt."""
    again = answer = None
    try:
        again = _again(work, verdict.again)
        answer = _answer(work, verdict.error)
    except SagaError as error:  # its next attempt, or the caller, cannot be given what it asked for
        verdict = AttemptFailure(error, "abort", effect=verdict.effect)
    attempt = work.attempt
    d, rule = attempt.delivery, attempt.node.policy(attempt.delivery.phase)
    timed_out, limit = verdict.kind == "timeout", attempt.node.limit(d.phase)
    failure = failure_of(verdict.error, verdict.effect, timed_out=timed_out, limit=limit)
    command = Fail(
        d.step,
        d.phase,
        d.attempt,
        attempt.holder,
        d.epoch,
        kind=verdict.kind,
        error=failure.type,
        code=failure.code,
        effect=failure.effect,
        retryable=worth_retrying(rule, verdict.error) if verdict.retry is None else verdict.retry,
        delay=verdict.delay,
        longest_eta=work.engine.longest_eta,
        answers=answer is not None,
        via=verdict.again.via if verdict.again else "",
        final=is_final(verdict.error),
    )
    return Report(command, failure, again, answer)


# --- what a body is given ----------------------------------------------------------------------


def _context(work: Work) -> StepContext:
    attempt, delivery, run = work.attempt, work.attempt.delivery, work.attempt.run
    engine, name = work.engine, work.name
    left = attempt.fields.get(payloads.beat_field(delivery.step, delivery.phase))
    return StepContext(
        run_id=run.id,
        saga=run.saga,
        step=attempt.node.confirms or delivery.step,
        attempt=delivery.attempt,
        idempotency_key=attempt.key,
        deadline=datetime.fromtimestamp(run.deadline / 1000, UTC) if run.deadline else None,
        tags=dict(run.tags),
        reason=_reason(attempt) if delivery.phase == "undo" else None,
        generation=run.step(delivery.step).generation,
        undoes=attempt.undoes,
        heartbeat_details=from_json(left) if left else None,
        on_heartbeat=partial(heartbeat, engine, attempt, name),
        on_token=Token(engine, attempt, name),
        on_progress=Progress(engine, attempt, name, work.tell),
        on_tags=partial(tag, engine, attempt, name),
    )


def _reason(attempt: Attempt) -> str:
    run = attempt.run
    if run.why == "failed":
        return f"{run.failed_step} failed"
    return run.reason or {"deadline": "the deadline passed"}.get(run.why, run.why)


def _checked(work: Work, what: str, text: str) -> str:
    return payloads.checked(f"{what} of {work.name}", text, work.engine.terms.max_payload)


def _arguments(work: Work, context: StepContext) -> tuple[list[Any], dict[str, Any]]:
    attempt, most = work.attempt, work.engine.terms.max_collected
    if not work.adopted:
        texts = attempt.arguments(most=most)
        return work.shape.arguments(context, {k: work.shape.load(k, t) for k, t in texts.items()})
    d = attempt.delivery
    again = attempt.fields.get(payloads.again_field(d.step, d.phase))
    if again is not None:
        args, kwargs = read_carried(again)
        return args, kwargs
    read = {key: read_carried(text) for key, text in attempt.arguments(work.typed, most).items()}
    return work.shape.arguments(context, read, attempt.node.given_by_name(d.phase))


def _again(work: Work, again: Again | None) -> str | None:
    if not work.adopted or again is None or again.args is None:
        return None
    given = [list(again.args), again.kwargs or {}]
    text = write_carried(given, f"what {work.task} is retried with", OutputInvalid)
    return _checked(work, "the arguments of a retry", text)


def _answer(work: Work, error: BaseException) -> str | None:
    """Return what a step that aborted has to say to the caller, as JSON text; raise SagaError."""
    try:
        given = error.answer if isinstance(error, Abort) else None
    except Exception:  # noqa: BLE001 -- a property of a class of theirs
        given = None
    if given is None:
        return None
    if work.attempt.delivery.phase == "undo":
        problem = "a compensation has no answer for the caller: raise Abort without answer="
        raise Abort(problem, code="misplaced_answer")
    return _checked(work, "the answer", work.answer(given))


# --- what it leaves ----------------------------------------------------------------------------


def output_of(work: Work, result: Any) -> Output:
    """Return what a body returned as JSON text, or that it comes later.

    Raises OutputInvalid, PayloadTooLarge, and Abort if it cannot come later.
    """
    if isinstance(result, Later):
        return deferred(result, work.attempt.node, work.attempt.delivery.phase)
    if work.attempt.delivery.phase == "undo":
        return payloads.NULL
    if work.adopted:
        text = write_carried(result, f"what {work.task} returned", OutputInvalid)
    else:
        text = work.shape.dump(result)
    payloads.choice_of(work.attempt.node, text, OutputInvalid)  # or there is no such case
    return _checked(work, "the output", text)
