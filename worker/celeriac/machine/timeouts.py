"""What time brings: leases that run out, time limits, deadlines, retries, messages that are lost.

Owns: what follows when nobody reports.  Refuses to know: the clock (*now* is an argument), and who
looks how often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import waits
from celeriac.machine.commands import Expire
from celeriac.machine.conditions import past_pivot
from celeriac.machine.draft import Draft, retry_delay
from celeriac.machine.events import Dispatch, EventKind
from celeriac.machine.outside import lose
from celeriac.machine.plans import PHASES
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.timing import overdue, waiting_directions
from celeriac.machine.tries import is_over

if TYPE_CHECKING:
    from celeriac.machine.commands import Redispatch, Wake


def expire(draft: Draft, command: Expire) -> None:
    """Give up an attempt that nobody is at any more."""
    if command.epoch and is_over(draft.run, command.step, command.epoch):
        return  # a try that is over: all that was at work has ended
    direction = draft.direction(command.step, command.phase)
    if draft.run.status.at_rest:
        return  # nobody waits for it any more; if it reports, that is a late report
    if direction.state is PhaseStatus.RUNNING and direction.attempt == command.attempt:
        lose(draft, command, command.why)


def wake(draft: Draft, command: Wake) -> None:
    """See to time limits and the deadline, and send what is due."""
    if draft.run.status.at_rest:
        return
    if command.credit is not None:
        _time_out(draft, command.longest_eta)
        _meet_deadline(draft, command.credit)
    waits.end(draft, command)
    _begin_anew(draft)
    _send_what_is_due(draft)
    for earlier in draft.run.still_undone:
        with draft.about(earlier.epoch):
            if command.credit is not None:
                _time_out(draft, command.longest_eta)
            _send_what_is_due(draft)
    if draft.run.rewinds_to and command.credit is not None:
        draft.finish()  # it may go forward again from here on, past its deadline
        _meet_deadline(draft, command.credit)


def _begin_anew(draft: Draft) -> None:
    run = draft.run
    passed = run.deadline and draft.now >= run.deadline and draft.plan.on_deadline == "compensate"
    waits = run.status is RunStatus.WAITING and not (run.paused or passed)
    if waits and draft.now >= run.begins_at:
        draft.add(EventKind.BEGAN_ANEW)


def _send_what_is_due(draft: Draft) -> None:
    for dispatch in _retries_due(draft):
        draft.add(EventKind.DISPATCHED, dispatch.step, dispatch.phase, dispatch.attempt, why="due")


def _time_out(draft: Draft, longest_eta: int) -> None:
    for name in list(draft.run.steps.open):
        for phase in PHASES:
            direction = draft.run.step(name).direction(phase)
            if direction.state is PhaseStatus.RUNNING and 0 < direction.limit <= draft.now:
                delay = retry_delay(draft, name, phase)
                command = Expire(name, phase, direction.attempt)
                lose(draft, command, "timeout", delay, longest_eta)


def _meet_deadline(draft: Draft, credit: int) -> None:
    run = draft.run
    goes_on = run.status in (RunStatus.RUNNING, RunStatus.WAITING)
    if not (goes_on and run.deadline) or run.overdue or run.paused:
        return
    if draft.now < run.deadline:
        return
    if credit > run.credited:
        later = run.deadline + credit - run.credited
        draft.add(EventKind.EXTENDED, deadline=later, credited=credit)
        if draft.now < later:
            return
    if draft.plan.on_deadline == "alert" or past_pivot(draft.plan, draft.run):
        draft.add(EventKind.OVERDUE)
    else:
        draft.add(EventKind.COMPENSATION_STARTED, why="deadline", culprit=run.failed_step)


def _retries_due(draft: Draft) -> list[Dispatch]:
    """Attempts that nobody has sent yet, since their time had not come."""
    return [
        Dispatch(name, phase, direction.attempt + 1, draft.now)
        for name, phase, direction in waiting_directions(draft.run)
        if not direction.sent and direction.at <= draft.now
    ]


def redispatch(draft: Draft, command: Redispatch) -> None:
    """Send a message again that should have been claimed by now."""
    lost = command.dispatch._replace(epoch=0)
    if lost in overdue(draft.run, draft.now, command.death):
        again = draft.direction(lost.step, lost.phase).sends + 1
        draft.add(
            EventKind.DISPATCHED, lost.step, lost.phase, lost.attempt, why="unclaimed", again=again
        )
