"""The nouns: plans, runs, events, failures.  Frozen values, nothing else.

Owns: what a plan, a run and an event consist of, and how they are written down as JSON.  Refuses
to know: what may happen to them (`transitions`), where they are kept (`store`), and Celery.

Plans are Pydantic models, since they are stored, checked and shown.  Runs and events are slotted
dataclasses with a compact form of their own: they are read and written at every transition.
Times are integer milliseconds since the epoch, by the clock of the store.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

Phase = Literal["do", "undo"]
CompensationOrder = Literal["reverse", "forward", "parallel"]
OnDeadline = Literal["compensate", "alert"]
Effect = Literal["keyed", "barrier", "none"]
OnUnknown = Literal["retry", "compensate", "operator"]


class Frozen(BaseModel):
    """A Pydantic model that cannot change and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


T = TypeVar("T", bound="Lane | StepState | Run")


def changed(value: T, **changes: Any) -> T:
    """Return *value* with some fields changed, as `dataclasses.replace` does, ten times as fast.

    A transition makes a dozen of them, and `replace` sets each of some 20 fields anew; that is
    also why these classes have no slots.
    """
    new = object.__new__(type(value))
    new.__dict__.update(value.__dict__, **changes)
    return new


# --- plans -------------------------------------------------------------------------------------


class FromInput(Frozen):
    """An argument taken from the run's input, or from inside it."""

    input: str = Field(description="name of the saga's parameter")
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside it")


class FromStep(Frozen):
    """An argument taken from an earlier step's result, or from inside it."""

    step: str = Field(description="name of the step in the plan")
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside it")


class Constant(Frozen):
    """An argument written in the saga itself."""

    value: Any = Field(description="any JSON value")


class ListOf(Frozen):
    """A list with other expressions inside."""

    items: tuple[Expression, ...]


class DictOf(Frozen):
    """A mapping with other expressions inside."""

    entries: dict[str, Expression]


Expression = FromInput | FromStep | Constant | ListOf | DictOf


class RetryRule(Frozen):
    """A retry policy as it is stored: numbers and names of exception classes only."""

    max_attempts: int | None = Field(default=3, description="counts the first; None is for ever")
    backoff: Literal["none", "linear", "exponential"] = "exponential"
    initial_delay: int = Field(default=5_000, description="milliseconds before the second attempt")
    max_delay: int = Field(default=60_000, description="milliseconds, the longest delay")
    jitter: bool = True
    give_up_on: tuple[str, ...] = Field(default=(), description="qualified names, not retried")
    retry_on: tuple[str, ...] = Field(
        default=("builtins.Exception",), description="qualified names that are retried"
    )
    after_loss: bool = Field(
        default=True, description="try again after an attempt whose outcome is unknown"
    )


class Undo(Frozen):
    """The compensation of a node."""

    task: str = Field(description="name of the Celery task")
    wants: tuple[str, ...] = Field(description="the parameters it asks for, by name")
    retry: RetryRule = RetryRule()
    timeout: int | None = Field(default=None, description="milliseconds one attempt may take")


class Node(Frozen):
    """A step of a plan: a Celery task, its arguments, its policy and how it is undone."""

    name: str = Field(description="unique in the plan; operators and history use it")
    task: str = Field(description="name of the Celery task")
    after: tuple[str, ...] = Field(default=(), description="steps that must have completed")
    args: dict[str, Expression] = Field(default_factory=dict, description="by parameter name")
    retry: RetryRule = RetryRule()
    timeout: int | None = Field(default=None, description="milliseconds one attempt may take")
    effect: Effect = "keyed"
    on_unknown: Literal["compensate", "operator"] = Field(
        default="compensate",
        description="what follows an attempt whose outcome is unknown and that is not tried again",
    )
    pivot: bool = Field(default=False, description="once it completed, the run only goes forward")
    undo: Undo | None = None

    def policy(self, phase: Phase) -> RetryRule:
        """The retry rule of one direction."""
        return self.undo.retry if phase == "undo" and self.undo else self.retry

    def task_of(self, phase: Phase) -> str:
        """The Celery task of one direction."""
        return self.undo.task if phase == "undo" and self.undo else self.task

    def limit(self, phase: Phase) -> int | None:
        """Milliseconds an attempt may take in one direction."""
        return self.undo.timeout if phase == "undo" and self.undo else self.timeout


