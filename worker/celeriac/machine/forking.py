"""A fork: a new run that takes over the results which another one has recorded.

Owns: which steps a fork inherits, and when there can be none.  Refuses to know: how results are
copied, and what the new run does with them: what was inherited is skipped in it, so it has no
effect of the fork's own, and the fork never undoes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import CommandRefused
from celeriac.machine.conditions import is_chosen, past_pivot
from celeriac.machine.numbering import instance_of
from celeriac.machine.steps import ENDED, PhaseStatus

if TYPE_CHECKING:
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run
    from celeriac.machine.steps import StepState


def inherited(plan: Plan, run: Run, at: str) -> tuple[tuple[str, str], ...]:
    """Return the steps that a fork of a run inherits, each with what it chose, in order.

    These are the steps before *at* that have ended with a result, or that need none.  Raises
    CommandRefused.
    """
    if not run.status.at_rest:
        text = "it still goes on: wait until it has ended, or cancel it"
        raise CommandRefused("not_at_rest", about(run, text))
    check_place(plan, run, at, "fork at")
    ahead = before(plan, at)
    # What was not chosen there is not chosen here: the answers are inherited.
    nodes = (node for node in plan.steps if node.name in ahead and is_chosen(run, node))
    names = [node.name for node in nodes]
    for name in names:
        step = run.step(name)
        if _was_undone(plan, run, name):
            text = f"{name!r} was undone, so its result is void: fork at it or before"
            raise CommandRefused("undone", about(run, text))
        if step.do.state not in ENDED:
            text = f"{name!r} comes before {at!r} and has no result: fork at it or before"
            raise CommandRefused("no_result", about(run, text))
    return tuple((name, run.step(name).choice) for name in names)


def _was_undone(plan: Plan, run: Run, name: str) -> bool:
    if any(_has_undo(run.step(each)) for each in (name, plan.undoer_of(name)) if each):
        return True
    instances = run.steps.maps.get(name)
    return instances is not None and next(instances.those(_has_undo), None) is not None


def _has_undo(step: StepState) -> bool:
    return step.undo.state is not PhaseStatus.IDLE


def check_place(plan: Plan, run: Run, at: str, verb: str) -> None:
    """Raise CommandRefused if nothing can be done again from a step on; *verb* as in "fork at"."""
    if at not in plan.by_name:
        instance = instance_of(at)
        if instance and instance.map in plan.by_name:
            text = f"{at!r} is an element: {verb} {instance.map!r}, all of it"
            raise CommandRefused("inside", about(run, text))
        text = f"it has no step {at!r}; it has {', '.join(node.name for node in plan.steps)}"
        raise CommandRefused("unknown_step", about(run, text))
    covers = plan.by_name[at].covers
    if covers:
        text = f"{at!r} is no step, it undoes several as a whole: {verb} {covers[0]!r}"
        raise CommandRefused("inside", about(run, text))
    if past_pivot(plan, run):
        text = f"it is past {plan.pivot or 'its confirms'!r}, which is not to be done again"
        raise CommandRefused("past_pivot", about(run, text))
    block = _block_of(plan, at)
    if block and block[0] != at:
        text = f"{at!r} stands in a block that is done as a whole: {verb} {block[0]!r}"
        raise CommandRefused("inside", about(run, text))


def _block_of(plan: Plan, at: str) -> tuple[str, ...]:
    """The steps that are undone, or confirmed, together with a step."""
    scope = plan.scope_of.get(at)
    if scope:
        return plan.by_name[scope].covers
    prepared = tuple(plan.confirmed_by)
    inside = at in prepared or plan.by_name[at].confirms
    return prepared if inside else ()


def before(plan: Plan, at: str) -> set[str]:
    """What a step waits for, directly or not."""
    found: set[str] = set()
    ahead = [at]
    while ahead:
        new = [name for name in plan.by_name[ahead.pop()].after if name not in found]
        found.update(new)
        ahead += new
    return found


def about(run: Run, text: str) -> str:
    """What is wrong with a run, as it is said to whoever asks."""
    return f"run {run.id!r} ({run.status}): {text}"
