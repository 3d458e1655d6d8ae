"""What happens, told to whoever watches; emitted in one place.

Owns: the notices, the protocol of those who hear them, the observers of an engine, and the wording
and level of log lines.  Refuses to know: payloads (an event holds none) and what observers do with
what they hear.  Logs, metrics, traces and application signals are observers, and nothing else in
the engine knows of them.

An observer is a callable that takes one notice.  For those that last, `Starting` and `Working`, it
may return a context manager, which is entered for as long as that lasts.  Whatever it raises is
logged once and goes no further: watching a run cannot break it.
"""

from __future__ import annotations

import json
import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

from celeriac.failure import class_name, safe_text
from celeriac.machine import Event, EventKind
from celeriac.scheduling import TickEventKind, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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


Notice = Committed | Starting | Claiming | Working | Settled | Refused | Asked | Swept | Ticked


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
        self._stumbles: set[tuple[int, str]] = set()
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

    def tell(self, notice: Notice) -> None:
        """Tell everybody who hears of such things."""
        kind = type(notice)
        for observer in self._hearing.get(kind) or self._who_hear(kind):
            try:
                observer(notice)
            except Exception as error:  # noqa: BLE001 -- it is logged
                self._stumbled(observer, notice, error)

    def during(self, notice: Starting | Working) -> AbstractContextManager[None]:
        """Tell everybody, and let them stay for as long as it lasts."""
        return _During(self._who_hear(type(notice)), notice, self._stumbled)

    def _who_hear(self, kind: type) -> tuple[Observer, ...]:
        found = self._hearing.get(kind)
        if found is None:
            heard = ((each, getattr(each, "hears", (kind,))) for each in self._observers)
            found = self._hearing[kind] = tuple(each for each, kinds in heard if kind in kinds)
        return found

    def _stumbled(self, observer: Observer, notice: Notice, error: Exception) -> None:
        kind = (id(observer), class_name(error))
        if kind not in self._stumbles:
            self._stumbles.add(kind)
            log.error(
                "the observer %r raised at %s; logged once for each kind of error",
                observer,
                type(notice).__name__,
                exc_info=error,
            )


class _During(AbstractContextManager[None]):
    """What observers have entered.  A class, since this is done for every attempt."""

    __slots__ = ("_notice", "_observers", "_stumbled", "_there")

    def __init__(
        self,
        observers: Sequence[Observer],
        notice: Starting | Working,
        stumbled: Callable[[Observer, Notice, Exception], None],
    ) -> None:
        self._observers, self._notice, self._stumbled = observers, notice, stumbled
        self._there: list[tuple[Observer, AbstractContextManager[object]]] = []

    def __enter__(self) -> None:
        for observer in self._observers:
            try:
                context = observer(self._notice)
                if context is not None:
                    context.__enter__()
                    self._there.append((observer, context))
            except Exception as error:  # noqa: BLE001 -- it is logged
                self._stumbled(observer, self._notice, error)

    def __exit__(self, *_: object) -> None:
        for observer, context in reversed(self._there):
            try:
                # What was raised inside is none of theirs: they hear how it ended.
                context.__exit__(None, None, None)
            except Exception as error:  # noqa: BLE001 -- it is logged
                self._stumbled(observer, self._notice, error)


# --- log lines ---------------------------------------------------------------------------------


def escaped(record: logging.LogRecord) -> bool:
    """Escape the control characters in what is told: an id or an error cannot forge a line."""
    if isinstance(record.args, tuple):
        record.args = tuple(_escaped(value) for value in record.args)
    return True


def _escaped(value: object) -> object:
    return clean(safe_text(value)) if isinstance(value, str | BaseException) else value


log.addFilter(escaped)


@only(Committed, Ticked)
def logged(notice: Notice) -> None:
    """The observer that writes log lines."""
    if isinstance(notice, Committed):
        observed(notice.run, notice.events)
    elif isinstance(notice, Ticked):
        for event in notice.events:
            level = logging.WARNING if event.kind is TickEventKind.SKIPPED else logging.INFO
            log.log(level, "schedule %s %s", notice.schedule, tick_details(event))


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


