"""What happens, told to whoever watches; emitted in one place.

Owns: the notices, the protocol of those who hear them, the observers of an engine, and the level of
log lines.  Refuses to know: payloads (an event holds none) and what observers do with
what they hear.  Logs, metrics, traces and application signals are observers, and nothing else in
the engine knows of them.

An observer is a callable that takes one notice.  For those that last, `Starting` and `Working`, it
may return a context manager, which is entered for as long as that lasts.  Whatever it raises is
logged once and goes no further: watching a run cannot break it.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

from celeriac.failure import class_name, safe_text
from celeriac.machine import Event, EventKind
from celeriac.observing.sentences import clean, sentence, tick_details
from celeriac.scheduling import TickEventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.gating import State
    from celeriac.machine import Command, Phase, Run
    from celeriac.scheduling import TickEvent

log = logging.getLogger("celeriac")

_LEVELS = {
    EventKind.FAILED: logging.WARNING,
    EventKind.LOST: logging.WARNING,
    EventKind.LATE: logging.WARNING,
    EventKind.BLOCKED: logging.ERROR,
    EventKind.COMPENSATION_STARTED: logging.WARNING,
    EventKind.REOPENED: logging.WARNING,
    EventKind.OVERDUE: logging.ERROR,
    EventKind.TERMINATED: logging.WARNING,
}
#: A try that is over has ended; only the end of the run as a whole is one to tell.
_ENDS = (EventKind.FINISHED, EventKind.TERMINATED)
_QUIET = (EventKind.CLAIMED, EventKind.COMPLETED)


# --- notices -----------------------------------------------------------------------------------


class Committed(NamedTuple):
    """A command was decided and written: something happened to a run."""

    command: Command
    before: Run | None  # None: the run has just been started
    run: Run
    events: Sequence[Event]  # at least one
    read: Mapping[str, str]  # the fields that observers wanted, as far as they were read


class Starting(NamedTuple):
    """A run is about to be accepted; lasts until that is written, or refused."""

    run_id: str
    saga: str
    marks: dict[str, str]  # what an observer puts here is kept with the run


class Claiming(NamedTuple):
    """An attempt is about to be granted."""

    before: Run
    step: str
    phase: Phase
    attempt: int
    holder: str  # nonce of the claim: tells it from any other, whatever the messages said
    read: Mapping[str, str]  # the fields that observers wanted
    marks: dict[str, str]  # what an observer puts here is kept with the run


class Working(NamedTuple):
    """The body of an attempt is at work; lasts until it has returned or raised."""

    run_id: str
    saga: str
    step: str
    phase: Phase
    attempt: int
    holder: str


class Settled(NamedTuple):
    """An attempt is over in this process: its report was written, refused, or given up."""

    run_id: str
    holder: str


class Refused(NamedTuple):
    """A message asked for an attempt that was not to be had."""

    reason: str  # a word of ours: stale, not_due, completed, superseded, no_run
    saga: str  # empty unless the message names a step of a plan that is stored
    step: str
    phase: Phase


class Asked(NamedTuple):
    """The store was asked for something."""

    op: str  # the method of `Store`
    seconds: float
    error: str = ""  # the code of the error it raised
    conflict: bool = False  # a commit found that somebody else was faster


class Swept(NamedTuple):
    """A sweep has ended."""

    seconds: float
    looked: int  # how many entries were due


class Ticked(NamedTuple):
    """Something happened to a schedule, or to some of its ticks."""

    schedule: str
    saga: str
    events: Sequence[TickEvent]  # at least one


class BreakerMoved(NamedTuple):
    """A breaker stands otherwise than before, for one value if it counts them apart."""

    gate: str
    state: State
    by: str  # who has set it, if somebody has


Notice = (
    Committed
    | Starting
    | Claiming
    | Working
    | Settled
    | Refused
    | Asked
    | Swept
    | Ticked
    | BreakerMoved
)


# --- observers ---------------------------------------------------------------------------------


class Observer(Protocol):
    """Hears every notice of an engine, in the process and the thread in which it happens."""

    def __call__(self, notice: Notice, /) -> AbstractContextManager[object] | None:
        """Take note; return a context manager to be entered for what lasts, or None."""


class _Only(Protocol):
    """An observer that says which notices it wants to hear, in `hears`."""

    hears: tuple[type, ...]


F = TypeVar("F", bound="Callable[..., object]")


def only(*kinds: type) -> Callable[[F], F]:
    """Let an observer hear notices of these *kinds*: nobody calls it for the others."""

    def marked(observer: F) -> F:
        cast("_Only", observer).hears = kinds
        return observer

    return marked


class Observers:
    """Those who watch an engine."""

    def __init__(self, *observers: Observer) -> None:
        self._observers: tuple[Observer, ...] = observers
        self._wants: tuple[Callable[[str, Phase], Sequence[str]], ...] = ()
        self._logged: set[tuple[int, str]] = set()
        self._hearing: dict[type, tuple[Observer, ...]] = {}  # who hears notices of a kind

    def add(
        self, observer: Observer, wants: Callable[[str, Phase], Sequence[str]] | None = None
    ) -> None:
        """Let *observer* hear what happens from now on.

        *wants* names the fields of a run that it would like to see when an attempt of a step is
        claimed; with an empty step, when anything else is committed.
        """
        self._observers = (*self._observers, observer)
        self._hearing = {}
        if wants is not None:
            self._wants = (*self._wants, wants)

    def wants(self, step: str = "", phase: Phase = "do") -> tuple[str, ...]:
        """The fields to be read along."""
        if not self._wants:
            return ()
        return tuple(name for wants in self._wants for name in wants(step, phase))

    def tell_committed(self, notice: Committed) -> None:
        """Tell what happened to a run; what happened in an earlier try, as of that."""
        if not notice.run.earlier:
            self.tell(notice)
            return
        before, run = notice.before, notice.run
        for epoch, several in groupby(notice.events, lambda event: event.data.get("try", 0)):
            events = [each for each in several if not (epoch and each.kind in _ENDS)]
            then, now = before and before.of_epoch(epoch), run.of_epoch(epoch)
            if events and now is not None:
                self.tell(notice._replace(before=then, run=now, events=events))

    def tell(self, notice: Notice) -> None:
        """Tell everybody who hears of such things."""
        kind = type(notice)
        for observer in self._hearing.get(kind) or self._who_hear(kind):
            try:
                observer(notice)
            except Exception as error:  # noqa: BLE001 -- it is logged
                self._log_failure(observer, notice, error)

    def during(self, notice: Starting | Working) -> AbstractContextManager[None]:
        """Tell everybody, and let them stay for as long as it lasts."""
        return _During(self._who_hear(type(notice)), notice, self._log_failure)

    def _who_hear(self, kind: type) -> tuple[Observer, ...]:
        found = self._hearing.get(kind)
        if found is None:
            heard = ((each, getattr(each, "hears", (kind,))) for each in self._observers)
            found = self._hearing[kind] = tuple(each for each, kinds in heard if kind in kinds)
        return found

    def _log_failure(self, observer: Observer, notice: Notice, error: Exception) -> None:
        kind = (id(observer), class_name(error))
        if kind not in self._logged:
            self._logged.add(kind)
            log.error(
                "the observer %r raised at %s; logged once for each kind of error",
                observer,
                type(notice).__name__,
                exc_info=error,
            )


class _During(AbstractContextManager[None]):
    """What observers have entered.  A class, since this is done for every attempt."""

    __slots__ = ("_log_failure", "_notice", "_observers", "_there")

    def __init__(
        self,
        observers: Sequence[Observer],
        notice: Starting | Working,
        log_failure: Callable[[Observer, Notice, Exception], None],
    ) -> None:
        self._observers, self._notice, self._log_failure = observers, notice, log_failure
        self._there: list[tuple[Observer, AbstractContextManager[object]]] = []

    def __enter__(self) -> None:
        for observer in self._observers:
            try:
                context = observer(self._notice)
                if context is not None:
                    context.__enter__()
                    self._there.append((observer, context))
            except Exception as error:  # noqa: BLE001 -- it is logged
                self._log_failure(observer, self._notice, error)

    def __exit__(self, *_: object) -> None:
        for observer, context in reversed(self._there):
            try:
                # What was raised inside is none of theirs: they hear how it ended.
                context.__exit__(None, None, None)
            except Exception as error:  # noqa: BLE001 -- it is logged
                self._log_failure(observer, self._notice, error)


# --- log lines ---------------------------------------------------------------------------------


def escaped(record: logging.LogRecord) -> bool:
    """Escape the control characters in what is told: an id or an error cannot forge a line."""
    if isinstance(record.args, tuple):
        record.args = tuple(_escaped(value) for value in record.args)
    return True


def _escaped(value: object) -> object:
    return clean(safe_text(value)) if isinstance(value, str | BaseException) else value


log.addFilter(escaped)


@only(Committed, Ticked, BreakerMoved)
def logged(notice: Notice) -> None:
    """The observer that writes log lines."""
    if isinstance(notice, Committed):
        observed(notice.run, notice.events)
    elif isinstance(notice, Ticked):
        for event in notice.events:
            level = logging.WARNING if event.kind is TickEventKind.SKIPPED else logging.INFO
            log.log(level, "schedule %s %s", notice.schedule, tick_details(event))
    elif isinstance(notice, BreakerMoved):
        level = logging.WARNING if notice.state == "open" else logging.INFO
        by = f" (by {notice.by})" if notice.by else ""
        log.log(level, "breaker %s is %s%s", notice.gate, notice.state.replace("_", " "), by)


def observed(run: Run, events: Sequence[Event]) -> None:
    """Tell what happened to a run."""
    for event in events:
        level = _level(event)
        if log.isEnabledFor(level):
            log.log(level, "%s", sentence(run.id, event), extra=_whereabouts(run, event))


def _level(event: Event) -> int:
    if event.kind is EventKind.FINISHED and event.data.get("outcome") == "failed":
        return logging.ERROR
    if event.kind in _QUIET and not event.data.get("late"):
        return logging.DEBUG
    if event.kind is EventKind.BLOCKED and not event.data:
        return logging.INFO
    return _LEVELS.get(event.kind, logging.INFO)


def _whereabouts(run: Run, event: Event) -> dict[str, object]:
    about: dict[str, object] = {"run": clean(run.id), "saga": run.saga, "event": event.kind.value}
    if event.step:
        about |= {"step": event.step, "phase": event.phase, "attempt": event.attempt or ""}
    return about
