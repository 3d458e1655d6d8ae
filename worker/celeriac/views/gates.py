"""Gates as people see them: numbers, how a breaker stands, who is inside and who waits.

Owns: the snapshot, in which all values that a gate counts apart are one.  Refuses to know: how it
is printed, and who may pass.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from celeriac.machine import Frozen, gate_named
from celeriac.views.times import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from celeriac.gating import Record, State
    from celeriac.machine import Rule

_WORST = ("closed", "half_open", "open")


class Seen(NamedTuple):
    """A gate as it was read, for one value if it counts them apart."""

    gate: str
    record: Record
    inside: int
    waiting: int
    now: int  # ms


class GateState(Frozen):
    """A gate as it was when it was looked at."""

    name: str
    kind: Literal["limit", "rate", "breaker"]
    most: int = Field(description="attempts at a time, or in `per`; of a breaker: failures")
    per: float | None = Field(description="seconds in which these are counted")
    state: Literal["closed", "open", "half_open"] | None = Field(description="of a breaker")
    until: datetime | None = Field(description="when an open breaker lets one attempt try")
    by: str = Field(description="who has opened or closed it, if an operator did")
    inside: int = Field(description="attempts that have a place; of a breaker: that try it")
    waiting: int = Field(description="steps that wait in line")
    values: int = Field(description="how many values are counted apart just now; 0: none are")


def gate_states(known: Mapping[str, Rule], seen: Iterable[Seen]) -> list[GateState]:
    """Return how all gates stand that the code or the store knows, by name."""
    found: dict[str, list[Seen]] = {name: [] for name in known}
    for each in seen:
        found.setdefault(gate_named(each.gate), []).append(each)
    return [
        _state(name, known.get(name) or several[0].record.rule, several)
        for name, several in sorted(found.items())
    ]


def _state(name: str, rule: Rule, several: list[Seen]) -> GateState:
    states: list[State] = [each.record.state(each.now) for each in several] or ["closed"]
    worst = max(states, key=_WORST.index)
    until = [each.record.until for each in several if each.record.opened and each.record.until]
    return GateState(
        name=name,
        kind=rule.kind,
        most=rule.most,
        per=rule.per / 1000 if rule.per else None,
        state=worst if rule.kind == "breaker" else None,
        until=moment(max(until)) if until else None,
        by=next((each.record.by for each in several if each.record.by), ""),
        inside=sum(each.inside for each in several),
        waiting=sum(each.waiting for each in several),
        values=sum(1 for each in several if each.gate != name),
    )
