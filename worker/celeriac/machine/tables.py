"""The legal moves: which state an event leads to from which.

Owns: the tables, for each direction of a step, for whose turn it is, and for the run as a whole.
Refuses to know: how a run is changed (`state_changes`), and which command leads to which event.
`docs/states.md` is drawn from here.

An illegal move is a missing key, and raises `IllegalMove`: a bug, never an answer to a user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus

if TYPE_CHECKING:
    from celeriac.machine.plans import Phase
    from celeriac.machine.steps import PhaseState


class IllegalMove(AssertionError):
    """An event that cannot happen in this state: a bug in whoever made the event."""


_S, _E, _R = PhaseStatus, EventKind, RunStatus

#: (state of the step, event, how it went) -> next state.  The forward direction.
DO_MOVES: dict[tuple[PhaseStatus, EventKind, str], PhaseStatus] = {
    (_S.SCHEDULED, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.RETRYING, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.SCHEDULED, _E.CLAIMED, ""): _S.RUNNING,
    (_S.RETRYING, _E.CLAIMED, ""): _S.RUNNING,
    (_S.RUNNING, _E.COMPLETED, ""): _S.DONE,
    (_S.RUNNING, _E.FAILED, "retry"): _S.RETRYING,
    (_S.RUNNING, _E.FAILED, ""): _S.FAILED,
    (_S.RUNNING, _E.FAILED, "unknown"): _S.UNKNOWN,
    (_S.RUNNING, _E.LOST, "retry"): _S.RETRYING,
    (_S.RUNNING, _E.LOST, ""): _S.UNKNOWN,
    # It cannot say yet, and is asked again.
    (_S.RUNNING, _E.POSTPONED, ""): _S.POSTPONED,
    (_S.POSTPONED, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.POSTPONED, _E.CLAIMED, ""): _S.RUNNING,
    # Its result comes from outside; somebody has said it before the step returned, or says it then.
    (_S.RUNNING, _E.KEPT, ""): _S.RUNNING,
    (_S.RUNNING, _E.DEFERRED, ""): _S.DEFERRED,
    (_S.DEFERRED, _E.COMPLETED, ""): _S.DONE,
    (_S.DEFERRED, _E.FAILED, "retry"): _S.RETRYING,
    (_S.DEFERRED, _E.FAILED, ""): _S.FAILED,
    (_S.DEFERRED, _E.LOST, "retry"): _S.RETRYING,
    (_S.DEFERRED, _E.LOST, ""): _S.UNKNOWN,
    (_S.DEFERRED, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.DEFERRED, _E.COMPENSATION_STARTED, "may have effect"): _S.UNKNOWN,
    # The list of a map was counted, or until when a sleep lasts was read; or that cannot be.
    # When all elements have ended, so has the map.
    (_S.SCHEDULED, _E.EXPANDED, ""): _S.EXPANDED,
    (_S.SCHEDULED, _E.OPENED, ""): _S.OPEN,
    (_S.SCHEDULED, _E.FAILED, "not read"): _S.FAILED,
    # Nobody has taken it up in time, for the first time.
    (_S.SCHEDULED, _E.FAILED, "expired"): _S.FAILED,
    # A lost attempt reports its success after all, and no newer attempt holds the step.
    (_S.SCHEDULED, _E.COMPLETED, "late"): _S.DONE,
    (_S.RETRYING, _E.COMPLETED, "late"): _S.DONE,
    (_S.POSTPONED, _E.COMPLETED, "late"): _S.DONE,
    (_S.UNKNOWN, _E.COMPLETED, "late"): _S.DONE,
    (_S.FAILED, _E.COMPLETED, "late"): _S.DONE,
    # The run turns round: what has not started never will.
    (_S.SCHEDULED, _E.COMPENSATION_STARTED, "untouched"): _S.IDLE,
    (_S.SCHEDULED, _E.COMPENSATION_STARTED, "may have effect"): _S.UNKNOWN,
    (_S.SCHEDULED, _E.COMPENSATION_STARTED, "no effect"): _S.FAILED,
    (_S.RETRYING, _E.COMPENSATION_STARTED, "may have effect"): _S.UNKNOWN,
    (_S.RETRYING, _E.COMPENSATION_STARTED, "no effect"): _S.FAILED,
    (_S.POSTPONED, _E.COMPENSATION_STARTED, "may have effect"): _S.UNKNOWN,
    (_S.POSTPONED, _E.COMPENSATION_STARTED, "no effect"): _S.FAILED,
    # An operator tries a step once more that gave up, and that the run did not turn round for.
    (_S.FAILED, _E.RETRIED, ""): _S.SCHEDULED,
    (_S.UNKNOWN, _E.RETRIED, ""): _S.SCHEDULED,
    # An operator says that it needs no (further) attempt.
    (_S.IDLE, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.SCHEDULED, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.RETRYING, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.POSTPONED, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.FAILED, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.UNKNOWN, _E.SKIPPED, ""): _S.SKIPPED,
    # An operator has confirmed it by hand.
    (_S.FAILED, _E.WAIVED, ""): _S.WAIVED,
    (_S.UNKNOWN, _E.WAIVED, ""): _S.WAIVED,
    # Another run has its result, which a fork takes over.
    (_S.SCHEDULED, _E.INHERITED, ""): _S.SKIPPED,
    (_S.OPEN, _E.INHERITED, ""): _S.SKIPPED,
    # The step itself says that there is nothing to do.
    (_S.RUNNING, _E.SKIPPED, "itself"): _S.SKIPPED,
    # No worker runs it: it waits for a signal or a time.
    (_S.OPEN, _E.COMPLETED, ""): _S.DONE,
    (_S.OPEN, _E.FAILED, ""): _S.FAILED,
    (_S.OPEN, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.OPEN, _E.COMPENSATION_STARTED, "a wait"): _S.SKIPPED,
    (_S.FAILED, _E.RETRIED, "a wait"): _S.OPEN,
    # Its attempt is another run, which owes something until it has undone itself.
    (_S.UNKNOWN, _E.FAILED, "undone"): _S.FAILED,
}

#: The same for the compensation of a step.
UNDO_MOVES: dict[tuple[PhaseStatus, EventKind, str], PhaseStatus] = {
    (_S.SCHEDULED, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.RETRYING, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.SCHEDULED, _E.CLAIMED, ""): _S.RUNNING,
    (_S.RETRYING, _E.CLAIMED, ""): _S.RUNNING,
    (_S.RUNNING, _E.COMPLETED, ""): _S.DONE,
    (_S.RUNNING, _E.COMPLETED, "once more"): _S.IDLE,
    (_S.RUNNING, _E.FAILED, "retry"): _S.RETRYING,
    (_S.RUNNING, _E.FAILED, ""): _S.FAILED,
    (_S.RUNNING, _E.FAILED, "unknown"): _S.FAILED,
    (_S.RUNNING, _E.LOST, "retry"): _S.RETRYING,
    (_S.RUNNING, _E.LOST, ""): _S.FAILED,
    # It cannot say yet whether it is undone, and is asked again.
    (_S.RUNNING, _E.POSTPONED, ""): _S.POSTPONED,
    (_S.POSTPONED, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.POSTPONED, _E.CLAIMED, ""): _S.RUNNING,
    (_S.SCHEDULED, _E.COMPLETED, "late"): _S.DONE,
    (_S.RETRYING, _E.COMPLETED, "late"): _S.DONE,
    (_S.POSTPONED, _E.COMPLETED, "late"): _S.DONE,
    (_S.FAILED, _E.COMPLETED, "late"): _S.DONE,
    # A late effect arrived: undo it once more, when its turn comes or the present undo has settled.
    (_S.IDLE, _E.REOPENED, ""): _S.IDLE,
    (_S.SCHEDULED, _E.REOPENED, ""): _S.SCHEDULED,
    (_S.RETRYING, _E.REOPENED, ""): _S.RETRYING,
    (_S.POSTPONED, _E.REOPENED, ""): _S.POSTPONED,
    (_S.RUNNING, _E.REOPENED, ""): _S.RUNNING,
    (_S.DONE, _E.REOPENED, ""): _S.IDLE,
    (_S.WAIVED, _E.REOPENED, ""): _S.IDLE,
    (_S.FAILED, _E.REOPENED, ""): _S.FAILED,
    (_S.FAILED, _E.RETRIED, ""): _S.IDLE,
    (_S.FAILED, _E.WAIVED, ""): _S.WAIVED,
}

#: Why an attempt was given up whose result was to come from outside: none came in time, or the run
#: had turned round before the step returned.
NO_RESULT, VOID = "no result", "void"

#: Why a step has failed that was never claimed: nobody took it up in the time that it had.
EXPIRED = "expired"

TURN_COMES, TURN_GOES = "its turn comes", "another comes first"
#: Its turn comes, and an earlier step has chosen otherwise.
NOT_CHOSEN = "its turn comes (not chosen)"
#: Its turn comes, and the run has started as many steps as it may.
TOO_MANY = "its turn comes (too many steps)"
#: Its turn comes, and no worker runs it.
OPENS = "its turn comes (it waits)"
#: Each of its elements has ended.
ALL_ENDED = "all elements have ended"

#: (direction, its state, whose turn it is) -> next state.  What an event to one step makes of the
#: others; only a compensation loses its turn, to one that has to come before it.
SCHEDULING: dict[tuple[Phase, PhaseStatus, str], PhaseStatus] = {
    ("do", _S.IDLE, TURN_COMES): _S.SCHEDULED,
    ("do", _S.IDLE, NOT_CHOSEN): _S.SKIPPED,
    ("do", _S.IDLE, TOO_MANY): _S.FAILED,
    ("do", _S.IDLE, OPENS): _S.OPEN,
    ("do", _S.EXPANDED, ALL_ENDED): _S.DONE,
    ("undo", _S.IDLE, TURN_COMES): _S.SCHEDULED,
    ("undo", _S.SCHEDULED, TURN_GOES): _S.IDLE,
    ("undo", _S.RETRYING, TURN_GOES): _S.IDLE,
    ("undo", _S.POSTPONED, TURN_GOES): _S.IDLE,
}

#: (status of the run, event) -> the statuses it may lead to.  Events not listed leave it alone.
RUN_MOVES: dict[tuple[RunStatus | None, EventKind], tuple[RunStatus, ...]] = {
    (None, _E.STARTED): (_R.RUNNING,),
    (_R.COMPLETED, _E.STARTED): (_R.RUNNING,),
    (_R.COMPENSATED, _E.STARTED): (_R.RUNNING,),
    (_R.TERMINATED, _E.STARTED): (_R.RUNNING,),
    (_R.RUNNING, _E.COMPENSATION_STARTED): (_R.COMPENSATING,),
    (_R.COMPLETED, _E.COMPENSATION_STARTED): (_R.COMPENSATING,),
    (_R.RUNNING, _E.FINISHED): (_R.COMPLETED, _R.FAILED),
    (_R.COMPENSATING, _E.FINISHED): (_R.COMPENSATED, _R.FAILED),
    (_R.FAILED, _E.RETRIED): (_R.COMPENSATING, _R.RUNNING),
    (_R.COMPENSATING, _E.RETRIED): (_R.COMPENSATING,),
    (_R.FAILED, _E.WAIVED): (_R.COMPENSATING, _R.RUNNING),
    (_R.COMPENSATING, _E.WAIVED): (_R.COMPENSATING,),
    (_R.FAILED, _E.COMPLETED): (_R.COMPENSATING, _R.RUNNING),
    (_R.FAILED, _E.SKIPPED): (_R.RUNNING,),
    (_R.FAILED, _E.FAILED): (_R.RUNNING,),
    (_R.FAILED, _E.COMPENSATION_STARTED): (_R.COMPENSATING,),
    (_R.COMPENSATED, _E.REOPENED): (_R.COMPENSATING,),
    (_R.COMPENSATING, _E.REOPENED): (_R.COMPENSATING,),
    (_R.FAILED, _E.REOPENED): (_R.FAILED, _R.COMPENSATING, _R.RUNNING),
    # Something of an earlier try is undone once more, so it is not at rest.
    (_R.COMPLETED, _E.REOPENED): (_R.RUNNING,),
    # It goes forward again from a step.
    (_R.COMPENSATING, _E.REWOUND): (_R.RUNNING,),
    # It begins anew by itself, unless somebody would not have it.
    (_R.COMPENSATING, _E.TRY_ENDED): (_R.WAITING,),
    (_R.WAITING, _E.BEGAN_ANEW): (_R.RUNNING,),
    (_R.WAITING, _E.REOPENED): (_R.COMPENSATING,),
    (_R.WAITING, _E.COMPENSATION_STARTED): (_R.COMPENSATING,),
    (_R.COMPENSATING, _E.COMPENSATION_STARTED): (_R.COMPENSATING,),
    (_R.WAITING, _E.TERMINATED): (_R.TERMINATED,),
    (_R.RUNNING, _E.TERMINATED): (_R.TERMINATED,),
    (_R.COMPENSATING, _E.TERMINATED): (_R.TERMINATED,),
    (_R.FAILED, _E.TERMINATED): (_R.TERMINATED,),
}


def state_in_turn(phase: Phase, direction: PhaseState, whose: str) -> PhaseStatus | None:
    """The state a direction gets when its turn comes, or another comes first; None: no change."""
    return SCHEDULING.get((phase, direction.state, whose))
