"""What is undone next: the steps that need it, in the order of the saga.

Owns: which steps need undoing, whose turn it is, and how many elements of a map are undone at a
time.  Refuses to know: which event makes it look (`next_steps`), and what a compensation does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.numbering import instance_of
from celeriac.machine.rewinding import standing
from celeriac.machine.steps import PhaseStatus, StepState, changed
from celeriac.machine.tables import TURN_COMES, TURN_GOES, state_in_turn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from celeriac.machine.events import Event
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run


def schedule_undos(plan: Plan, run: Run, event: Event) -> Run:
    """Return the run with the compensations whose turn has come, or is over, after *event*."""
    at = max(event.at, run.compensate_not_before)
    turn = undo_turn(plan, run)
    steps: dict[str, StepState] = {}
    for name in {**dict.fromkeys(turn), **run.steps.open}:
        step = run.step(name)
        # One that comes before it may have to be undone (once more): then its turn is over (I8).
        state = state_in_turn("undo", step.undo, TURN_COMES if name in turn else TURN_GOES)
        if state is PhaseStatus.SCHEDULED:
            direction = changed(step.undo, state=state, at=at, sent=at <= event.at, sends=0)
            steps[name] = changed(step, undo=direction)
        elif state is PhaseStatus.IDLE:
            steps[name] = changed(step, undo=changed(step.undo, state=state, sent=False))
    return changed(run, steps=run.steps.put(steps)) if steps else run


def live_forward(run: Run) -> bool:
    """True while a forward attempt may still be at work: nothing is undone beside it (I7)."""
    return any(step.do.state is PhaseStatus.RUNNING for step in run.steps.open.values())


def may_stand(step: StepState) -> bool:
    """True if a step took effect, or may have."""
    return step.may_have_effect or step.do.state is PhaseStatus.DONE


_SETTLED = (PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.WAIVED)


def _is_to_undo(step: StepState) -> bool:
    """True if a step with an undo of its own needs undoing, and is not settled yet."""
    return may_stand(step) and step.undo.state not in _SETTLED


def to_undo(plan: Plan, run: Run) -> list[str]:
    """What needs undoing and is not settled yet, in the order of the saga.

    A scope stands for all of its steps.  So does a map for all of its elements, at the place of the
    one that was started first.
    """
    found: dict[str, None] = {}
    stands = standing(plan, run.rewinds_to) if run.rewinds_to else ()
    for name, step in run.steps.told_apart():
        undoer = plan.undoer_of(name) if may_stand(step) else None
        if undoer and run.step(undoer).undo.state not in _SETTLED:
            instance = None if undoer in plan.by_name else instance_of(undoer)
            unit = instance.map if instance else undoer
            found.update({unit: None} if unit not in stands else {})
    for name in run.steps.maps:
        counted = name in found or name in stands
        if not counted and next(_resting_to_undo(plan, run, name), None):
            found[name] = None
    return in_undo_order(plan, run, list(found))


def in_undo_order(plan: Plan, run: Run, names: list[str]) -> list[str]:
    """What is undone, in the order in which the saga undoes it."""
    # The elements of a map have one place: the last comes first on the way back.
    sign, names = (-1, names[::-1]) if _backwards(plan) else (1, names)
    return sorted(names, key=lambda name: sign * _order(plan, run, name))


def _order(plan: Plan, run: Run, name: str) -> int:
    """When a step was started, as a number; a scope has the place of the first of its steps."""
    if name in run.steps.maps:
        return run.steps.maps[name].order
    orders = (run.step(each).order for each in plan.node(name).covers or (name,))
    return min((order for order in orders if order), default=0)


def _backwards(plan: Plan) -> bool:
    """True if what was started last is undone first."""
    return plan.compensation_order != "forward"


def _resting_to_undo(plan: Plan, run: Run, name: str) -> Iterator[str]:
    """The steps that need undoing of those elements of a map that rest, the last one first."""
    for each, _ in run.steps.maps[name].those(_is_to_undo):
        if plan.node(each).undo:
            yield each


def undo_turn(plan: Plan, run: Run) -> list[str]:
    """The steps whose compensation may be at work now."""
    if live_forward(run):
        return []
    names = to_undo(plan, run)
    if plan.compensation_order == "graph":
        later = _before(plan, names)
        names = [name for name in names if name not in later]
    elif plan.compensation_order != "parallel":
        names = names[:1]
    return [each for name in names for each in _at_a_time(plan, run, name)]


def _at_a_time(plan: Plan, run: Run, name: str) -> Iterable[str]:
    """The step itself; of a map, one step of as many elements as may be at work."""
    made = plan.by_name[name].map
    if made is None:
        return (name,)
    still: dict[int, list[str]] = {}
    for each, step in run.steps.open.items():
        instance = None if each in plan.by_name else instance_of(each)
        if instance and instance.map == name and _is_to_undo(step) and plan.node(each).undo:
            still.setdefault(instance.number, []).append(each)
    places = {node.name: place for place, node in enumerate(made.nodes)}
    turn = []
    for number, several in sorted(still.items(), reverse=True):
        several.sort(key=lambda each: places[_pattern(each)], reverse=_backwards(plan))
        turn.append((not any(_is_undoing(run, each) for each in several), -number, several[0]))
    chosen = [each for _, _, each in sorted(turn)[: made.concurrency]]
    resting = _resting_to_undo(plan, run, name)
    seen: dict[int, str] = {}
    for each in resting:
        if len(chosen) + len(seen) >= made.concurrency and _number(each) not in seen:
            break
        if _backwards(plan):
            seen.setdefault(_number(each), each)
        else:
            seen[_number(each)] = each
    return [*chosen, *seen.values()]


def _is_undoing(run: Run, name: str) -> bool:
    state = run.step(name).undo.state
    return state.claimable or state is PhaseStatus.RUNNING


def _pattern(name: str) -> str:
    instance = instance_of(name)
    return instance.node if instance else name


def _number(name: str) -> int:
    instance = instance_of(name)
    return instance.number if instance else 0


def _before(plan: Plan, names: Collection[str]) -> set[str]:
    """What one of these waited for, directly or not: it is undone after it.

    A scope stands for all its steps, which follow one another in the plan.
    """
    wanted, found, scope_of = set(names), set[str](), plan.scope_of
    for node in reversed(plan.steps):  # in a plan, what a step waits for comes before it
        name = scope_of.get(node.name, node.name)
        if name in wanted or name in found:
            before = (scope_of.get(each, each) for each in node.after)
            found.update(each for each in before if each != name)
    return found
