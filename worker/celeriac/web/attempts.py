"""A run in time: when its attempts began and ended, from its history.

Owns: which events begin a bar and which end it.  Refuses to know: how it is drawn (`charts`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine import EventKind, instance_of
from celeriac.views import RESULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from celeriac.machine import Event, Phase, Plan
    from celeriac.views import RunState

_Key = tuple[str, str]  # a step, and in which direction

_MOST = 40  # rows; of more steps, those that began last
_TONES = {
    EventKind.COMPLETED: "done",
    EventKind.FAILED: "failed",
    EventKind.LOST: "lost",
    EventKind.POSTPONED: "postponed",
    EventKind.DEFERRED: "asked",
    EventKind.SKIPPED: "lost",
}


class Bar(NamedTuple):
    """An attempt, or a wait."""

    since: int  # ms
    until: int
    tone: str  # done, failed, lost, postponed, asked, running, waits; undo before it: of an undo
    told: str


class Try(NamedTuple):
    """An attempt of one step: who had it, and how it ended."""

    told: str
    claimed: datetime
    end: str  # empty: it has not
    took: float | None  # seconds
    holder: str
    phase: Phase
    attempt: int
    sends: int  # how often its message was sent again


class Row(NamedTuple):
    """What a step went through."""

    name: str
    bars: list[Bar]


def rows_of(
    state: RunState, plan: Plan, events: Sequence[Event], now: int
) -> tuple[list[Row], int]:
    """Return a row for each step that was begun, and how many there were before these.

    Elements of a map share one row.  What goes on ends *now* (ms), or with the run.
    """
    found: dict[str, list[Bar]] = {}
    for key, bar in (*_attempts(state, events, now), *_waits(state, plan, events, now)):
        _put(found, key, bar)
    rows = [Row(name, sorted(bars)) for name, bars in found.items()]
    rows.sort(key=lambda row: row.bars[0].since)
    return rows[-_MOST:], max(0, len(rows) - _MOST)


def tries_of(events: Sequence[Event], step: str) -> list[Try]:
    """Return the attempts of a step and of its undo, as far as *events* tell, the newest first."""
    found: dict[tuple[str, int], Try] = {}
    sends: Counter[tuple[str, int]] = Counter()
    for event in events:
        key = (event.phase, event.attempt)
        if event.step != step or not event.attempt:
            continue
        if event.kind is EventKind.DISPATCHED:
            sends[key] += 1
        elif event.kind is EventKind.CLAIMED:
            told = f"{'undo ' if event.phase == 'undo' else ''}#{event.attempt}"
            holder, which = str(event.data.get("holder", "")), (event.phase, event.attempt)
            found[key] = Try(told, event.time, "", None, holder, *which, sends[key])
        elif event.kind in _TONES and key in found:
            took = (event.time - found[key].claimed).total_seconds()
            found[key] = found[key]._replace(end=event.kind.value, took=took)
    return list(found.values())[: -_MOST - 1 : -1]


def _attempts(state: RunState, events: Sequence[Event], now: int) -> Iterator[tuple[_Key, Bar]]:
    """Attempts, and the time in which one waits for its result from outside."""
    begun: dict[_Key, tuple[int, int, str]] = {}  # since, attempt, tone
    for event in events:
        key = (event.step, event.phase)
        if event.kind is EventKind.CLAIMED:
            begun[key] = (event.at, event.attempt, "")
        elif event.kind in _TONES and key in begun:
            since, attempt, waits = begun.pop(key)
            told = f"{_name(key, attempt)} {event.kind.value}"
            yield key, Bar(since, event.at, waits or _TONES[event.kind], told)
            if event.kind is EventKind.DEFERRED:
                begun[key] = (event.at, attempt, "waits")
    for at_work, (since, attempt, waits) in begun.items():
        told = f"{_name(at_work, attempt)} {'waits for ' + RESULT if waits else 'at work'}"
        yield at_work, Bar(since, max(since, _end(state, now)), waits or "running", told)


def _waits(
    state: RunState, plan: Plan, events: Sequence[Event], now: int
) -> Iterator[tuple[_Key, Bar]]:
    """Waits.  One begins with the end of what it comes after: no event says so."""
    after = {node.name: node.after for node in plan.nodes if node.wait}
    ended: dict[str, int] = {}
    start = _ms(state.started_at)

    def since(name: str) -> int:
        return max((ended.get(each, start) for each in after[name]), default=start)

    for event in events:
        if event.step in after and event.kind in (EventKind.COMPLETED, EventKind.FAILED):
            yield (event.step, "do"), Bar(since(event.step), event.at, "waits", "waited")
        if event.kind is EventKind.COMPLETED and event.phase == "do":
            ended[event.step] = event.at
    for step in state.steps:
        if step.waits_for and step.name in after:
            told = f"waits for {step.waits_for}"
            first = since(step.name)
            yield (step.name, "do"), Bar(first, max(first, _end(state, now)), "waits", told)


def _end(state: RunState, now: int) -> int:
    return _ms(state.ended_at) if state.ended_at else now


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def _put(found: dict[str, list[Bar]], key: _Key, bar: Bar) -> None:
    step, phase = key
    instance = instance_of(step)
    undo = phase == "undo"
    name = f"{instance.map} (each)" if instance else step
    found.setdefault(f"undo {name}" if undo else name, []).append(
        bar._replace(tone=f"undo {bar.tone}") if undo else bar
    )


def _name(key: _Key, attempt: int) -> str:
    step, phase = key
    return f"{'undo of ' if phase == 'undo' else ''}{step}, attempt {attempt},"
