"""A step of a run: where it stands, forward and back.

Owns: what a step and one direction of it consist of.  Refuses to know: what may happen to them
(`transitions`), and payloads.

Frozen values.  Times are integer milliseconds since the epoch, by the clock of the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from celeriac.machine.plans import Phase

T = TypeVar("T")


def changed(value: T, **changes: Any) -> T:
    """Return *value* with some fields changed, as `dataclasses.replace` does, ten times as fast.

    A transition makes a dozen of them; that is also why these classes have no slots.
    """
    new = object.__new__(type(value))
    object.__setattr__(new, "__dict__", value.__dict__ | changes)
    return new


#: The holder of an attempt that has reported, of a step that is kept without the holder's name.
#: Each attempt has one holder, so whoever reports that attempt once more is the same.
REPORTED = "*"

#: How the reason begins (`StepState.blocked`) if the message of a step could not be sent.
NOT_SENT = "not sent: "


class StepStatus(StrEnum):
    """Where a step stands, over both directions; what people are shown."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNKNOWN = "unknown"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    CONFIRM_FAILED = "confirm_failed"
    WAIVED = "waived"


class PhaseStatus(StrEnum):
    """Where one direction of a step stands."""

    IDLE = "idle"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    POSTPONED = "postponed"
    DEFERRED = "deferred"  # its result comes from outside; nobody is at it
    OPEN = "open"  # of a wait: nobody is at it, until what it waits for is there
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    WAIVED = "waived"
    EXPANDED = "expanded"

    @property
    def claimable(self) -> bool:
        """True while the next attempt may be claimed, now or later."""
        return self in CLAIMABLE


#: A direction whose next attempt may be claimed, now or later.
CLAIMABLE = frozenset({PhaseStatus.SCHEDULED, PhaseStatus.RETRYING, PhaseStatus.POSTPONED})
#: A direction that somebody is at, or may take up.
AT_WORK = (*CLAIMABLE, PhaseStatus.RUNNING)
#: A direction that nobody is at, and that no worker may take up: it waits for somebody outside.
WAITS = frozenset({PhaseStatus.OPEN, PhaseStatus.DEFERRED})
#: A direction that ended without success, and has no attempt left.
GAVE_UP = frozenset({PhaseStatus.FAILED, PhaseStatus.UNKNOWN})
#: A step that nothing waits for any more: done, or somebody says that it need not be.
ENDED = frozenset({PhaseStatus.DONE, PhaseStatus.SKIPPED, PhaseStatus.WAIVED})

_FORWARD = {
    PhaseStatus.IDLE: StepStatus.PENDING,
    PhaseStatus.SCHEDULED: StepStatus.SCHEDULED,
    PhaseStatus.RUNNING: StepStatus.RUNNING,
    PhaseStatus.RETRYING: StepStatus.RETRYING,
    PhaseStatus.POSTPONED: StepStatus.WAITING,
    PhaseStatus.DEFERRED: StepStatus.WAITING,
    PhaseStatus.OPEN: StepStatus.WAITING,
    PhaseStatus.DONE: StepStatus.COMPLETED,
    PhaseStatus.FAILED: StepStatus.FAILED,
    PhaseStatus.UNKNOWN: StepStatus.UNKNOWN,
    PhaseStatus.SKIPPED: StepStatus.SKIPPED,
    PhaseStatus.WAIVED: StepStatus.WAIVED,
    PhaseStatus.EXPANDED: StepStatus.RUNNING,
}
_BACKWARD = {
    PhaseStatus.SCHEDULED: StepStatus.COMPENSATING,
    PhaseStatus.RUNNING: StepStatus.COMPENSATING,
    PhaseStatus.RETRYING: StepStatus.COMPENSATING,
    PhaseStatus.POSTPONED: StepStatus.COMPENSATING,
    PhaseStatus.DONE: StepStatus.COMPENSATED,
    PhaseStatus.FAILED: StepStatus.COMPENSATION_FAILED,
    PhaseStatus.WAIVED: StepStatus.WAIVED,
}


class Parent(NamedTuple):
    """Whose child a run is: the step of another run, of which it is an attempt."""

    run: str
    epoch: int
    step: str


