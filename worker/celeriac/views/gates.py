"""Gates as people see them: numbers, how a breaker stands, who is inside and who waits.

Owns: the snapshots, in which all values that a gate counts apart are one; no value is in them.
Refuses to know: how it is printed, and who may pass.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from celeriac.machine import Frozen, gate_named
from celeriac.views.times import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from celeriac.gating import Record, State
    from celeriac.machine import InLine, Place, Rule

#: Of those who are at a gate, so many are told.
MOST_THERE = 50
_WORST = ("closed", "half_open", "open")


class Seen(NamedTuple):
    """A gate as it was read, for one value if it counts them apart."""

    gate: str
    record: Record
    inside: int
    waiting: int
    now: int  # ms
    places: Sequence[tuple[Place, int]] = ()  # with when each ends, in ms
    line: Sequence[InLine] = ()


class GateState(Frozen):
    """A gate as it was when it was looked at."""

    name: str
    kind: Literal["limit", "rate", "breaker"]
    most: int = Field(description="attempts at a time, or in `per`; of a breaker: failures")
    per: float | None = Field(description="seconds in which these are counted")
    state: Literal["closed", "open", "half_open"] | None = Field(description="of a breaker")
    since: datetime | None = Field(description="when a breaker opened that is not closed")
    until: datetime | None = Field(description="when an open breaker lets one attempt try")
    by: str = Field(description="who has opened or closed it, if an operator did")
    inside: int = Field(description="attempts that have a place; of a breaker: that try it")
    waiting: int = Field(description="steps that wait in line")
    values: int = Field(description="how many values are counted apart just now; 0: none are")

    @property
    def full(self) -> bool:
        """True of a limit or a rate, if nobody can pass just now, whatever the value."""
        return self.state is None and self.inside >= self.most * max(1, self.values)


class AtGate(Frozen):
    """An attempt, or a whole run, that has a place in a gate or waits for one."""

    run: str
    step: str = Field(description="empty: it is the place of a whole run")
    phase: Literal["do", "undo"]
    attempt: int = Field(description="0: of a whole run, or of one that waits")
    since: datetime | None = Field(description="of one that waits: when it came")
    until: datetime | None = Field(
        description="of a place: when it ends (rate), or its run is asked whether it still is there"
    )


class GateDetails(GateState):
    """A gate, and who is there."""

    holders: list[AtGate] = Field(description="who has a place, the oldest first; 50 at most")
    line: list[AtGate] = Field(description="who waits, in the order of turns; 50 at most")


def gate_states(known: Mapping[str, Rule], seen: Iterable[Seen]) -> list[GateState]:
    """Return how all gates stand that the code or the store knows, by name."""
    found: dict[str, list[Seen]] = {name: [] for name in known}
    for each in seen:
        found.setdefault(gate_named(each.gate), []).append(each)
    return [
        _state(name, known.get(name) or several[0].record.rule, several)
        for name, several in sorted(found.items())
    ]


def gate_details(known: Mapping[str, Rule], seen: Sequence[Seen]) -> GateDetails:
    """Return how one gate stands, and who is there."""
    (state,) = gate_states(known, seen)
    places = sorted((end, place) for each in seen for place, end in each.places)
    waiting = sorted(
        (each for gate in seen for each in gate.line),
        key=lambda turn: (turn.phase == "do", turn.since, turn.run),
    )
    holders = [
        AtGate(
            run=place.run,
            step=place.step,
            phase=place.phase,
            attempt=place.attempt,
            since=None,
            until=moment(end),
        )
        for end, place in places[:MOST_THERE]
    ]
    line = [
        AtGate(
            run=turn.run,
            step=turn.step,
            phase=turn.phase,
            attempt=0,
            since=moment(turn.since),
            until=None,
        )
        for turn in waiting[:MOST_THERE]
    ]
    return GateDetails(**state.model_dump(), holders=holders, line=line)


def _state(name: str, rule: Rule, several: list[Seen]) -> GateState:
    states: list[State] = [each.record.state(each.now) for each in several] or ["closed"]
    worst = max(states, key=_WORST.index)
    since = [each.record.opened for each in several if each.record.opened]
    until = [each.record.until for each in several if each.record.opened and each.record.until]
    return GateState(
        name=name,
        kind=rule.kind,
        most=rule.most,
        per=rule.per / 1000 if rule.per else None,
        state=worst if rule.kind == "breaker" else None,
        since=moment(min(since)) if since else None,
        until=moment(max(until)) if until else None,
        by=next((each.record.by for each in several if each.record.by), ""),
        inside=sum(each.inside for each in several),
        waiting=sum(each.waiting for each in several),
        values=sum(1 for each in several if each.gate != name),
    )
