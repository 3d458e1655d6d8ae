"""What comes next in a run: the steps that are ready, the compensations whose turn it is.

Owns: the order in which a saga is done and undone, when a run has turned round, is past its pivot,
or has nothing left to do.  Refuses to know: which event makes it look (`moves` calls it after
each), and when a message is sent (`timing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.runs import (
    PhaseState,
    PhaseStatus,
    Run,
    RunStatus,
    StepState,
    StepStatus,
    changed,
)
from celeriac.machine.tables import (
    NOT_CHOSEN,
    OPENS,
    SCHEDULING,
    TOO_MANY,
    TURN_COMES,
    TURN_GOES,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from celeriac.machine.events import Event
    from celeriac.machine.plans import Node, Phase, Plan

_OVER = frozenset({PhaseStatus.DONE, PhaseStatus.SKIPPED})


def schedule(plan: Plan, run: Run, event: Event, *, goes_on: bool = False) -> Run:
    """Return the run with what *event* made possible: the next steps, or the next compensations.

    *goes_on*: the run was at rest until now, and what ended meanwhile has made nothing possible.
    """
    if run.status is RunStatus.RUNNING:
        return _schedule_steps(plan, run, event, goes_on)
    if run.status is RunStatus.COMPENSATING:
        return _schedule_undo(plan, run, event)
    return run


def _turn(phase: Phase, lane: PhaseState, whose: str) -> PhaseStatus | None:
    """The state that a lane gets when its turn comes, or another comes first; None: no change."""
    return SCHEDULING.get((phase, lane.state, whose))


def _schedule_steps(plan: Plan, run: Run, event: Event, goes_on: bool) -> Run:
    if run.ended_by:
        return run  # nothing further starts
    if goes_on or event.kind in (EventKind.STARTED, EventKind.RETRIED):
        candidates: Iterable[Node] = plan.steps
    elif event.kind in (EventKind.COMPLETED, EventKind.SKIPPED):
        candidates = _following(plan, run, event.step)
    else:
        return run
    waiting = list(candidates)
    while waiting:
        node = waiting.pop(0)
        if not all(passed(plan, run, name) for name in node.after):
            continue  # its guards may be about what has not settled yet
        step, chosen = run.step(node.name), is_chosen(run, node)
        begins = OPENS if node.wait else _whose_turn(plan, run)
        state = _turn("do", step.do, begins if chosen else NOT_CHOSEN)
        if state:
            sent = state is PhaseStatus.SCHEDULED
            limit = node.wait.ends_at(event.at) if chosen and node.wait else 0
            lane = PhaseState(state, at=event.at, sent=sent, limit=limit)
            run = changed(run, steps=run.steps.put({node.name: changed(step, do=lane)}))
            waiting += () if chosen else _following(plan, run, node.name)
    return run


def _whose_turn(plan: Plan, run: Run) -> str:
    """Whether one more step may start."""
    most, open_ = plan.most_steps, run.steps.open
    if run.started_steps + len(open_) < most:
        return TURN_COMES
    begun = sum(not step.order and step.do.state.claimable for step in open_.values())
    return TURN_COMES if run.started_steps + begun < most else TOO_MANY


def is_chosen(run: Run, node: Node) -> bool:
    """True if all that a step is guarded by was chosen: one that chose nothing chose otherwise."""
    return all(guard.holds(run.step(guard.step).choice) for guard in node.guards)


def _following(plan: Plan, run: Run, name: str) -> Iterator[Node]:
    """The steps that wait for this one, or for one that does and was skipped beforehand."""
    seen, ahead = {name}, [name]
    while ahead:
        for node in plan.followers[ahead.pop()]:
            if node.name in seen:
                continue
            seen.add(node.name)
            if run.step(node.name).do.state is PhaseStatus.SKIPPED:
                ahead.append(node.name)
            else:
                yield node


def passed(plan: Plan, run: Run, name: str) -> bool:
    """True if what waits for a step need wait no longer: it is done, or was skipped in its turn."""
    if run.step(name).do.state is PhaseStatus.DONE:
        return True
    seen, behind = {name}, [name]
    while behind:
        name = behind.pop()
        state = run.step(name).do.state
        if state is PhaseStatus.SKIPPED:
            behind += [each for each in plan.by_name[name].after if each not in seen]
            seen.update(behind)
        elif state is not PhaseStatus.DONE:
            return False
    return True


def shown_step(plan: Plan, run: Run, name: str) -> StepStatus:
    """The status of a step that people are shown: what will never start is `skipped`.

    A step that is undone together with others stands where that undo does.
    """
    step = run.step(name)
    scope = plan.scope_of.get(name)
    undone = run.step(scope).status if scope and may_stand(step) else StepStatus.PENDING
    if undone is not StepStatus.PENDING:
        return undone
    over = run.why or run.ended_by
    never = over and step.status is StepStatus.PENDING and not plan.by_name[name].covers
    return StepStatus.SKIPPED if never else step.status


def _schedule_undo(plan: Plan, run: Run, event: Event) -> Run:
    at = max(event.at, run.compensate_not_before)
    turn = undo_turn(plan, run)
    steps: dict[str, StepState] = {}
    for name in {**dict.fromkeys(turn), **run.steps.open}:
        step = run.step(name)
        # One that comes before it may have to be undone (once more): then its turn is over (I8).
        state = _turn("undo", step.undo, TURN_COMES if name in turn else TURN_GOES)
        if state is PhaseStatus.SCHEDULED:
            lane = changed(step.undo, state=state, at=at, sent=at <= event.at, sends=0)
            steps[name] = changed(step, undo=lane)
        elif state is PhaseStatus.IDLE:
            steps[name] = changed(step, undo=changed(step.undo, state=state, sent=False))
    return changed(run, steps=run.steps.put(steps)) if steps else run


def live_forward(run: Run) -> bool:
    """True while a forward attempt may still be at work: nothing is undone beside it (I7)."""
    return any(step.do.state is PhaseStatus.RUNNING for step in run.steps.open.values())


def to_undo(plan: Plan, run: Run) -> list[str]:
    """The steps that need undoing and are not settled yet, in the order of the saga."""
    settled = (PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.WAIVED)
    stands = (name for name, step in run.steps.items() if may_stand(step) and name in plan.undoers)
    names = dict.fromkeys(plan.undoers[name] for name in stands)  # a scope once for all its steps
    return in_undo_order(
        plan, run, [name for name in names if run.step(name).undo.state not in settled]
    )


def may_stand(step: StepState) -> bool:
    """True if a step took effect, or may have."""
    return step.may_have_effect or step.do.state is PhaseStatus.DONE


def in_undo_order(plan: Plan, run: Run, names: list[str]) -> list[str]:
    """The steps in the order in which the saga undoes them."""
    backwards = plan.compensation_order != "forward"
    return sorted(names, key=lambda name: _order(plan, run, name), reverse=backwards)


def _order(plan: Plan, run: Run, name: str) -> int:
    """When a step was started, as a number; a scope has the place of the first of its steps."""
    covers = plan.by_name[name].covers
    orders = (run.step(each).order for each in covers or (name,))
    return min((order for order in orders if order), default=0)


def undo_turn(plan: Plan, run: Run) -> list[str]:
    """The steps whose compensation may be at work now."""
    if live_forward(run):
        return []
    names = to_undo(plan, run)
    if plan.compensation_order == "parallel":
        return names
    if plan.compensation_order == "graph":
        later = _before(plan, names)
        return [name for name in names if name not in later]
    return names[:1]


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


def one_by_one(plan: Plan, run: Run, name: str, phase: Phase) -> Iterator[str]:
    """The steps that follow a step one by one, in the direction of *phase*.

    Forward, up to the next fork, join, choice or wait; backward, as far as there is something to
    undo.
    """
    if phase == "do":
        yield from steps_one_by_one(plan, name)
    elif plan.compensation_order not in ("parallel", "graph"):
        names = to_undo(plan, run)
        yield from names[names.index(name) + 1 :] if name in names else ()


def steps_one_by_one(plan: Plan, name: str) -> Iterator[str]:
    """The steps that follow one after the other, up to the next fork, join, choice or wait."""
    while True:
        followers = plan.followers[name]
        if len(followers) != 1 or len(followers[0].after) != 1 or plan.by_name[name].choice:
            return
        if followers[0].wait:
            return  # what comes behind it is sent by whoever ends the wait
        name = followers[0].name
        yield name


def past_pivot(plan: Plan, run: Run) -> bool:
    """True once the run may only go forward."""
    if plan.pivot is None or not is_chosen(run, plan.by_name[plan.pivot]):
        return False  # a pivot that was not chosen is no point of no return
    return passed(plan, run, plan.pivot)


def turned(run: Run) -> bool:
    """True once the run has turned round, for good: what it did is being undone, or was."""
    return run.why != ""


def outcome(plan: Plan, run: Run) -> RunStatus | None:
    """The status in which the run comes to rest now; None if there is still something to do."""
    if run.status is RunStatus.RUNNING:
        return RunStatus.COMPLETED if _is_done(plan, run) else None
    if run.status is RunStatus.COMPENSATING and not live_forward(run) and not to_undo(plan, run):
        owed = any(step.undo.state is PhaseStatus.FAILED for step in run.steps.open.values())
        return RunStatus.FAILED if owed else RunStatus.COMPENSATED
    return None


def _is_done(plan: Plan, run: Run) -> bool:
    if any(step.do.state not in _OVER for step in run.steps.open.values()):
        return False
    if run.ended_by:
        return True
    return len(run.steps) == len(plan.steps)  # counted last: it may take a look at all of them
