"""The other runs that a run has to do with: its children, and its parent.

Owns: how children are called, whose end is awaited, and which other runs have to be told something.
Refuses to know: what is told (`engine`), and what a child's end leads to (`children`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import Dispatch
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.steps import GAVE_UP, PhaseStatus
from celeriac.machine.tries import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine.plans import Phase
    from celeriac.machine.steps import PhaseState

#: What stands for a message to the parent: it is of no step.
TO_PARENT = Dispatch("", "do", 0, 0)


def id_of_child(run: Run, step: str, number: int) -> str:
    """The id of one of the runs that are attempts of a step."""
    # No id of a run may end like the second try of another one: `ask~2` does.
    own = step.replace("~", "@")
    return f"{key_of(run, step)}.{own}" + (f"#{number}" if number > 1 else "")


def awaited_children(run: Run) -> Iterator[tuple[str, Phase, PhaseState]]:
    """The directions whose newest attempt is another run, of which the end is awaited.

    Of a run that was terminated these are the children that have not been terminated yet.
    """
    phases: tuple[Phase, ...] = ("do", "undo")
    abandoned = run.status is RunStatus.TERMINATED
    wanted = {PhaseStatus.RUNNING, *(GAVE_UP if abandoned else ())}
    for name, step in run.steps.open.items():
        if not (step.do.child or step.undo.child):
            continue
        for phase in phases:
            direction = step.direction(phase)
            reported = direction.attempt in direction.late
            if direction.child and direction.state in wanted and not reported:
                yield name, phase, direction


def others(run: Run) -> list[Dispatch]:
    """The other runs that may have to be told something, should it have been lost."""
    found = [Dispatch(name, phase, each.attempt, 0) for name, phase, each in awaited_children(run)]
    return [*found, TO_PARENT._replace(at=run.ended_at)] if run.untold else found


def told_now(run: Run) -> list[Dispatch]:
    """The other runs that are to be told something as soon as a run is as it is now.

    Children at work need not be told anything, as long as their parent goes forward.
    """
    if run.status is not RunStatus.RUNNING:
        return others(run)
    return []


def look_at(run: Run) -> list[int]:
    """When somebody must see to it that other runs know, in ms."""
    times = [max(each.at, run.ended_at) + run.grace for _, _, each in awaited_children(run)]
    return [*times, run.ended_at + run.grace] if run.untold else times
