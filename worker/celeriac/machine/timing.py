"""What a run waits for, and until when.  Reads; changes nothing.

Owns: which messages should be on their way (`due`), which seem lost (`overdue`), and when somebody
must look at the run again (`wake_at`).  Refuses to know: what happens then (`transitions`), the
clock, the store and Celery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import Dispatch
from celeriac.machine.relatives import look_at, told_now
from celeriac.machine.runs import AT_REST, Run, RunStatus
from celeriac.machine.steps import CLAIMABLE, PhaseState, PhaseStatus
from celeriac.machine.tries import epoch_of

if TYPE_CHECKING:
    from celeriac.machine.plans import Phase

#: Delays up to this many ms travel as a Celery retry, longer ones only as a wake time: an ETA
#: past the broker's visibility timeout is delivered again and again (F13).
SHORT_DELAY = 2_000
# A run that waits for nothing with a date (a step without a time limit is running) is looked at
# once an hour all the same.
PATROL = 3_600_000
# Where nothing but a wait without a date is open, nothing can have been forgotten.
_LONG_PATROL = 30 * 24 * PATROL
# How far the patience for a message grows: the sweep waits for a message sent again and again up
# to 16 times the grace, so that a backlog is not answered with ever more messages.
_MOST_DOUBLINGS = 4
DOUBLINGS_WHILE_BLOCKED = 2  # a reason that is gone is found soon
_LONGEST_PATIENCE = 60_000


def due(run: Run) -> set[Dispatch]:
    """The messages that should be on their way now, also those to other runs."""
    found = {
        Dispatch(name, phase, direction.attempt + 1, direction.at)
        for name, phase, direction in waiting_directions(run)
        if direction.sent
    }
    for earlier in run.still_undone:
        found.update(_of_try(earlier, each) for each in due(earlier))
    found.update(told_now(run))
    return found


def overdue(run: Run, now: int, death: int = 0) -> list[Dispatch]:
    """The messages that should have arrived by now: lost, or waiting in a queue.

    A worker that died (*death*, ms) may have had any in its hands that were sent before: for these
    there is nothing to be patient about.
    """
    found = [
        Dispatch(name, phase, direction.attempt + 1, direction.at)
        for name, phase, direction in waiting_directions(run)
        if direction.sent and now >= _patient_until(run, name, direction, death)
    ]
    for earlier in run.still_undone:
        found += [_of_try(earlier, each) for each in overdue(earlier, now, death)]
    return found


def _of_try(earlier: Run, dispatch: Dispatch) -> Dispatch:
    return dispatch._replace(epoch=epoch_of(earlier, dispatch.step))


def _patient_until(run: Run, name: str, direction: PhaseState, death: int) -> int:
    return (
        direction.at
        if direction.at <= death
        else direction.at + redispatch_delay(run, name, direction)
    )


def redispatch_delay(run: Run, name: str, direction: PhaseState) -> int:
    """Milliseconds a message may be on its way; longer each time it was sent again."""
    # Blocked: it arrives where nobody can run it, and perhaps somebody else can; or is not sent.
    most = DOUBLINGS_WHILE_BLOCKED if run.step(name).blocked else _MOST_DOUBLINGS
    doubled = run.grace << min(direction.sends, most)
    return min(doubled, max(run.grace, _LONGEST_PATIENCE))


def wake_at(run: Run) -> int | None:
    """When somebody must look at the run, in ms; None at rest, if no other run has to be told.

    Leases have entries of their own in the wake index and are not considered here.
    """
    times = look_at(run)
    if run.status in AT_REST:
        return min(times, default=None)
    times += dates(run)
    return min(times) if times else run.changed_at + patrol(run)


def patrol(run: Run) -> int:
    """How often, in ms, somebody looks at a run that waits for nothing with a date."""
    return _LONG_PATROL if run.only_waits else PATROL


def dates(run: Run) -> list[int]:
    """When there will be something to see to, in ms: limits, retries, messages, the deadline."""
    if run.status in AT_REST:
        return []
    steps = run.steps.open.values()
    directions = [
        direction for step in steps for direction in (step.do, step.undo) if direction.limit
    ]
    if run.paused:  # what waits ends when it is resumed
        at_work = PhaseStatus.RUNNING
        directions = [direction for direction in directions if direction.state is at_work]
    times = [direction.limit for direction in directions]
    times += [
        direction.at + redispatch_delay(run, name, direction) if direction.sent else direction.at
        for name, _, direction in waiting_directions(run)
    ]
    goes_on = run.status in (RunStatus.RUNNING, RunStatus.WAITING)
    if run.deadline and goes_on and not (run.overdue or run.paused):
        times.append(run.deadline)
    if run.begins_at and not run.paused:
        times.append(run.begins_at)
    for earlier in run.still_undone:
        times += dates(earlier)
    return times


def waiting_directions(run: Run) -> list[tuple[str, Phase, PhaseState]]:
    """The directions whose next attempt may be taken, now or later."""
    if run.status in AT_REST or run.paused or run.status is RunStatus.WAITING:
        return []
    steps = run.steps.open.items()
    if run.status is RunStatus.RUNNING:
        return [(name, "do", step.do) for name, step in steps if step.do.state in CLAIMABLE]
    return [(name, "undo", step.undo) for name, step in steps if step.undo.state in CLAIMABLE]
