"""A rewind: a run goes back as far as a step, and then forward again from there.

Owns: what stands when a run is rewound, and to which steps it can be.  Refuses to know: how what
came after is undone (`undoing`), and under which keys it is done again (`tries`).

What stands comes before all that is done again, and all of it has ended.  So nothing that is kept
rests on something that is undone, and a run that was rewound is one that has just come there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import CommandRefused
from celeriac.machine.conditions import turned
from celeriac.machine.forking import about, before, check_place
from celeriac.machine.guards import excludes
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import ENDED

if TYPE_CHECKING:
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run


def standing(plan: Plan, to: str) -> frozenset[str]:
    """What is neither undone nor done again: the steps before *to*, and the scopes of these."""
    found = before(plan, to)
    scopes = {node.name for node in plan.nodes if node.covers and found.issuperset(node.covers)}
    return frozenset(found | scopes)


def check_rewind(plan: Plan, run: Run, to: str) -> None:
    """Raise CommandRefused if a run cannot be rewound to the step *to*."""
    _check_run(run)
    check_place(plan, run, to, "rewind to")
    if not _is_cut(plan, to):
        names = [node.name for node in plan.steps]
        earlier = names[: names.index(to)]
        use = next(name for name in reversed(earlier) if _is_cut(plan, name))
        text = f"{to!r} stands in a branch: rewind to {use!r}, which goes back to where it begins"
        raise CommandRefused("inside", about(run, text))
    stands = standing(plan, to)
    left = [node.name for node in plan.steps if node.name in stands and not _ended(run, node.name)]
    if left or run.ended_by in stands:
        at = left[0] if left else run.ended_by
        raise CommandRefused(
            "not_reached", about(run, f"it has not come to {to!r}, only to {at!r}")
        )
    taken = [node.name for node in plan.steps if run.step(node.name).inherited]
    if taken and not stands.issuperset(taken):
        last = next(name for name in reversed(taken) if name not in stands)
        text = f"{last!r} was taken over from {run.origin!r}, and is not done in this run"
        raise CommandRefused("inherited", about(run, text))


def _check_run(run: Run) -> None:
    if run.status is RunStatus.TERMINATED:
        raise CommandRefused("at_rest", about(run, "it was terminated, and goes on no more"))
    if run.status is RunStatus.COMPENSATED:
        text = "all of it was undone, so there is nothing to go on from: start it anew"
        raise CommandRefused("at_rest", about(run, text))
    if run.rewinds_to:
        text = f"it is on its way back to {run.rewinds_to!r}: wait until it is there, or cancel it"
        raise CommandRefused("turned", about(run, text))
    if turned(run):
        raise CommandRefused("turned", about(run, "it is being undone, all of it"))
    if run.parent and run.status is RunStatus.COMPLETED:
        text = f"run {run.parent.run!r} has its result ({run.parent.step}): rewind that run"
        raise CommandRefused("a_child", about(run, text))


def _ended(run: Run, name: str) -> bool:
    return run.step(name).do.state in ENDED


def _is_cut(plan: Plan, to: str) -> bool:
    """True if all that does not come before a step comes after all that does.

    Of a block of branches, that is so for its first step, which stands for the block.
    """
    names = [node.name for node in plan.steps]
    mine, ahead, place = plan.by_name[to].guards, before(plan, to), names.index(to)
    return all(
        node.name in ahead
        or excludes(node.guards, mine)
        or (names.index(node.name) >= place and before(plan, node.name) >= ahead)
        for node in plan.steps
    )
