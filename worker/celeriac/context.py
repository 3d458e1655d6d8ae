"""What a step may know about its own attempt.

Owns: `StepContext`, and the variable that holds the one of the attempt now running.  Refuses to
know: who runs the attempt, and what a heartbeat does; that is a callable given to it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from celeriac.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta


T = TypeVar("T")


def _no_token() -> str:
    """Return what stands for a token in unit tests: nobody can bring a result with it."""
    return "a-token-of-no-attempt"


def _no_heartbeat(details: Any) -> None:
    """Do nothing: outside a worker there is no lease to renew."""


def _no_progress(done: float, total: float | None, text: str) -> None:
    """Do nothing: outside a worker nobody looks."""


def _no_tags(tags: Mapping[str, str]) -> None:
    """Do nothing: outside a worker there is no run to find."""


@dataclass(frozen=True, slots=True)
class Later:
    """What `later` returns: the result of a step is to come from outside."""

    timeout: float | str | timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Which attempt of which step of which run this is, and the key that makes effects safe.

    Ask for it as the first parameter of a step or compensation: `def reserve(ctx: StepContext, …)`.
    """

    run_id: str  # the id given to `start`
    saga: str  # name of the saga
    step: str  # its name in the run; a compensation or confirm sees the name of its step
    attempt: int  # counts from 1; a compensation has its own count
    # Stable over attempts; a compensation sees the forward step's, a confirm one of its own.
    idempotency_key: str
    deadline: datetime | None = None  # when the run as a whole must have ended
    tags: Mapping[str, str] = field(default_factory=dict)  # as they were when it was claimed
    reason: str | None = None  # in a compensation: why
    generation: int = 0  # how often a late effect made the compensation run again
    undoes: Mapping[str, str] = field(default_factory=dict)  # see `each`
    heartbeat_details: Any = None  # what the last attempt left with `heartbeat`
    on_heartbeat: Callable[[Any], None] = field(default=_no_heartbeat, repr=False, compare=False)
    on_token: Callable[[], str] = field(default=_no_token, repr=False, compare=False)
    on_progress: Callable[[float, float | None, str], None] = field(
        default=_no_progress, repr=False, compare=False
    )
    on_tags: Callable[[Mapping[str, str]], None] = field(
        default=_no_tags, repr=False, compare=False
    )

    def heartbeat(self, details: Any = None) -> None:
        """Say that the attempt is alive, and leave *details* (any JSON) for the next attempt.

        Raises LeaseLost when this attempt no longer counts: stop then, without another effect.
        Raises Stopping when the run has turned round: end soon, since the step will be undone.
        """
        self.on_heartbeat(details)

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far the attempt is: `ctx.progress(3, 10, "labels printed")`.

        The newest is shown while the attempt is at work, within a second, to whoever may look at
        the run or at Celery's events: put nothing secret into *text*, of which 200 characters are
        kept.  Call it as often as you like: it writes a few times a second at most, and leaves no
        event.  Raises LeaseLost and Stopping, as `heartbeat` does, and OutputInvalid for what is no
        number.
        """
        self.on_progress(done, total, text)

    def tag(self, **tags: str) -> None:
        """Give the run tags by which it is found: `ctx.tag(region="eu")`.

        They take the place of those of the same names, and stay.  Each change is an event of the
        run.  Raises LeaseLost and Stopping, as `heartbeat` does, OutputInvalid for what cannot be a
        tag, and CommandRefused (`too_many_tags`).
        """
        self.on_tags(tags)

    @property
    def token(self) -> str:
        """What somebody outside needs to bring the result of this attempt: `sagas.complete(token)`.

        It cannot be guessed, and counts for this attempt alone.  Whoever has it may say how the
        step ended, so give it to nobody else, and keep it out of logs.  The first time it is asked
        for costs a write.  Raises LeaseLost or Stopping, as `heartbeat` does, and CommandRefused in
        a compensation or a condition.
        """
        return self.on_token()

    def later(self, timeout: float | str | timedelta) -> T:  # type: ignore[type-var]
        """Return what a step returns whose result comes from outside: `return ctx.later("2d")`.

        Nobody is at the attempt then, until `sagas.complete` or `sagas.fail` is called with its
        token, or *timeout* (seconds, or text such as "2d") is over: its outcome is unknown then,
        and it is tried again or undone, as after a time limit.
        """
        return cast("T", Later(timeout))

    def each(self) -> tuple[StepContext, ...]:
        """Return the contexts of the steps that this compensation of several has to undo.

        Those that may have had an effect, the last started first, each with its own idempotency
        key.  Empty in a step, and in the compensation of one step.
        """
        return tuple(
            replace(self, step=step, idempotency_key=key, undoes={})
            for step, key in self.undoes.items()
        )

    @classmethod
    def for_test(cls, step: str = "step", **given: Any) -> StepContext:
        """Return a context for a unit test of a step; *given* sets any field."""
        values = {"run_id": "test-run", "saga": "test", "attempt": 1, **given}
        values.setdefault("idempotency_key", f"{values['run_id']}:{step}")
        return cls(step=step, **values)


_current: ContextVar[StepContext | None] = ContextVar("celeriac_step_context", default=None)


def current() -> StepContext:
    """Return the context of the running attempt, from anywhere inside a step.

    Raises CommandRefused (`no_context`) outside of a step, and in threads that a step has started:
    pass the context to them instead.
    """
    found = _current.get()
    if found is None:
        raise CommandRefused(
            "no_context",
            "no step is running here: celeriac.current() works in a step, a compensation and what "
            "they call, in the same thread; in a unit test, wrap the call in "
            "celeriac.context.entered(StepContext.for_test())",
        )
    return found


def entered(context: StepContext) -> AbstractContextManager[StepContext]:
    """Make `current` return *context* inside a `with` block."""
    return _Entered(context)


class _Entered(AbstractContextManager[StepContext]):
    """The time in which a context is the current one.  A class, since each attempt has two."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: StepContext) -> None:
        self._context = context

    def __enter__(self) -> StepContext:
        self._token = _current.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
