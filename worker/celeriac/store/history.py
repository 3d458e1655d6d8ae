"""How the history of a run is written down: a line of JSON for each event.

Owns: the form of these lines.  Refuses to know: where they are kept, and what an event does.

Most events are of few kinds and say little: those have a short form.  Their times count from the
start of the run, which the event of its start names.  All others are written as `Event.dump` does.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any

from celeriac.machine import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from celeriac.machine import Phase

# No code is the name of a kind: that is how the two forms are told apart.
_OF_STEPS: dict[str, tuple[EventKind, Phase]] = {
    "c": (EventKind.CLAIMED, "do"),
    "d": (EventKind.COMPLETED, "do"),
    "uc": (EventKind.CLAIMED, "undo"),
    "ud": (EventKind.COMPLETED, "undo"),
}
_CODES = {usual: code for code, usual in _OF_STEPS.items()}
_STARTED, _FINISHED = "s", "f"
_START = ("saga", "plan", "grace", "digest", "starter")  # what nearly every start says, in order

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def dump_events(events: Iterable[Event], start: int) -> list[str]:
    """Return the line of each of *events*, of a run that was started at *start* (ms)."""
    return [_short(event, start) or event.dump() for event in events]


def load_events(lines: Iterable[str], start: int = 0) -> list[Event]:
    """Return the events that `dump_events` wrote, or an older version.

    *start* (ms) is when the run was started, where the lines do not begin with that.
    """
    found = []
    for line in lines:
        row = json.loads(line)
        event = _event(row, start) or Event.load(line)
        if event.kind is EventKind.STARTED:
            start = event.at
        found.append(event)
    return found


def _short(event: Event, start: int) -> str | None:
    """The short form of an event; None if it says more than that can tell."""
    kind, data = event.kind, event.data
    if event.step:
        code = _CODES.get((kind, event.phase))
        name = data.get("holder", "")
        if code is None or event.attempt != 1 or len(data) > ("holder" in data):
            return None
        if not isinstance(name, str):
            return None  # no holder of ours: told in full
        holder = f",{_quoted(name)}" if data else ""
        return f'[{event.at - start},"{code}",{_quoted(event.step)}{holder}]'
    if kind is EventKind.STARTED and tuple(data) == _START and event.at == start:
        return _encode([start, _STARTED, *data.values()])
    if kind is EventKind.FINISHED and data.keys() == {"outcome"}:
        return _encode([event.at - start, _FINISHED, *data.values()])
    return None


def _event(row: Sequence[Any], start: int) -> Event | None:
    """The event of a row in the short form; None if it is in the other."""
    at, code, *rest = row
    if code in _OF_STEPS:
        kind, phase = _OF_STEPS[code]
        step, *holder = rest
        return Event(at + start, kind, step, phase, 1, {"holder": holder[0]} if holder else {})
    if code == _STARTED:
        return Event(at, EventKind.STARTED, data=dict(zip(_START, rest, strict=True)))
    if code == _FINISHED:
        return Event(at + start, EventKind.FINISHED, data={"outcome": rest[0]})
    return None
