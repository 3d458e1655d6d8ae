"""One execution of a saga: the small value that the state machine works on.

Owns: what a run, a step of it and one direction of a step consist of.  Refuses to know: what may
happen to them (`transitions`), where they are kept (`store`), and payloads.

Frozen values.  Times are integer milliseconds since the epoch, by the clock of the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine.numbering import instance_of
from celeriac.machine.steps import (
    AT_WORK,
    CLAIMABLE,
    ENDED,
    GAVE_UP,
    NOT_SENT,
    PENDING,
    REPORTED,
    PhaseState,
    PhaseStatus,
    StepState,
    StepStatus,
    changed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from celeriac.machine.numbering import Instances

__all__ = [  # a run is told of with its steps
    "AT_REST",
    "CLAIMABLE",
    "ENDED",
    "GAVE_UP",
    "NOT_SENT",
    "PENDING",
    "REPORTED",
    "PhaseState",
    "PhaseStatus",
    "Run",
    "RunStatus",
    "StepState",
    "StepStatus",
    "Steps",
    "changed",
]


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


class Steps(Mapping[str, StepState]):
    """The steps of a run that were ever touched, by name.

    Most steps of a long run are settled, and what happens next asks for few of them.  So they may
    stay in whatever form they were read in, until somebody asks for one by its name, or for all.
    """

    __slots__ = ("maps", "open", "settled")

    def __init__(
        self,
        known: Mapping[str, StepState] | None = None,
        settled: Mapping[str, StepState] | None = None,
        maps: Mapping[str, Instances[StepState]] | None = None,
    ) -> None:
        """*known* are steps in any state; *settled* holds settled ones, if they are in no other."""
        #: All that are not settled, and those that have moved since the run was read.
        self.open: Mapping[str, StepState] = {} if known is None else known
        #: The others; a name that is in `open` as well means what it means there.
        self.settled: Mapping[str, StepState] = {} if settled is None else settled
        #: The elements of each map whose list was counted; those that rest are only here.
        self.maps: Mapping[str, Instances[StepState]] = {} if maps is None else maps

    def put(self, changed: Mapping[str, StepState]) -> Steps:
        """Return the steps with some *changed*, or added."""
        steps = self._woken(changed) if self.maps else self
        return Steps({**steps.open, **changed}, steps.settled, steps.maps)

    def _woken(self, names: Iterable[str]) -> Steps:
        """The steps, with the elements that *names* belong to among those that are open."""
        steps = self
        for name in names:
            found = None if name in steps.open else instance_of(name)
            instances = steps.maps.get(found.map) if found else None
            states = instances.of(found.number) if found and instances else None
            if found and instances and states:
                several = dict(zip(instances.names(found.number), states, strict=True))
                maps = {**steps.maps, found.map: instances.without_resting(found.number)}
                steps = Steps({**steps.open, **several}, steps.settled, maps)
        return steps

    def with_map(self, name: str, instances: Instances[StepState]) -> Steps:
        """Return the steps with what is known of the elements of a map."""
        return Steps(self.open, self.settled, {**self.maps, name: instances})

    def rested(self, name: str) -> Steps:
        """Return the steps, with the element that *name* belongs to told shortly, if it rests."""
        found = instance_of(name) if self.maps else None
        instances = self.maps.get(found.map) if found else None
        if not (found and instances) or found.number >= instances.begun or name not in self.open:
            return self
        names = instances.names(found.number)
        states = [self.open.get(each, PENDING) for each in names]
        if not all(state.rests for state in states):
            return self
        others = {each: state for each, state in self.open.items() if each not in names}
        told = instances.with_resting(found.number, tuple(state.resting for state in states))
        return Steps(others, self.settled, {**self.maps, found.map: told})

    @property
    def made_once(self) -> int:
        """How many steps there are beside those of the elements of maps."""
        others = sum(map(self.is_element, self.open)) if self.maps else 0
        return len(self.open) + len(self.settled) - self._twice - others

    def is_element(self, name: str) -> bool:
        """True if a step belongs to an element of a map."""
        found = instance_of(name) if self.maps else None
        return found is not None and found.map in self.maps

    def told_apart(self) -> Iterator[tuple[str, StepState]]:
        """All but the elements of maps that rest."""
        yield from ((name, step) for name, step in self.settled.items() if name not in self.open)
        yield from self.open.items()

    def __getitem__(self, name: str) -> StepState:
        found = self.open.get(name)
        if found is None and self.maps:
            instance = instance_of(name)
            instances = self.maps.get(instance.map) if instance else None
            found = instances.get(instance) if instance and instances else None
        return self.settled[name] if found is None else found

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self.settled if name not in self.open)
        yield from self.open
        for instances in self.maps.values():
            yield from (name for name, _ in instances.items())

    def __len__(self) -> int:
        resting = sum(each.resting * len(each.nodes) for each in self.maps.values())
        return len(self.open) + len(self.settled) - self._twice + resting

    @property
    def _twice(self) -> int:
        return sum(name in self.settled for name in self.open) if self.settled else 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Steps):
            return NotImplemented
        return self.maps == other.maps and dict(self.told_apart()) == dict(other.told_apart())

    __hash__ = None  # type: ignore[assignment]  # as any mapping

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
        if self.steps.maps:
            return self.steps.get(name, PENDING)
        found = self.steps.open.get(name)
        return self.steps.settled.get(name, PENDING) if found is None else found

    @property
    def only_waits(self) -> bool:
        """True while nothing but waits is open: no worker has anything to do for it."""
        if self.status is not RunStatus.RUNNING:
            return False
        states = {step.do.state for step in self.steps.open.values()}
        return PhaseStatus.OPEN in states and states.isdisjoint(AT_WORK)

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
        undone = tuple(self.undos_failed)
        if undone or self.why or self.status is RunStatus.TERMINATED:
            return undone
        stuck = [name for name, step in self.steps.open.items() if step.do.state in GAVE_UP]
        return tuple(sorted(stuck, key=lambda name: name != self.failed_step))

    @property
    def undos_failed(self) -> Iterator[str]:
        """The steps whose undo has failed, and that wait for an operator."""
        for name, step in self.steps.open.items():
            if _undo_failed(step):
                yield name
        for instances in self.steps.maps.values():
            yield from (name for name, _ in instances.those(_undo_failed))


def _undo_failed(step: StepState) -> bool:
    return step.undo.state is PhaseStatus.FAILED
