"""Time that does not count: a run stood still, and waited for an operator.

Owns: how deadline and waits move on when a run goes on, and that what waited in line comes to its
gate again.  Refuses to know: why it stood still.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.machine.runs import RunStatus
from celeriac.machine.state_changes import move_run, put_direction
from celeriac.machine.steps import WAITS, PhaseStatus, changed
from celeriac.machine.timing import waiting_directions

if TYPE_CHECKING:
    from celeriac.machine.events import Event
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run


def go_on(plan: Plan, run: Run, event: Event) -> Run:
    """The run goes on where it stopped for an operator; the wait does not count as time."""
    deadline = later_deadline(run.deadline, event.at - run.ended_at)
    run = extend_waits(plan, run, event, event.at - run.ended_at)
    run = move_run(run, event, RunStatus.RUNNING, ended_at=0, failed_step="", deadline=deadline)
    return come_to_gates(run, event)


def come_to_gates(run: Run, event: Event) -> Run:
    """What waited in line has stepped out meanwhile, so a message takes it there again, soon.

    Whoever lets the run go on joins the line for it at once; this is for when they die before.
    """
    for name, phase, direction in waiting_directions(run):
        if run.step(name).line and not direction.sent:
            soon = changed(direction, at=min(direction.at, event.at))
            run = put_direction(run, replace(event, step=name, phase=phase), soon)
    return run


def later_deadline(deadline: int | None, waited: int) -> int | None:
    """Return the deadline of a run that stood still so long."""
    return deadline + max(0, waited) if deadline else None


def extend_waits(plan: Plan, run: Run, event: Event, stood: int) -> Run:
    """Time for which the run stood still does not count towards waits; dates are dates."""
    for name, step in run.steps.open.items():
        direction, wait = step.do, plan.node(name).wait
        if not direction.limit or (wait and wait.is_dated):
            continue
        if direction.state in WAITS:
            longer = changed(
                direction, at=direction.at + max(0, stood), limit=direction.limit + max(0, stood)
            )
        elif direction.state is PhaseStatus.SCHEDULED:  # it could not be claimed meanwhile
            stood_with_it = max(0, min(stood, event.at - direction.at))
            longer = changed(direction, limit=direction.limit + stood_with_it)
        else:
            continue
        run = put_direction(run, replace(event, step=name, phase="do"), longer)
    return run
