"""One execution of a saga: the small value that the state machine works on.

Owns: what a run, a step of it and one direction of a step consist of.  Refuses to know: what may
happen to them (`transitions`), where they are kept (`store`), and payloads.

Frozen values.  Times are integer milliseconds since the epoch, by the clock of the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from celeriac.machine.step_states import Steps
from celeriac.machine.steps import (
    AT_WORK,
    GAVE_UP,
    PENDING,
    WAITS,
    Parent,
    PhaseStatus,
    StepState,
    changed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine.numbering import Routes
    from celeriac.machine.received import Received
    from celeriac.machine.series import Series


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
    epoch: int = 1  # how often this id was started anew, or began anew by itself
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
    series: tuple[Series, ...] = ()  # the steps that are asked again and again
    ended_by: str = ""  # the step that said that the run goes no further, if one did
    signals: tuple[Received, ...] = ()  # in the order in which they were accepted
    parent: Parent | None = None  # whose child it is, if it is one
    untold: bool = False  # it came to rest, and its parent may not know of it
    tries: int = 1  # how often it began, this time included, since it was started
    begins_at: int = 0  # ms since the epoch: waiting for its next try, until then
    final: bool = False  # a step said that it is not to begin anew
    entered: tuple[str, ...] = ()  # who made the claim that passed its own gates, and these gates
    # Its earlier tries of which a report may still come, each as a run of its own: what such a
    # report leads to is what it leads to in any run that was undone.
    earlier: tuple[Run, ...] = ()
    started_by: str = ""  # who asked for it, as far as that was said
    origin: str = ""  # of a fork: the run whose results it has taken over
    rewinds: int = 0  # how often it went forward again from a step, since it was started
    rewinds_to: str = ""  # on its way back: the step from which it goes forward again, if one
    rewound_by: str = ""  # nonce of the newest rewind: the same call again is not a second one
    # What stood when it was rewound last: the steps, with the epoch of the try that did them.
    stands: tuple[tuple[str, int], ...] = ()
    routes: Routes = ()  # how it has left groups, in order
    steps: Steps = field(default_factory=Steps)

    def step(self, name: str) -> StepState:
        """The state of a step; steps that were never touched are not stored."""
        if self.steps.maps:
            return self.steps.get(name, PENDING)
        found = self.steps.open.get(name)
        return self.steps.settled.get(name, PENDING) if found is None else found

    def of_epoch(self, epoch: int) -> Run | None:
        """The run as it is in one of its tries, 0: the newest; None if nothing is known of it."""
        if epoch in (0, self.epoch):
            return self
        found = next((each for each in self.earlier if each.epoch == epoch), None)
        return changed(found, paused=self.paused) if found and self.paused else found

    @property
    def still_undone(self) -> tuple[Run, ...]:
        """Its earlier tries in which something is undone once more."""
        undone = [each for each in self.earlier if not each.status.at_rest]
        return tuple([changed(each, paused=self.paused) for each in undone])

    @property
    def only_waits(self) -> bool:
        """True while nothing but waits is open: no worker has anything to do for it."""
        if self.status is not RunStatus.RUNNING:
            return False
        states = {step.do.state for step in self.steps.open.values()}
        return not states.isdisjoint(WAITS) and states.isdisjoint(AT_WORK)

    @property
    def awaits(self) -> bool:
        """True while it waits for a signal, whatever else it does, and could take one."""
        directions = (step.do for step in self.steps.open.values())
        return self.status is RunStatus.RUNNING and any(
            direction.signal and direction.state is PhaseStatus.OPEN for direction in directions
        )

    @property
    def past_deadline(self) -> bool:
        """True while it goes on, though its deadline has passed and somebody was told."""
        return self.overdue and not self.status.at_rest

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
        """The steps an operator must see to, also those of earlier tries; see `owed_now`."""
        earlier = (name for each in self.earlier for name in each.owed)
        return tuple(dict.fromkeys((*self.owed_now, *earlier)))

    @property
    def owed_now(self) -> tuple[str, ...]:
        """What is owed of this try: undos that failed, or steps that gave up for good.

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
