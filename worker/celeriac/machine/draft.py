"""A transition in the making: events are decided one by one, and each is applied at once.

Owns: `Draft`, and what commands of several kinds ask for: whom a failure leads to, and how a
command is refused.  Refuses to know: the commands themselves (`attempts`, `waiting`, `operators`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.errors import CommandRefused
from celeriac.machine.events import Event, EventKind
from celeriac.machine.moves import apply
from celeriac.machine.runs import PhaseState, PhaseStatus, Run, RunStatus
from celeriac.machine.schedule import outcome, past_pivot

if TYPE_CHECKING:
    from celeriac.machine.commands import Expire, Fail
    from celeriac.machine.plans import Node, Phase, Plan


@dataclass(slots=True)
class Draft:
    """A transition in the making: events are applied as they are added."""

    plan: Plan
    maybe_run: Run | None
    now: int
    events: list[Event] = field(default_factory=list)

    @property
    def run(self) -> Run:
        """The run as it stands now; raises CommandRefused if there is none."""
        if self.maybe_run is None:
            raise CommandRefused("not_started", "there is no such run yet")
        return self.maybe_run

    def add(
        self,
        kind: EventKind,
        step: str = "",
        phase: Phase = "do",
        attempt: int = 0,
        *,
        run_id: str | None = None,
        **data: Any,
    ) -> None:
        """Let something happen to the run; *data* without what says nothing."""
        kept = {name: value for name, value in data.items() if value not in (None, "", ())}
        event = Event(self.now, kind, step, phase, attempt, kept)
        self.events.append(event)
        self.maybe_run = apply(self.plan, run_id or self.run.id, self.maybe_run, event)

    def finish(self) -> None:
        """See to what the events left behind; bring the run to rest if there is nothing to do."""
        if self.events:
            _see_to_other_failures(self)
            rest = outcome(self.plan, self.run)
            if rest:
                self.add(EventKind.FINISHED, outcome=rest.value)

    def node(self, name: str) -> Node:
        """The step of that name; raises CommandRefused if the saga has none."""
        try:
            return self.plan.by_name[name]
        except KeyError:
            known = ", ".join(self.plan.by_name)
            raise CommandRefused(
                "unknown_step", f"run {self.run.id!r} has no step {name!r}; it has: {known}"
            ) from None

    def lane(self, step: str, phase: Phase) -> PhaseState:
        """One direction of a step, as it stands now."""
        self.node(step)
        return self.run.step(step).lane(phase)

    def refuse(self, reason: str, message: str) -> CommandRefused:
        """The error that refuses a command, for the caller to raise."""
        return CommandRefused(reason, f"run {self.run.id!r} ({self.run.status}): {message}")


def _see_to_other_failures(draft: Draft) -> None:
    """A step may give up while the run rests with a question about another: it is seen to now.

    Otherwise the answer to that question would leave a run that goes on, and has nothing to do.
    """
    for name, step in draft.run.steps.items():
        if step.do.state in (PhaseStatus.FAILED, PhaseStatus.UNKNOWN):
            after_failure(draft, name, "do", None)


def after_failure(draft: Draft, step: str, phase: Phase, retry: int | None) -> None:
    """An attempt is over: if it was the last of a forward step, the run turns round."""
    run = draft.run
    if retry is not None or phase == "undo" or run.status is not RunStatus.RUNNING:
        return
    unknown = run.step(step).do.state is PhaseStatus.UNKNOWN
    asks = unknown and asks_operator(draft, step)
    if asks or past_pivot(draft.plan, run):
        why = "unknown" if asks else None
        draft.add(EventKind.FINISHED, outcome=RunStatus.FAILED.value, culprit=step, why=why)
    else:
        draft.add(EventKind.COMPENSATION_STARTED, why="failed", culprit=step)


def asks_operator(draft: Draft, step: str) -> bool:
    """True if nobody but an operator may say what follows when the step's outcome is unknown."""
    return draft.node(step).on_unknown == "operator"


def seed(draft: Draft, command: Fail | Expire) -> str:
    """What the jitter of a step is drawn from: the same run waits the same time when replayed."""
    return f"{draft.run.key}/{command.step}/{command.phase}"


def abandoned(draft: Draft) -> bool:
    """True once the run was terminated: nothing is done for it any more."""
    return draft.run.status is RunStatus.TERMINATED
