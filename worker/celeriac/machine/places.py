"""Who is inside of gates, and who waits at one: read from the states of runs.

Owns: what counts as a place and as a turn in line.  Refuses to know: whether there is room
(`gating`), and where places are written down; that is checked against what stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine.plans import PHASES, Phase
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.timing import SHORT_DELAY, waiting_directions
from celeriac.machine.tries import epoch_of, first_epoch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine.runs import Run

_INSIDE = (PhaseStatus.RUNNING, PhaseStatus.DEFERRED)


class Place(NamedTuple):
    """A place inside of a gate: that of an attempt, or without a step that of a whole run."""

    gate: str
    run: str
    epoch: int
    step: str
    phase: Phase
    attempt: int
    holder: str


class InLine(NamedTuple):
    """A place in line before a gate: of the next attempt of a step."""

    gate: str
    run: str
    epoch: int
    step: str
    phase: Phase
    since: int  # ms


def places_of(run: Run | None) -> set[Place]:
    """The places that a run has: of its attempts at work, and its own until it is at rest."""
    return set(_places(run)) if run is not None else set()


def _places(run: Run) -> Iterator[Place]:
    if run.status.at_rest:
        return
    if run.entered:
        holder, *gates = run.entered
        yield from (Place(gate, run.id, first_epoch(run), "", "do", 0, holder) for gate in gates)
    for one in (run, *run.still_undone):
        for name, step in one.steps.open.items():
            for phase in PHASES if step.gates else ():
                at = step.direction(phase)
                if at.state in _INSIDE:
                    token = (run.id, epoch_of(one, name), name, phase, at.attempt, at.holder)
                    yield from (Place(gate, *token) for gate in step.gates)


def next_attempts(run: Run) -> Iterator[tuple[InLine, int]]:
    """The attempts that may be claimed now or later, as if they came to a gate without a name."""
    for one in (run, *run.still_undone):
        for name, phase, direction in waiting_directions(one):
            epoch = 0 if one is run else epoch_of(one, name)
            yield InLine("", run.id, epoch, name, phase, 0), direction.attempt + 1


def lines_of(run: Run | None) -> set[InLine]:
    """Where the steps of a run wait in line; those of one that is held have stepped out."""
    if run is None:
        return set()
    return {
        InLine(step.line[0], run.id, epoch_of(one, name), name, phase, step.line[1])
        for one in (run, *run.still_undone)
        for name, phase, _ in waiting_directions(one)
        if (step := one.step(name)).line
    }


def may_join(run: Run | None, turn: InLine, now: int) -> bool:
    """Whether a message of a step may be at a gate just now, and note in a moment that it waits."""
    for one in (run, *run.still_undone) if run is not None else ():
        for name, phase, direction in waiting_directions(one):
            if (turn.step, turn.phase, turn.epoch) == (name, phase, epoch_of(one, name)):
                # As early as a claim would be granted; it may stand in another line until then.
                return bool(direction.sent) and direction.at <= now + SHORT_DELAY
    return False
