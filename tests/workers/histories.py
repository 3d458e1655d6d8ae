"""What happened to a run, as short lists of words that a test compares as a whole.

Owns: reading a run's history and its rows in the ledger.  Refuses to know: what should have
happened.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac import RunHandle
    from celeriac.machine.events import Event
    from celeriac.views.state import StepView
    from tests.workers.world import World


def bodies(world: World, run: RunHandle[Any]) -> dict[str, int]:
    """How many bodies began, by step; those of a compensation are under `step.undo`."""
    rows = world.ledger.rows(f"{run.id}:%", "begin")
    return dict(Counter(row.key.rpartition(":")[2] for row in rows))


def effects(world: World, run: RunHandle[Any]) -> list[str]:
    """What the participants were asked, in order: `do book`, `again pay`, `undo pay`, …."""
    told = ("begin", "end", "saw")
    rows = [row for row in world.ledger.rows(f"{run.id}:%") if row.kind not in told]
    return [f"{row.kind} {row.key.rpartition(':')[2]}" for row in rows]


def events(run: RunHandle[Any], kind: str, step: str = "", phase: str = "do") -> list[Event]:
    """The events of one kind in a run's history, of one step where one is given."""
    found = [event for event in run.history() if event.kind == kind]
    return [e for e in found if not step or (e.step, e.phase) == (step, phase)]


def claims(run: RunHandle[Any], step: str, phase: str = "do") -> list[int]:
    """The attempts of a step that were claimed, in order."""
    return [event.attempt for event in events(run, "claimed", step, phase)]


def step_of(run: RunHandle[Any], name: str) -> StepView:
    """One step of a run as people are shown it."""
    return next(step for step in run.state().steps if step.name == name)


def claimed_after(run: RunHandle[Any], step: str, moment: float, phase: str = "do") -> float:
    """Seconds from *moment* (epoch) to the first claim of a step after it."""
    return (
        min(e.at for e in events(run, "claimed", step, phase) if e.at > moment * 1000) / 1000
        - moment
    )