def sentence(run_id: str, event: Event) -> str:
    """One line that tells an event: `order-42 · charge · #1 failed: BankDown; retry in 1.5 s`."""
    what = title(run_id, event.step, event.phase, event.attempt) if event.step else clean(run_id)
    return f"{what} {details(event)}"


_INTERNAL = (
    *("holder", "plan", "grace", "digest", "starter", "sent", "epoch", "credited"),
    *("given_back", "since", "key"),
)
_CAUSES = {
    (EventKind.LOST, "lease"): "lease expired",
    (EventKind.LOST, "death"): "its worker died",
    (EventKind.DISPATCHED, "unclaimed"): "not claimed in time",
    (EventKind.COMPENSATION_STARTED, "deadline"): "deadline passed",
    (EventKind.FINISHED, "unknown"): "outcome unknown",
    (EventKind.COMPLETED, "no signal"): "no signal came in time",
    (EventKind.FAILED, "no signal"): "no signal came in time",
}


def details(event: Event) -> str:
    """What an event says beside the run, the step and the time: `lost (lease expired)`."""
    data = {name: value for name, value in event.data.items() if name not in _INTERNAL}
    retry, why = data.pop("retry", None), data.pop("why", "")
    via = json.loads(data.pop("via", "{}"))
    cause = _CAUSES.get((event.kind, why), why)
    if event.kind is EventKind.POSTPONED:
        data.pop("version", None)
        cause = f"{data.pop('count')} times" if "count" in data else ""
    limit = data.pop("timeout", None)
    if data.pop("ends", False):
        cause = "and ended the run"
    if data.pop("answers", False):
        cause = "with an answer to the caller"
    if why == "timeout":
        # Such an end of its process counts as one that nobody knows the outcome of.
        left = data.get("error") in ("SystemExit", "KeyboardInterrupt")
        cause = "outcome unknown" if left else too_slow(limit)
    if why == "failed" and "culprit" in data:
        cause = f"{data.pop('culprit')} failed"
    # What needs no name: the class of an error, and the status in which a run or a report ended.
    words = [data.pop(name) for name in ("error", "outcome") if name in data]
    words += [f"{name} {_plain(value)}" for name, value in data.items()]
    text = event.kind.value.replace("_", " ")
    if event.kind is EventKind.BLOCKED and not cause:
        text = "no longer blocked"
    text += f" ({_plain(cause)})" if cause else ""
    text += f": {', '.join(_plain(word) for word in words)}" if words else ""
    again = "asked again" if event.kind is EventKind.POSTPONED else "retry"
    if retry is None:
        return text
    how = "".join(f", {name} {_plain(value)}" for name, value in via.items())
    return f"{text}; {again} in {(retry - event.at) / 1000:.1f} s{how}"


def tick_details(event: TickEvent) -> str:
    """What happened to a schedule or its ticks: `skipped 5 ticks from … to … (late)`."""
    text = event.kind.value
    if event.kind in (TickEventKind.SKIPPED, TickEventKind.STARTED, TickEventKind.QUEUED):
        first, last = (utc_text(at) if at is not None else "" for at in (event.tick, event.last))
        text += f" {event.count} ticks from {first} to {last}" if event.last else f" tick {first}"
    text += f" ({clean(event.why)})" if event.why else ""
    text += f": {event.run}" if event.run else ""
    return text + (f", by {clean(event.by)}" if event.by else "")


def too_slow(limit: int | None) -> str:
    """What is said of an attempt that reached its time limit, which is in ms, if it is known."""
    return "took longer than its timeout" + (f" of {limit / 1000:g} s" if limit else "")


def _plain(value: object) -> str:
    return clean(value) if isinstance(value, str) else str(value)


def title(run_id: str, step: str, phase: Phase, attempt: int) -> str:
    """What Flower and logs call an attempt: `order-42 · charge · #1`, `… · undo #1`."""
    undo = "undo " if phase == "undo" else ""
    number = f" · {undo}#{attempt}" if attempt or undo else ""  # nobody runs what waits
    return f"{clean(run_id)} · {step}{number}"


def clean(text: str) -> str:
    """Text with its control characters escaped: a log line stays a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
