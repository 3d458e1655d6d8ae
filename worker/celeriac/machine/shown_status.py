"""The status of a step as people are shown it: what its run and other steps say of it, too.

Owns: that one answer.  Refuses to know: how it is shown (`views`), and what the step itself went
through (`steps`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.steps import PhaseStatus, StepStatus
from celeriac.machine.undoing import may_stand

if TYPE_CHECKING:
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run


def shown_step(plan: Plan, run: Run, name: str) -> StepStatus:
    """The status of a step that people are shown: what will never start is `skipped`.

    A step that is undone together with others stands where that undo does, and one that was
    prepared where its confirm does, as soon as the turn of that has come.
    """
    step = run.step(name)
    confirm = name if plan.node(name).confirms else plan.confirmed_by.get(name)
    confirmed = _CONFIRM.get(run.step(confirm).do.state) if confirm else None
    if confirmed:
        return confirmed
    scope = plan.scope_of.get(name)
    undone = run.step(scope).status if scope and may_stand(step) else StepStatus.PENDING
    if undone is not StepStatus.PENDING:
        return undone
    over = (run.why and not run.rewinds_to) or run.ended_by
    never = over and step.status is StepStatus.PENDING and not plan.node(name).covers
    return StepStatus.SKIPPED if never else step.status


_CONFIRM = {
    PhaseStatus.SCHEDULED: StepStatus.CONFIRMING,
    PhaseStatus.RUNNING: StepStatus.CONFIRMING,
    PhaseStatus.RETRYING: StepStatus.CONFIRMING,
    PhaseStatus.DONE: StepStatus.CONFIRMED,
    PhaseStatus.FAILED: StepStatus.CONFIRM_FAILED,
    PhaseStatus.UNKNOWN: StepStatus.CONFIRM_FAILED,
    PhaseStatus.WAIVED: StepStatus.WAIVED,
}
