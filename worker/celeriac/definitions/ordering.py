"""The order in which the steps of a file are planned: none before what it uses.

Owns: that order, and telling of steps that are not there and of cycles.  Refuses to know: what a
step does.  Where the file leaves it open, its own order holds.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from celeriac.definitions.documents import StepText
    from celeriac.definitions.problems import Problems

CONFIRM = ".confirm"  # behind the name of a step of two phases: what confirms it


def in_order(
    steps: Mapping[str, StepText],
    together: Sequence[Sequence[str]],
    problems: Problems,
    around: Collection[str] = (),
    behind: Mapping[str, str] | None = None,
) -> list[list[StepText]]:
    """The steps in the order of their planning; those that are planned *together* in one list.

    *around* are steps outside, which are planned already; *behind*, those of later groups.
    """
    unit_of = {name: name for name in steps}
    for names in together:
        unit_of.update(dict.fromkeys(names, names[0]))
    needs: dict[str, dict[str, None]] = {unit: {} for unit in unit_of.values()}
    for name, step in steps.items():
        for used, mark in step.uses():
            known = used if used in steps else used.removesuffix(CONFIRM)
            if known in steps:
                needs[unit_of[name]][unit_of[known]] = None
                if known == name:
                    problems.add(mark, f"{name} waits for itself")
            elif used in (behind or ()):
                problems.add(mark, _too_early(used, (behind or {})[used]))
            elif used not in around:
                problems.add(mark, unknown_step(used, steps))
    members: dict[str, list[StepText]] = {}
    for name, unit in unit_of.items():
        members.setdefault(unit, []).append(steps[name])
    return [_inside(members[unit]) for unit in _sorted(needs, steps, problems)]


def _too_early(name: str, group: str) -> str:
    return (
        f"{name} is a step of group {group!r}, which is written behind this one: a group may use "
        "what those before it gave"
    )


def unknown_step(name: str, steps: Iterable[str]) -> str:
    """What is wrong with the name of a step that is not there."""
    near = difflib.get_close_matches(name, steps, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(steps)}"
    return f"there is no step {name!r}: {hint}"


def _sorted(
    needs: Mapping[str, Mapping[str, None]], steps: Mapping[str, StepText], problems: Problems
) -> list[str]:
    left = {unit: set(each) - {unit} for unit, each in needs.items()}
    found: list[str] = []
    while left:
        ready = next((unit for unit, waits in left.items() if not waits & left.keys()), None)
        if ready is None:
            _tell_cycle(left, steps, problems)
            return [*found, *left]
        found.append(ready)
        del left[ready]
    return found


def _tell_cycle(
    left: Mapping[str, set[str]], steps: Mapping[str, StepText], problems: Problems
) -> None:
    path = [next(iter(left))]
    while path.count(path[-1]) == 1:
        path.append(next(each for each in left[path[-1]] if each in left))
    cycle = path[path.index(path[-1]) :]
    problems.add(steps[cycle[0]].mark, f"steps wait for one another: {' -> '.join(cycle)}")


def _inside(members: list[StepText]) -> list[StepText]:
    """Steps that are planned together, each behind those that it uses."""
    found: list[StepText] = []
    left = list(members)
    while left:
        names = {each.name for each in left}
        ready = next(
            (each for each in left if not names & {name for name, _ in each.uses()} - {each.name}),
            left[0],
        )
        left.remove(ready)
        found.append(ready)
    return found
