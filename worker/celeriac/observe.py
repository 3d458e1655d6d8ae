"""What happened, told to people: events to log lines.  Emitted in one place.

Owns: the wording and level of log lines.  Refuses to know: payloads (an event holds none) and who
listens.  The engine calls `observed` once for every commit that wrote events.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from celeriac.models import Event, EventKind, Phase, Run

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def observed(run: Run, events: Sequence[Event]) -> None:
    """Tell what happened to a run."""
    for event in events:
        level = _level(event)
        if log.isEnabledFor(level):
            log.log(level, "%s", sentence(run.id, event))


def _level(event: Event) -> int:
    if event.kind is EventKind.FINISHED and event.data.get("outcome") == "failed":
        return logging.ERROR
    if event.kind in _QUIET and not event.data.get("late"):
        return logging.DEBUG
    return _LEVELS.get(event.kind, logging.INFO)


def sentence(run_id: str, event: Event) -> str:
    """One line that tells an event: `order-42 · charge · #1 failed: BankDown, again in 1.5 s`."""
    what = title(run_id, event.step, event.phase, event.attempt) if event.step else clean(run_id)
    return f"{what} {details(event)}"


def details(event: Event) -> str:
    """What an event says beside the run, the step and the time."""
    data = dict(event.data)
    retry = data.pop("retry", None)
    for internal in ("holder", "plan", "grace", "digest", "starter", "sent", "epoch", "credited"):
        data.pop(internal, None)
    text = event.kind.value.replace("_", " ")
    told = ", ".join(f"{name} {_plain(value)}" for name, value in data.items())
    if retry is not None:
        told += f"{', ' if told else ''}again in {(retry - event.at) / 1000:.1f} s"
    return f"{text}: {told}" if told else text


def _plain(value: object) -> str:
    return clean(value) if isinstance(value, str) else str(value)


def title(run_id: str, step: str, phase: Phase, attempt: int) -> str:
    """What Flower and logs call an attempt: `order-42 · charge · #1`, `… · undo #1`."""
    undo = "undo " if phase == "undo" else ""
    return f"{clean(run_id)} · {step} · {undo}#{attempt}"


def clean(text: str) -> str:
    """Text with its control characters escaped: a log line stays a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