class Plan(Frozen):
    """A saga, planned: a static graph.  Stored with its runs, so a deploy breaks none of them."""

    saga: str
    version: int = 1
    params: tuple[str, ...] = ()
    nodes: tuple[Node, ...]
    result: Expression = Constant(value=None)
    deadline: int | None = Field(default=None, description="milliseconds from the start")
    on_deadline: OnDeadline = "compensate"
    compensation_order: CompensationOrder = "reverse"
    retention: int | None = Field(
        default=None, description="milliseconds after the end; None: the setting"
    )

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change whenever the plan does."""
        # Without what has its default: a field that a newer version adds must not make every plan
        # another one.
        dumped = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(dumped, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def followers(self) -> dict[str, tuple[Node, ...]]:
        """For each step, the steps that wait for it."""
        return {
            node.name: tuple(n for n in self.nodes if node.name in n.after) for node in self.nodes
        }

    @cached_property
    def pivot(self) -> str | None:
        """The step after which the run only goes forward, if there is one."""
        return next((node.name for node in self.nodes if node.pivot), None)


# --- runs --------------------------------------------------------------------------------------


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


class LaneState(StrEnum):
    """Where one direction of a step stands."""

    IDLE = "idle"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    WAIVED = "waived"


_FORWARD = {
    LaneState.IDLE: StepStatus.PENDING,
    LaneState.SCHEDULED: StepStatus.SCHEDULED,
    LaneState.RUNNING: StepStatus.RUNNING,
    LaneState.RETRYING: StepStatus.RETRYING,
    LaneState.DONE: StepStatus.COMPLETED,
    LaneState.FAILED: StepStatus.FAILED,
    LaneState.UNKNOWN: StepStatus.UNKNOWN,
    LaneState.SKIPPED: StepStatus.SKIPPED,
}
_BACKWARD = {
    LaneState.SCHEDULED: StepStatus.COMPENSATING,
    LaneState.RUNNING: StepStatus.COMPENSATING,
    LaneState.RETRYING: StepStatus.COMPENSATING,
    LaneState.DONE: StepStatus.COMPENSATED,
    LaneState.FAILED: StepStatus.COMPENSATION_FAILED,
    LaneState.WAIVED: StepStatus.WAIVED,
}


@dataclass(frozen=True)
class Lane:
    """One direction of a step: its attempts, and the one that holds it now.

    `attempt` counts claims and is the fencing token of the newest: it never goes down, so an
    attempt with a smaller number is stale.
    """

    state: LaneState = LaneState.IDLE
    attempt: int = 0
    holder: str = ""  # nonce of the newest claim; empty once that attempt was given up as lost
    at: int = 0  # scheduled, retrying: not before; otherwise since when
    sent: bool = False  # a message for the next attempt is thought to be on its way
    sends: int = 0  # how often it was sent again since it was last claimed
    limit: int = 0  # running: when the attempt counts as timed out; 0 is never
    base: int = 0  # attempts made before the present budget began
    again: bool = False  # undo: a late effect arrived meanwhile, undo once more when settled
    late: tuple[int, ...] = ()  # lost attempts that reported after all, each counted once


@dataclass(frozen=True)
class StepState:
    """A step of a run, in both directions."""

    do: Lane = Lane()
    undo: Lane = Lane()
    order: int = 0  # the how-manieth step to start; 0 is never
    maybe: bool = False  # an attempt may have taken effect; sticky (reliability.md, I6)
    generation: int = 0  # how often its effect came back after it had been undone
    blocked: str = ""  # why nobody can run it, if a worker said so

    @property
    def status(self) -> StepStatus:
        """The status people are shown."""
        return _BACKWARD.get(self.undo.state) or _FORWARD[self.do.state]

    def lane(self, phase: Phase) -> Lane:
        """The lane of one direction."""
        return self.do if phase == "do" else self.undo


PENDING = StepState()


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
    quiet: int = 0  # ms since the epoch; no compensation before (an effect may still land)
    why: str = ""  # failed, cancelled, deadline: why it compensates or ended
    culprit: str = ""  # the step that failed, if one did
    reason: str = ""  # what an operator said
    changed_at: int = 0
    ended_at: int = 0
    paused: int = 0  # ms since the epoch: an operator holds it since then; 0: nobody does
    steps: dict[str, StepState] = field(default_factory=dict)

    def step(self, name: str) -> StepState:
        """The state of a step; steps that were never touched are not stored."""
        return self.steps.get(name, PENDING)

    @property
    def shown(self) -> RunStatus:
        """The status people are shown: one that is held is `paused`, whichever way it goes."""
        return RunStatus.PAUSED if self.paused and not self.status.at_rest else self.status

    @property
    def key(self) -> str:
        """What idempotency keys and task ids start with: the id, and its epoch if started anew."""
        return self.id if self.epoch == 1 else f"{self.id}~{self.epoch}"

    @property
    def owed(self) -> tuple[str, ...]:
        """The steps an operator must see to: an undo that failed, or a step past the pivot."""
        undone = tuple(n for n, s in self.steps.items() if s.undo.state is LaneState.FAILED)
        stuck = self.status is RunStatus.FAILED and not undone and self.culprit
        return (self.culprit,) if stuck else undone


# --- events ------------------------------------------------------------------------------------


class EventKind(StrEnum):
    """What can happen to a run, in the past tense."""

    STARTED = "started"
    DISPATCHED = "dispatched"
    CLAIMED = "claimed"
    COMPLETED = "completed"
    FAILED = "failed"
    LOST = "lost"
    LATE = "late"
    BLOCKED = "blocked"
    COMPENSATION_STARTED = "compensation_started"
    REOPENED = "reopened"
    RETRIED = "retried"
    WAIVED = "waived"
    SKIPPED = "skipped"
    PAUSED = "paused"
    RESUMED = "resumed"
    EXTENDED = "extended"
    OVERDUE = "overdue"
    TERMINATED = "terminated"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run.  Folding all of them gives the run again."""

    at: int  # ms since the epoch, by the store's clock
    kind: EventKind
    step: str = ""
    phase: Phase = "do"
    attempt: int = 0
    data: dict[str, Any] = field(default_factory=dict)  # small, never a payload

    @property
    def time(self) -> datetime:
        """When it happened, by the store's clock."""
        return datetime.fromtimestamp(self.at / 1000, UTC)

    def dump(self) -> str:
        """The event as compact JSON."""
        row: list[Any] = [self.at, self.kind.value]
        if self.step:
            row += [self.step, self.phase[0], self.attempt]
        if self.data:
            row.append(self.data)
        return _encode(row)

    @classmethod
    def load(cls, text: str | bytes) -> Event:
        """The event that `dump` wrote."""
        at, kind, *rest = json.loads(text)
        data = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        step, phase, attempt = rest or ("", "d", 0)
        return cls(at, EventKind(kind), step, "do" if phase == "d" else "undo", attempt, data)


