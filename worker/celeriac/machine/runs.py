"""One execution of a saga: the small value that the state machine works on.

Owns: what a run, a step of it and one direction of a step consist of.  Refuses to know: what may
happen to them (`transitions`), where they are kept (`store`), and payloads.

Frozen values.  Times are integer milliseconds since the epoch, by the clock of the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine.plans import Phase

T = TypeVar("T", bound="PhaseState | StepState | Run")


def changed(value: T, **changes: Any) -> T:
    """Return *value* with some fields changed, as `dataclasses.replace` does, ten times as fast.

    A transition makes a dozen of them, and `replace` sets each of some 20 fields anew; that is
    also why these classes have no slots.
    """
    new = object.__new__(type(value))
    new.__dict__.update(value.__dict__, **changes)
    return new


#: How the reason begins (`StepState.blocked`) if the message of a step could not be sent.
NOT_SENT = "not sent: "


class RunStatus(StrEnum):
    """Where a run as a whole stands."""

    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    FAILED = "failed"
    TERMINATED = "terminated"

    @property
    def at_rest(self) -> bool:
        """True when nothing happens any more unless somebody asks for it."""
        return self in AT_REST


AT_REST = frozenset(
    {RunStatus.COMPLETED, RunStatus.COMPENSATED, RunStatus.FAILED, RunStatus.TERMINATED}
)


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
    WAIVED = "waived"


class PhaseStatus(StrEnum):
    """Where one direction of a step stands."""

    IDLE = "idle"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    OPEN = "open"  # of a wait: nobody is at it, until what it waits for is there
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    WAIVED = "waived"

    @property
    def claimable(self) -> bool:
        """True while the next attempt may be claimed, now or later."""
        return self in CLAIMABLE


#: A direction whose next attempt may be claimed, now or later.
CLAIMABLE = frozenset({PhaseStatus.SCHEDULED, PhaseStatus.RETRYING, PhaseStatus.WAITING})
_AT_WORK = (*CLAIMABLE, PhaseStatus.RUNNING)
#: A direction that ended without success, and has no attempt left.
GAVE_UP = frozenset({PhaseStatus.FAILED, PhaseStatus.UNKNOWN})

_FORWARD = {
    PhaseStatus.IDLE: StepStatus.PENDING,
    PhaseStatus.SCHEDULED: StepStatus.SCHEDULED,
    PhaseStatus.RUNNING: StepStatus.RUNNING,
    PhaseStatus.RETRYING: StepStatus.RETRYING,
    PhaseStatus.WAITING: StepStatus.WAITING,
    PhaseStatus.OPEN: StepStatus.WAITING,
    PhaseStatus.DONE: StepStatus.COMPLETED,
    PhaseStatus.FAILED: StepStatus.FAILED,
    PhaseStatus.UNKNOWN: StepStatus.UNKNOWN,
    PhaseStatus.SKIPPED: StepStatus.SKIPPED,
}
_BACKWARD = {
    PhaseStatus.SCHEDULED: StepStatus.COMPENSATING,
    PhaseStatus.RUNNING: StepStatus.COMPENSATING,
    PhaseStatus.RETRYING: StepStatus.COMPENSATING,
    PhaseStatus.DONE: StepStatus.COMPENSATED,
    PhaseStatus.FAILED: StepStatus.COMPENSATION_FAILED,
    PhaseStatus.WAIVED: StepStatus.WAIVED,
}


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
    limit: int = 0  # running: when the attempt counts as timed out; waiting: until then; 0: never
    attempts_before_budget: int = 0  # attempts made before the present budget began
    recompensate: bool = False  # undo: a late effect arrived meanwhile, undo once more when settled
    late: tuple[int, ...] = ()  # lost attempts that reported after all, each counted once
    given_back: int = 0  # attempts of the present budget that were postponed, and count no more
    begun: int = 0  # ms since the epoch: its first claim, if there is a limit to all its attempts
    credited: int = 0  # waiting: ms of outage already added to the limit

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
            ended = self.do.state in (PhaseStatus.DONE, PhaseStatus.SKIPPED)
        else:
            ended = self.undo.state in (PhaseStatus.DONE, PhaseStatus.WAIVED)
        return ended and not self.blocked

    def lane(self, phase: Phase) -> PhaseState:
        """The lane of one direction."""
        return self.do if phase == "do" else self.undo


PENDING = StepState()


class Steps(Mapping[str, StepState]):
    """The steps of a run that were ever touched, by name.

    Most steps of a long run are settled, and what happens next asks for few of them.  So they may
    stay in whatever form they were read in, until somebody asks for one by its name, or for all.
    """

    __slots__ = ("open", "settled")

    def __init__(
        self,
        known: Mapping[str, StepState] | None = None,
        settled: Mapping[str, StepState] | None = None,
    ) -> None:
        """*known* are steps in any state; *settled* holds settled ones, if they are in no other."""
        #: All that are not settled, and those that have moved since the run was read.
        self.open: Mapping[str, StepState] = {} if known is None else known
        #: The others; a name that is in `open` as well means what it means there.
        self.settled: Mapping[str, StepState] = {} if settled is None else settled

    def put(self, changed: Mapping[str, StepState]) -> Steps:
        """Return the steps with some *changed*, or added."""
        return Steps({**self.open, **changed}, self.settled)

    def __getitem__(self, name: str) -> StepState:
        found = self.open.get(name)
        return self.settled[name] if found is None else found

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self.settled if name not in self.open)
        yield from self.open

    def __len__(self) -> int:
        twice = sum(name in self.settled for name in self.open) if self.settled else 0
        return len(self.open) + len(self.settled) - twice

    def __repr__(self) -> str:
        return f"Steps({dict(self)!r})"


class Received(NamedTuple):
    """A signal that was accepted: it is taken by one wait, or still there in the end."""

    key: str  # of its id: the same id counts once
    name: str
    taken_by: str = ""  # the step that waited for it; empty: nobody yet


@dataclass(frozen=True)
class Run:
    """One execution of a saga: the small value that the state machine works on.  No payloads."""

    id: str
    saga: str
    plan: str  # fingerprint
    status: RunStatus
    started_at: int
    grace: int  # ms; the terms under which the run was accepted
    version: int = 0  # how many events made it
    epoch: int = 1  # how often this id was started anew
    deadline: int | None = None  # ms since the epoch
    credited: int = 0  # ms of outage already added to the deadline
    overdue: bool = False  # the deadline passed and somebody was told
    digest: str = ""  # of the input: the same id with another input is a conflict
    starter: str = ""  # nonce of the start: the same call again is not a second start
    tags: tuple[tuple[str, str], ...] = ()
    started_steps: int = 0
    compensate_not_before: int = 0  # ms since the epoch; until then an effect may still land
    why: str = ""  # failed, cancelled, deadline: why it compensates or ended
    failed_step: str = ""  # the step that failed, if one did
    reason: str = ""  # what an operator said
    changed_at: int = 0
    ended_at: int = 0
    paused: int = 0  # ms since the epoch: an operator holds it since then; 0: nobody does
    # The step that was postponed last, if nothing else happened since: its name, the events at the
    # end of the history that tell of it, how often in a row, and since when (ms).
    series: tuple[str, int, int, int] | tuple[()] = ()
    ended_by: str = ""  # the step that said that the run goes no further, if one did
    signals: tuple[Received, ...] = ()  # in the order in which they were accepted
    steps: Steps = field(default_factory=Steps)

    def step(self, name: str) -> StepState:
        """The state of a step; steps that were never touched are not stored."""
        found = self.steps.open.get(name)
        return self.steps.settled.get(name, PENDING) if found is None else found

    @property
    def only_waits(self) -> bool:
        """True while nothing but waits is open: no worker has anything to do for it."""
        if self.status is not RunStatus.RUNNING:
            return False
        states = {step.do.state for step in self.steps.open.values()}
        return PhaseStatus.OPEN in states and states.isdisjoint(_AT_WORK)

    @property
    def shown(self) -> RunStatus:
        """The status people are shown: `paused` if it is held, `waiting` if it only waits."""
        if self.paused and not self.status.at_rest:
            return RunStatus.PAUSED
        return RunStatus.WAITING if self.only_waits else self.status

    @property
    def key(self) -> str:
        """What idempotency keys and task ids start with: the id, and its epoch if started anew."""
        return self.id if self.epoch == 1 else f"{self.id}~{self.epoch}"

    @property
    def owed(self) -> tuple[str, ...]:
        """The steps an operator must see to: undos that failed, or steps that gave up for good.

        Several branches may have given up; the one for which the run came to rest comes first.
        """
        undone = tuple(n for n, s in self.steps.open.items() if s.undo.state is PhaseStatus.FAILED)
        if undone or self.why or self.status is RunStatus.TERMINATED:
            return undone
        stuck = [name for name, step in self.steps.open.items() if step.do.state in GAVE_UP]
        return tuple(sorted(stuck, key=lambda name: name != self.failed_step))
