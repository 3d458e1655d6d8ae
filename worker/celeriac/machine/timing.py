"""What a run waits for, and until when.  Reads; changes nothing.

Owns: which messages should be on their way (`due`), which seem lost (`overdue`), and when somebody
must look at the run again (`wake_at`).  Refuses to know: what happens then (`transitions`), the
clock, the store and Celery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import Dispatch
from celeriac.machine.runs import AT_REST, CLAIMABLE, PhaseState, PhaseStatus, Run, RunStatus

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
    """The messages that should be on their way now."""
    return {
        Dispatch(name, phase, lane.attempt + 1, lane.at)
        for name, phase, lane in waiting_lanes(run)
        if lane.sent
    }


def overdue(run: Run, now: int, death: int = 0) -> list[Dispatch]:
    """The messages that should have arrived by now: lost, or waiting in a queue.

    A worker that died (*death*, ms) may have had any in its hands that were sent before: for these
    there is nothing to be patient about.
    """
    return [
        Dispatch(name, phase, lane.attempt + 1, lane.at)
        for name, phase, lane in waiting_lanes(run)
        if lane.sent and now >= _patient_until(run, name, lane, death)
    ]


def _patient_until(run: Run, name: str, lane: PhaseState, death: int) -> int:
    return lane.at if lane.at <= death else lane.at + redispatch_delay(run, name, lane)


def redispatch_delay(run: Run, name: str, lane: PhaseState) -> int:
    """Milliseconds a message may be on its way; longer each time it was sent again."""
    # Blocked: it arrives where nobody can run it, and perhaps somebody else can; or is not sent.
    most = DOUBLINGS_WHILE_BLOCKED if run.step(name).blocked else _MOST_DOUBLINGS
    doubled = run.grace << min(lane.sends, most)
    return min(doubled, max(run.grace, _LONGEST_PATIENCE))


def wake_at(run: Run) -> int | None:
    """When somebody must look at the run, in ms; None at rest.

    Leases have entries of their own in the wake index and are not considered here.
    """
    if run.status in AT_REST:
        return None
    times = dates(run)
    return min(times) if times else run.changed_at + patrol(run)


def patrol(run: Run) -> int:
    """How often, in ms, somebody looks at a run that waits for nothing with a date."""
    return _LONG_PATROL if run.only_waits else PATROL


def dates(run: Run) -> list[int]:
    """When there will be something to see to, in ms: limits, retries, messages, the deadline."""
    if run.status in AT_REST:
        return []
    steps = run.steps.open.values()
    lanes = [lane for step in steps for lane in (step.do, step.undo) if lane.limit]
    if run.paused:  # what waits ends when it is resumed
        lanes = [lane for lane in lanes if lane.state is not PhaseStatus.OPEN]
    times = [lane.limit for lane in lanes]
    times += [
        lane.at + redispatch_delay(run, name, lane) if lane.sent else lane.at
        for name, _, lane in waiting_lanes(run)
    ]
    if run.deadline and run.status is RunStatus.RUNNING and not (run.overdue or run.paused):
        times.append(run.deadline)
    return times


def waiting_lanes(run: Run) -> list[tuple[str, Phase, PhaseState]]:
    """The lanes whose next attempt may be taken, now or later."""
    if run.status in AT_REST or run.paused:
        return []
    steps = run.steps.open.items()
    if run.status is RunStatus.RUNNING:
        return [(name, "do", step.do) for name, step in steps if step.do.state in CLAIMABLE]
    return [(name, "undo", step.undo) for name, step in steps if step.undo.state in CLAIMABLE]
