"""The attempt that a step waits for between two tries, as people are shown it.

Owns: which attempt that is, of how many, and when it comes; from the run and its plan alone, so a
list of runs shows it without another look.  Refuses to know: why the last one failed (`state`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from celeriac.machine import PHASES, Frozen, PhaseStatus, past_pivot
from celeriac.views.times import left, moment

if TYPE_CHECKING:
    from celeriac.machine import Phase, Plan, Run


class NextAttempt(Frozen):
    """The attempt that a step, its confirm or its undo waits for."""

    at: datetime = Field(description="not before")
    number: int | None = Field(
        description="which it is of those that its policy allows; null: it was asked to come "
        "again, which uses no attempt up"
    )
    of: int | None = Field(description="how many its policy allows; null: as many as it takes")

    def __str__(self) -> str:
        """In a few words: `attempt 2 of 5 in 8 s`, `again in 8 s`."""
        most = "" if self.of is None else f" of {self.of}"
        what = "again" if self.number is None else f"attempt {self.number}{most}"
        soon = left(self.at)
        return f"{what} in {soon}" if soon else f"{what} is due"


def next_attempt_of(plan: Plan, run: Run, name: str) -> NextAttempt | None:
    """The attempt that a step waits for; None if it waits for none, or nobody may take it."""
    if run.status.at_rest or run.paused:
        return None
    confirm = plan.confirmed_by.get(name)
    several = [(name, phase) for phase in PHASES] + ([(confirm, PHASES[0])] if confirm else [])
    for each, phase in several:
        direction = run.step(each).direction(phase)
        if direction.state is PhaseStatus.RETRYING:
            number = direction.attempts_in_budget + 1
            most = _most(plan, run, each, phase)
            return NextAttempt(at=moment(direction.at), number=number, of=most)
        if direction.state is PhaseStatus.POSTPONED:
            return NextAttempt(at=moment(direction.at), number=None, of=None)
    return None


def _most(plan: Plan, run: Run, name: str, phase: Phase) -> int | None:
    if phase == "do" and past_pivot(plan, run):
        return None  # it only goes forward
    return plan.node(name).policy(phase).max_attempts
