"""Maps as people are shown them: how many elements stand where, and those that stand out.

Owns: the counts, the status of a map as a whole, and which elements are named one by one.  Refuses
to know: how they are printed and drawn.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from celeriac.machine import PhaseStatus, StepStatus, instance_of, shown_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from celeriac.machine import Node, Plan, Run, StepState

#: How many elements of a map are named one by one, at most.
MOST_NAMED = 20

#: The status of an element is the first of these that one of its steps has.
_FIRST = (
    StepStatus.COMPENSATION_FAILED,
    StepStatus.FAILED,
    StepStatus.UNKNOWN,
    StepStatus.COMPENSATING,
    StepStatus.RUNNING,
    StepStatus.RETRYING,
    StepStatus.WAITING,
    StepStatus.SCHEDULED,
    StepStatus.WAIVED,
    StepStatus.COMPENSATED,
    StepStatus.COMPLETED,
    StepStatus.SKIPPED,
    StepStatus.PENDING,
)
_AT_EASE = {
    StepStatus.COMPLETED,
    StepStatus.SKIPPED,
    StepStatus.COMPENSATED,
    StepStatus.WAIVED,
    StepStatus.PENDING,
}


def elements(run: Run, name: str) -> dict[StepStatus, int] | None:
    """How many elements of a map are in which status; None if it was not counted."""
    counted = run.steps.maps.get(name)
    if counted is None:
        return None
    found: Counter[StepStatus] = Counter()
    for states, numbers in counted.alike:
        found[_status(states)] += len(numbers)
    begun = _open(run, name)
    found.update(_status(states) for states in begun.values())
    found[StepStatus.PENDING] += counted.count - counted.resting - len(begun)
    if run.why:  # what was not started never will be
        found[StepStatus.SKIPPED] += found.pop(StepStatus.PENDING)
    return {status: found[status] for status in _FIRST if found[status]}


def _open(run: Run, name: str) -> Mapping[int, list[StepState]]:
    """The elements of a map that do not rest, by number."""
    found: dict[int, list[StepState]] = {}
    for each, step in run.steps.open.items():
        instance = instance_of(each)
        if instance and instance.map == name:
            found.setdefault(instance.number, []).append(step)
    return found


def _status(states: Iterable[StepState]) -> StepStatus:
    several = {state.status for state in states}
    return next(status for status in _FIRST if status in several)


def shown_status(plan: Plan, run: Run, name: str) -> StepStatus:
    """The status of a step that people are shown; of a map, that of its elements as a whole."""
    counts = elements(run, name)
    if not counts or not run.why:
        return shown_step(plan, run, name)
    undone = (StepStatus.COMPENSATION_FAILED, StepStatus.COMPENSATING, StepStatus.FAILED)
    found = next((status for status in undone if status in counts), None)
    if found:
        return found
    if StepStatus.COMPENSATED in counts:
        return StepStatus.COMPENSATED
    done = run.step(name).do.state is PhaseStatus.DONE
    return StepStatus.COMPLETED if done else StepStatus.SKIPPED


def counted(run: Run, name: str) -> str:
    """The elements of a map in a few words: `997 of 1000 completed, 3 running`; else nothing."""
    counts = elements(run, name)
    if counts is None:
        return ""
    whole = run.steps.maps[name].count
    done = f"{counts.pop(StepStatus.COMPLETED, 0)} of {whole} completed"
    return ", ".join([done, *(f"{many} {status}" for status, many in counts.items())])


def standing_out(run: Run, name: str) -> list[str]:
    """The steps of elements of a map that are worth a name: owed, failed, or at work."""
    mine = [each for each in run.owed if _is_of(each, name)]
    others = (
        each
        for each, step in run.steps.open.items()
        if _is_of(each, name) and step.status not in _AT_EASE
    )
    return list(islice(dict.fromkeys([*mine, *others]), MOST_NAMED))


def _is_of(step: str, name: str) -> bool:
    instance = instance_of(step)
    return instance is not None and instance.map == name


def shown_steps(plan: Plan, run: Run) -> Iterator[str]:
    """The steps that are shown of a run: those of its plan, and elements that stand out.

    What only undoes others is shown once its turn has come.
    """
    for node in plan.nodes:
        if node.confirms is not None:
            continue  # it is shown with the step that it confirms
        if not node.covers or node.name in run.steps:
            yield node.name
        if node.name in run.steps.maps:
            yield from standing_out(run, node.name)


def failing_steps(run: Run) -> list[str]:
    """The steps of a run that may have failed, without looking for each element of a map."""
    owed = islice(run.undos_failed, MOST_NAMED)
    return list(dict.fromkeys([*(name for name, _ in run.steps.told_apart()), *owed]))


def undo_name(node: Node) -> str:
    """What undoes a step, as people are told it: the last part of a task's name."""
    task = node.undo.task if node.undo else ""
    return task.rpartition(".")[2] or (f"undo {node.child.plan.saga}" if node.child else "")
