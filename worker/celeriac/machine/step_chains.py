"""Which steps follow one another without a fork, so that one chain of messages can carry them.

Owns: how far such a chain reaches, forward and back, and what may be at work beside a step.
Refuses to know: whose turn it is (`next_steps`), and messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.guards import excludes
from celeriac.machine.undoing import to_undo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine.plans import Phase, Plan
    from celeriac.machine.runs import Run


def one_by_one(plan: Plan, run: Run, name: str, phase: Phase) -> Iterator[str]:
    """The steps that follow a step one by one, in the direction of *phase*.

    Forward, up to the next fork, join, choice, wait or map; backward, as far as there is something
    to undo, up to the next map.
    """
    if phase == "do":
        yield from steps_one_by_one(plan, name)
    elif plan.compensation_order not in ("parallel", "graph"):
        names = to_undo(plan, run)
        for each in names[names.index(name) + 1 :] if name in names else ():
            if plan.by_name[each].map or plan.by_name[each].child:
                return
            yield each


def steps_one_by_one(plan: Plan, name: str) -> Iterator[str]:
    """The steps that follow one after the other, up to the next fork, join, choice or wait."""
    while plan.node(name).choice is None:
        followers = plan.following(name)
        if len(followers) != 1 or len(followers[0].after) != 1 or followers[0].map:
            return
        if followers[0].wait or followers[0].child:
            return  # what comes behind it is sent by whoever ends it
        name = followers[0].name
        yield name


def stands_alone(plan: Plan, name: str) -> bool:
    """True if no other step may be at work at the same time as this one."""
    if name not in plan.by_name:
        return False  # a step of an element of a map
    near = {name, *before(plan, name), *behind(plan, name)}
    mine = plan.by_name[name].guards
    return all(node.name in near or excludes(node.guards, mine) for node in plan.steps)


def leaves_prepared(plan: Plan, name: str) -> bool:
    """True if what was prepared before this step, or by it, is confirmed or cancelled behind it."""
    done = {name, *before(plan, name)}
    return any(plan.confirmed_by.get(each) in behind(plan, name) for each in done)


def before(plan: Plan, name: str) -> set[str]:
    """The steps that a step waits for, directly or not."""
    found = {name}
    for node in reversed(plan.steps):  # in a plan, what a step waits for comes before it
        found.update(node.after if node.name in found else ())
    return found - {name}


def behind(plan: Plan, name: str) -> set[str]:
    """The steps that wait for a step, directly or not."""
    found = {name}
    for node in plan.steps:
        found.update((node.name,) if found.intersection(node.after) else ())
    return found - {name}
