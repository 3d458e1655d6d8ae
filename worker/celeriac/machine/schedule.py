"""What comes next in a run: the steps that are ready, the compensations whose turn it is.

Owns: the order in which a saga is done and undone, when a run has turned round, is past its pivot,
or has nothing left to do.  Refuses to know: which event makes it look (`moves` calls it after
each), and when a message is sent (`timing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.runs import PhaseState, PhaseStatus, Run, RunStatus, StepState, changed
from celeriac.machine.tables import NOT_CHOSEN, SCHEDULING, TURN_COMES, TURN_GOES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from celeriac.machine.events import Event
    from celeriac.machine.plans import Node, Phase, Plan


def schedule(plan: Plan, run: Run, event: Event) -> Run:
    """Return the run with what *event* made possible: the next steps, or the next compensations."""
    if run.status is RunStatus.RUNNING:
        return _schedule_steps(plan, run, event)
    if run.status is RunStatus.COMPENSATING:
        return _schedule_undo(plan, run, event)
    return run


def _turn(phase: Phase, lane: PhaseState, whose: str) -> PhaseStatus | None:
    """The state that a lane gets when its turn comes, or another comes first; None: no change."""
    return SCHEDULING.get((phase, lane.state, whose))


def _schedule_steps(plan: Plan, run: Run, event: Event) -> Run:
    if event.kind in (EventKind.STARTED, EventKind.RETRIED):
        candidates: Iterable[Node] = plan.nodes
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
        state = _turn("do", step.do, TURN_COMES if chosen else NOT_CHOSEN)
        if state:
            lane = PhaseState(state, at=event.at, sent=chosen)
            run = changed(run, steps=run.steps.put({node.name: changed(step, do=lane)}))
            waiting += () if chosen else _following(plan, run, node.name)
    return run


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


def _schedule_undo(plan: Plan, run: Run, event: Event) -> Run:
    at = max(event.at, run.compensate_not_before)
    turn = undo_turn(plan, run)
    steps: dict[str, StepState] = {}
    for name in {**dict.fromkeys(turn), **run.steps.open}:
        step = run.steps[name]
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
    names = [
        name
        for name, step in run.steps.items()
        if plan.by_name[name].undo
        and (step.may_have_effect or step.do.state is PhaseStatus.DONE)
        and step.undo.state not in settled
    ]
    return in_undo_order(plan, run, names)


def in_undo_order(plan: Plan, run: Run, names: list[str]) -> list[str]:
    """The steps in the order in which the saga undoes them."""
    backwards = plan.compensation_order != "forward"
    return sorted(names, key=lambda name: run.steps[name].order, reverse=backwards)


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
    """The steps that one of these waited for, directly or not: they are undone after it."""
    wanted, found = set(names), set[str]()
    for node in reversed(plan.nodes):  # in a plan, what a step waits for comes before it
        if node.name in wanted or node.name in found:
            found.update(node.after)
    return found


def one_by_one(plan: Plan, run: Run, name: str, phase: Phase) -> Iterator[str]:
    """The steps that follow a step one by one, in the direction of *phase*.

    Forward, up to the next fork, join or choice; backward, as far as the run has something to undo.
    """
    if phase == "do":
        yield from steps_one_by_one(plan, name)
    elif plan.compensation_order not in ("parallel", "graph"):
        names = to_undo(plan, run)
        yield from names[names.index(name) + 1 :] if name in names else ()


def steps_one_by_one(plan: Plan, name: str) -> Iterator[str]:
    """The steps that follow a step, one after the other, up to the next fork, join or choice."""
    while True:
        followers = plan.followers[name]
        if len(followers) != 1 or len(followers[0].after) != 1 or plan.by_name[name].choice:
            return
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
    over = (PhaseStatus.DONE, PhaseStatus.SKIPPED)
    if not all(step.do.state in over for step in run.steps.open.values()):
        return False
    return len(run.steps) == len(plan.nodes)  # counted last: it may take a look at all of them
