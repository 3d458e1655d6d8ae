"""What is true of a run: a step has passed or was chosen, the run is past its pivot or has turned.

Owns: these conditions, which more than one rule asks for.  Refuses to know: what follows from them
(`next_steps`, and the files for each kind of command).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.steps import ENDED, PhaseStatus

if TYPE_CHECKING:
    from celeriac.machine.plans import Node, Plan
    from celeriac.machine.runs import Run

#: Why a run goes back that stops at a step, and goes forward again from there.
REWOUND = "rewound"


def passed(plan: Plan, run: Run, name: str) -> bool:
    """True if what waits for a step need wait no longer: it is done, or was skipped in its turn."""
    if run.step(name).do.state is PhaseStatus.DONE:
        return True
    seen, behind = {name}, [name]
    while behind:
        name = behind.pop()
        state = run.step(name).do.state
        if state is PhaseStatus.SKIPPED:
            behind += [each for each in plan.node(name).after if each not in seen]
            seen.update(behind)
        elif state not in ENDED:
            return False
    return True


def is_chosen(run: Run, node: Node) -> bool:
    """True if all that a step is guarded by was chosen: one that chose nothing chose otherwise.

    What confirms a step does so only if that joined: it is done, and has neither skipped itself nor
    ended the run in place of a result.
    """
    return _joined(run, node.confirms) and _guards_hold(run, node)


def _joined(run: Run, step: str | None) -> bool:
    """True if a step that is to be confirmed was prepared, and did not end the run instead."""
    if step is None:
        return True
    return run.step(step).do.state is PhaseStatus.DONE and step != run.ended_by


def _guards_hold(run: Run, node: Node) -> bool:
    return all(guard.holds(run.step(guard.step).choice) for guard in node.guards)


def may_have_joined(plan: Plan, run: Run, step: str) -> bool:
    """True if a step of two phases may have prepared in an attempt that nobody knows of.

    If it then says that it does not join, nobody would ever confirm or cancel that.
    """
    return step in plan.confirmed_by and run.step(step).may_have_effect


def to_confirm(plan: Plan, run: Run) -> list[Node]:
    """What has to be confirmed and is not yet, in order."""
    confirms = (plan.by_name[name] for name in plan.confirmed_by.values())
    return [
        node
        for node in confirms
        if is_chosen(run, node) and run.step(node.name).do.state not in ENDED
    ]


def past_pivot(plan: Plan, run: Run) -> bool:
    """True once the run may only go forward: its pivot has passed, or all is prepared."""
    return any(_has_passed(plan, run, node) for node in plan.turning_points)


def _has_passed(plan: Plan, run: Run, pivot: Node) -> bool:
    if not _guards_hold(run, pivot):
        return False  # a pivot that was not chosen is no point of no return
    if pivot.confirms is None:
        return passed(plan, run, pivot.name)
    if not _joined(run, pivot.confirms):
        return False  # nor is it one to confirm nothing: then there is no decision
    # If the run was ended, what had joined until then is confirmed.
    return bool(run.ended_by) or all(passed(plan, run, name) for name in pivot.after)


def turned(run: Run) -> bool:
    """True once the run has turned round: what it did is being undone, or was."""
    return run.why != ""


def may_begin_anew(plan: Plan, run: Run) -> bool:
    """True if the run begins anew once all is undone: a step failed, and it has tries left.

    A fork does not: from the beginning, it would do what it has inherited.
    """
    tries_left = run.tries <= plan.retries and not run.origin
    return run.why == "failed" and not run.final and tries_left
