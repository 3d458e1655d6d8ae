"""What changes when an operator, or whoever may, has stepped in.

Owns: `OPERATOR_EVENTS`.  Refuses to know: when an operator may ask for it (`operators`), and who
that is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.machine.events import Event, EventKind
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.standstill import come_to_gates, extend_waits, go_on, later_deadline
from celeriac.machine.state_changes import (
    give_away,
    move_run,
    move_step,
    note_choice,
    put_direction,
)
from celeriac.machine.steps import PhaseStatus, changed
from celeriac.machine.timing import waiting_directions

if TYPE_CHECKING:
    from celeriac.machine.plans import Plan
    from celeriac.machine.state_changes import Change


def _retried(plan: Plan, run: Run, event: Event) -> Run:
    if event.phase == "undo":
        run = move_run(run, event, RunStatus.COMPENSATING, ended_at=0)
    elif run.status is RunStatus.FAILED:
        run = go_on(plan, run, event)
    direction = run.step(event.step).direction(event.phase)
    node = plan.node(event.step)
    if node.wait and not node.reads_first:  # it waits anew, for as long; its budget is used up
        limit = node.wait.ends_at(event.at)
        return move_step(run, event, "a wait", at=event.at, limit=limit, attempts_before_budget=1)
    expires = event.phase == "do" and not direction.attempt
    return move_step(
        run,
        event,
        attempts_before_budget=direction.attempt,
        given_back=0,
        begun=0,
        limit=node.expires_at(event.at) if expires else 0,
        credited=0,
        at=event.at,
        sent=event.phase == "do",
        sends=0,
        via="",
    )


def _waived(plan: Plan, run: Run, event: Event) -> Run:
    if event.phase == "do":  # a confirm: the run goes on behind it
        return move_step(go_on(plan, run, event), event, at=event.at, sent=False)
    run = move_run(run, event, RunStatus.COMPENSATING, ended_at=0)
    return move_step(run, event, at=event.at, sent=False)


def _skipped(plan: Plan, run: Run, event: Event) -> Run:
    if event.attempt:  # the step itself says so
        return move_step(run, event, "itself", at=event.at, sent=False, limit=0)
    if run.status is RunStatus.FAILED:
        run = go_on(plan, run, event)
    asked = run.step(event.step).do.state is PhaseStatus.DEFERRED
    run = move_step(run, event, at=event.at, sent=False, limit=0)
    return note_choice(give_away(run, event) if asked else run, event)


def _paused(_plan: Plan, run: Run, event: Event) -> Run:
    return changed(run, paused=event.at)


def _resumed(plan: Plan, run: Run, event: Event) -> Run:
    """What was due is sent anew; paused time does not count towards the deadline and waits."""
    run = extend_waits(plan, run, event, event.at - run.paused)
    run = changed(run, paused=0, deadline=later_deadline(run.deadline, event.at - run.paused))
    for name, phase, direction in waiting_directions(run):
        if direction.sent:
            anew = changed(direction, at=max(direction.at, event.at), sends=0)
            run = put_direction(run, replace(event, step=name, phase=phase), anew)
    return come_to_gates(run, event)


def _extended(_plan: Plan, run: Run, event: Event) -> Run:
    if event.step:
        direction, total = run.step(event.step).do, event.data["credited"]
        limit = direction.limit + total - direction.credited
        return put_direction(run, event, changed(direction, limit=limit, credited=total))
    return changed(run, deadline=event.data["deadline"], credited=event.data["credited"])


def _terminated(_plan: Plan, run: Run, event: Event) -> Run:
    reason = event.data.get("reason", "")
    return move_run(
        run,
        event,
        RunStatus.TERMINATED,
        reason=reason,
        ended_at=event.at,
        paused=0,
        entered=(),
        untold=run.parent is not None,
    )


#: What each kind changes.
OPERATOR_EVENTS: dict[EventKind, Change] = {
    EventKind.RETRIED: _retried,
    EventKind.WAIVED: _waived,
    EventKind.SKIPPED: _skipped,
    EventKind.PAUSED: _paused,
    EventKind.RESUMED: _resumed,
    EventKind.EXTENDED: _extended,
    EventKind.TERMINATED: _terminated,
}