@dataclass(frozen=True)
class PhaseState:
    """One direction of a step: its attempts, and the one that holds it now.

    `attempt` counts claims and is the fencing token of the newest: it never goes down, so an
    attempt with a smaller number is stale.
    """

    state: PhaseStatus = PhaseStatus.IDLE
    attempt: int = 0
    holder: str = ""  # nonce of the newest claim; empty once that attempt was given up as lost
    at: int = 0  # scheduled, retrying: not before; otherwise since when
    sent: bool = False  # a message for the next attempt is thought to be on its way
    sends: int = 0  # how often it was sent again since it was last claimed
    limit: int = 0  # running: when it times out; waiting, or not yet claimed: until then; 0: never
    attempts_before_budget: int = 0  # attempts made before the present budget began
    recompensate: bool = False  # undo: a late effect arrived meanwhile, undo once more when settled
    late: tuple[int, ...] = ()  # lost attempts that reported after all, each counted once
    given_back: int = 0  # attempts of the present budget that were postponed, and count no more
    begun: int = 0  # ms since the epoch: its first claim, if there is a limit to all its attempts
    credited: int = 0  # waiting: ms of outage already added to the limit
    too_many: bool = False  # one more than the run may start; until it is claimed all the same
    via: str = ""  # how its task wants the messages of its next attempts to be sent (JSON)
    signal: str = ""  # waiting: the name of the signal that would end it; empty: a time alone
    child: int = 0  # which of its runs the newest attempt is, if attempts are runs; 0: none
    # What was said outside of how the newest attempt ended: completed, or failed; then the error,
    # its code, whether it had an effect, and whether it is worth another attempt.
    kept: tuple[str, str, str, bool | None, bool] | tuple[()] = ()
    expired: bool = False  # nobody took it up in its time; until it is claimed all the same

    def held_by(self, attempt: int, holder: str) -> bool:
        """True if this attempt is the newest, and *holder* made the claim that counts."""
        mine = self.holder == holder != "" or self.holder == REPORTED
        return mine and self.attempt == attempt

    @property
    def attempts_in_budget(self) -> int:
        """How many attempts the present budget has paid for."""
        return self.attempt - self.attempts_before_budget - self.given_back


@dataclass(frozen=True)
class StepState:
    """A step of a run, in both directions."""

    do: PhaseState = PhaseState()
    undo: PhaseState = PhaseState()
    order: int = 0  # 1-based start order; 0 if never started
    may_have_effect: bool = False  # an attempt may have taken effect; sticky (I6)
    generation: int = 0  # how often its effect came back after it had been undone
    blocked: str = ""  # why nobody can run it, or why its message cannot be sent
    choice: str = ""  # what it answered, if others are guarded by that
    inherited: bool = False  # its result was taken over from another run, which answers for it
    line: tuple[str, int] | tuple[()] = ()  # the gate before which it waits, and since when (ms)
    gates: tuple[str, ...] = ()  # those that its attempts have passed; its undo passes them too

    @property
    def unsent(self) -> bool:
        """True if the message of its next attempt could not be sent."""
        return self.blocked.startswith(NOT_SENT)

    @property
    def status(self) -> StepStatus:
        """The status people are shown."""
        return _BACKWARD.get(self.undo.state) or _FORWARD[self.do.state]

    @property
    def settled(self) -> bool:
        """True if nothing is awaited of it, as long as its run does not turn round."""
        if self.undo.state is PhaseStatus.IDLE:
            ended = self.do.state in ENDED
        else:
            ended = self.undo.state in (PhaseStatus.DONE, PhaseStatus.WAIVED)
        return ended and not self.blocked

    def direction(self, phase: Phase) -> PhaseState:
        """Where the step stands in one direction."""
        return self.do if phase == "do" else self.undo

    @property
    def rests(self) -> bool:
        """True if nothing happens to it until its run turns round, or somebody asks for it."""
        if self.undo.state is PhaseStatus.IDLE:
            return self.do.state in ENDED
        return self.undo.state in (PhaseStatus.DONE, PhaseStatus.WAIVED, PhaseStatus.FAILED)

    @property
    def resting(self) -> StepState:
        """The same, without what is of no more use once it rests: many look alike then."""
        return changed(self, do=_resting(self.do), undo=_resting(self.undo), blocked="", line=())


def _resting(direction: PhaseState) -> PhaseState:
    if direction == PhaseState():
        return direction
    holder = REPORTED if direction.holder else ""
    over = {"sent": False, "sends": 0, "limit": 0, "begun": 0, "via": "", "kept": ()}
    return changed(direction, holder=holder, at=0, **over)


PENDING = StepState()
