"""How a step or a run is changed: by a legal move, or not at all.

Owns: looking a move up in the tables before the state changes, and putting what has changed back
into the run.  Refuses to know: which event asks for which change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import changed
from celeriac.machine.tables import DO_MOVES, RUN_MOVES, UNDO_MOVES, IllegalMove

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine.events import Event
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run
    from celeriac.machine.steps import PhaseState, PhaseStatus, StepState

    Change = Callable[[Plan, Run, Event], Run]


def move_step(run: Run, event: Event, how: str = "", **changes: Any) -> Run:
    """Move one direction of a step; *how* it went is part of the move."""
    step = run.step(event.step)
    before = step.direction(event.phase)
    direction = move_direction(before, event, how, **changes)
    step = changed(step, **{event.phase: direction})
    if step.line and event.kind is not EventKind.DISPATCHED and _has_left(before, direction):
        step = changed(step, line=(), blocked="")
    return put_step(run, event, step)


def _has_left(before: PhaseState, now: PhaseState) -> bool:
    """True unless the next attempt still waits at its gate; what else came to light is no turn."""
    return before.state.claimable and (before.state, before.at) != (now.state, now.at)


def move_direction(
    direction: PhaseState, event: Event, how: str = "", **changes: Any
) -> PhaseState:
    """Return a direction after its legal move; raise IllegalMove if it is none."""
    table = DO_MOVES if event.phase == "do" else UNDO_MOVES
    return changed(direction, state=_next(table, direction.state, event, how), **changes)


def _next(
    table: dict[tuple[PhaseStatus, EventKind, str], PhaseStatus],
    state: PhaseStatus,
    event: Event,
    how: str,
) -> PhaseStatus:
    try:
        return table[state, event.kind, how]
    except KeyError:
        raise IllegalMove(
            f"{event.phase} {event.step!r}: {event.kind} ({how or '-'}) while {state}"
        ) from None


def move_run(run: Run, event: Event, status: RunStatus, **changes: Any) -> Run:
    """Move the run as a whole."""
    check_run(run.status, event, status)
    if not status.at_rest and run.untold:
        changes["untold"] = False  # it tells its parent when it comes to rest anew
    return changed(run, status=status, **{"begins_at": 0, **changes})


def check_run(status: RunStatus | None, event: Event, to: RunStatus) -> None:
    """Raise IllegalMove unless the run may get from *status* to *to* by this event."""
    if to not in RUN_MOVES.get((status, event.kind), ()):
        raise IllegalMove(f"{event.kind} -> {to} while the run is {status}")


def put_direction(run: Run, event: Event, direction: PhaseState) -> Run:
    """Put a direction into its step, without a move."""
    return put_step(run, event, changed(run.step(event.step), **{event.phase: direction}))


def put_step(run: Run, event: Event, step: StepState, **changes: Any) -> Run:
    """Put the step into its run."""
    return changed(run, steps=run.steps.put({event.step: step}), **changes)


def note_choice(run: Run, event: Event) -> Run:
    """Note what a step answered, if others are guarded by that, or how it left its group."""
    # A run that has turned round goes nowhere else, whatever is reported late.
    route = event.data.get("route", "") if run.status is RunStatus.RUNNING else ""
    choice = event.data.get("choice", route)
    if route:
        run = changed(run, routes=(*run.routes, (event.step, route)))
    return put_step(run, event, changed(run.steps[event.step], choice=choice)) if choice else run


def give_away(run: Run, event: Event) -> Run:
    """Somebody outside was asked, and nobody waits for the result any more."""
    step = run.steps[event.step]
    without = changed(step, do=changed(step.do, holder=""), may_have_effect=True)
    return put_step(run, event, without)