# --- the rest ----------------------------------------------------------------------------------


class Failure(Frozen):
    """How an attempt failed.  Kept with the run's payloads: a message may hold what it likes."""

    type: str = Field(description="class of the exception")
    message: str = Field(default="", description="its text")
    code: str | None = Field(default=None, description="the code given to Abort, or of a SagaError")
    effect: bool | None = Field(default=None, description="False: proven to have had none")
    traceback: str | None = Field(default=None, description="the last frames, bounded")


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A message that should be on its way: this attempt of this step, not before `at`."""

    step: str
    phase: Phase
    attempt: int
    at: int


class UndoStep(Frozen):
    """What a cancel would do about one step."""

    step: str
    task: str | None = Field(description="the compensation; None: there is none")
    inputs: dict[str, Any] = Field(
        default_factory=dict, description="what it would be given, by parameter; a payload"
    )
    certain: bool = Field(
        description="False: an attempt is at work, or its outcome is unknown, so it may be nothing"
    )
    stays: str | None = Field(default=None, description="why its effect would stay")


class UndoPlan(Frozen):
    """What would be undone of a run, in which order: what `run.undo_plan()` returns."""

    id: str
    status: RunStatus
    refused: str | None = Field(description="why nothing can be undone; None: it can")
    steps: tuple[UndoStep, ...] = Field(description="in the order in which they would be undone")

    @property
    def undone(self) -> tuple[UndoStep, ...]:
        """The steps whose compensation would be sent."""
        return tuple(step for step in self.steps if step.stays is None)

    @property
    def staying(self) -> tuple[UndoStep, ...]:
        """The steps whose effect would stay."""
        return tuple(step for step in self.steps if step.stays is not None)


class StepView(Frozen):
    """A step as people are shown it."""

    name: str
    task: str
    status: StepStatus
    attempts: int = Field(description="attempts of the step that were claimed")
    undo_attempts: int = Field(description="attempts of its compensation that were claimed")
    failure: Failure | None = Field(default=None, description="how the newest attempt failed")
    undo_failure: Failure | None = Field(default=None, description="how its undo failed")
    blocked: str | None = Field(default=None, description="why nobody can run it")
    asks: bool = Field(
        default=False, description="the run waits for an operator to say what became of it"
    )


class Hold(Frozen):
    """Who holds a run, since when and why."""

    since: datetime
    by: str
    reason: str


class RunState(Frozen):
    """A snapshot of a run as people are shown it: what `run.state()` returns."""

    id: str
    saga: str
    version: int = Field(description="of the saga's definition")
    status: RunStatus
    started_at: datetime
    deadline: datetime | None
    changed_at: datetime
    ended_at: datetime | None
    tags: dict[str, str]
    steps: tuple[StepView, ...]
    why: str | None = Field(description="failed, cancelled or deadline: why it is or was undone")
    reason: str | None = Field(description="what an operator said")
    failure: Failure | None = Field(description="how the step failed that ended the run")
    failed_step: str | None = Field(default=None, description="the step that ended the run")
    owed: tuple[str, ...] = Field(description="steps that an operator must see to")
    hold: Hold | None = Field(default=None, description="who paused it, while it is paused")

    def step(self, name: str) -> StepView:
        """The step of this name; raises KeyError, with the names there are."""
        found = {step.name: step for step in self.steps}
        if name not in found:
            raise KeyError(f"no step {name!r}; there are {', '.join(found)}")
        return found[name]
