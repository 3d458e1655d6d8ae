"""What comes next in a run: the steps that are ready, the compensations whose turn it is.

Owns: the order in which a saga is done, which elements of a map are begun, when a run has turned
round, is past its pivot, or has nothing left to do.  Refuses to know: what is undone next
(`undoing`), which event makes it look (`moves` calls it after each), and when a message is sent
(`timing`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.numbering import instance_of, numbered
from celeriac.machine.runs import (
    ENDED,
    PhaseState,
    PhaseStatus,
    Run,
    RunStatus,
    StepState,
    StepStatus,
    changed,
)
from celeriac.machine.tables import (
    ALL_ENDED,
    NOT_CHOSEN,
    OPENS,
    SCHEDULING,
    TOO_MANY,
    TURN_COMES,
    TURN_GOES,
)
from celeriac.machine.undoing import live_forward, may_stand, to_undo, undo_turn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from celeriac.machine.events import Event
    from celeriac.machine.plans import Node, Phase, Plan


def schedule(plan: Plan, run: Run, event: Event, *, goes_on: bool = False) -> Run:
    """Return the run with what *event* made possible: the next steps, or the next compensations.

    *goes_on*: the run was at rest until now, and what ended meanwhile has made nothing possible.
    """
    steps = run.steps.rested(event.step) if event.step else run.steps
    run = run if steps is run.steps else changed(run, steps=steps)
    if run.status is RunStatus.RUNNING:
        return _schedule_steps(plan, run, event, goes_on)
    if run.status is RunStatus.COMPENSATING:
        return _schedule_undo(plan, run, event)
    return run


def _turn(phase: Phase, direction: PhaseState, whose: str) -> PhaseStatus | None:
    """The state a direction gets when its turn comes, or another comes first; None: no change."""
    return SCHEDULING.get((phase, direction.state, whose))


def _schedule_steps(plan: Plan, run: Run, event: Event, goes_on: bool) -> Run:
    if run.ended_by:
        return _confirm_next(plan, run, event)  # nothing else starts
    if goes_on or event.kind in (EventKind.STARTED, EventKind.RETRIED):
        candidates: Iterable[Node] = plan.steps
    elif event.kind in (EventKind.COMPLETED, EventKind.SKIPPED):
        candidates = _following(plan, run, event.step)
    elif event.kind is EventKind.EXPANDED:
        candidates = ()
    else:
        return run
    run = _take_turns(plan, run, candidates, event)
    if run.steps.maps:
        instance = None if event.step in plan.by_name else instance_of(event.step)
        name = instance.map if instance else event.step
        if name in run.steps.maps:
            run = changed(run, steps=run.steps.rested(event.step))  # the rest of it was skipped
            run = _go_on_with_map(plan, run, name, event)
    return run


def _take_turns(plan: Plan, run: Run, candidates: Iterable[Node], event: Event) -> Run:
    """Schedule those of the *candidates* whose turn has come, or skip what was not chosen."""
    waiting = list(candidates)
    while waiting:
        node = waiting.pop(0)
        if not all(passed(plan, run, name) for name in node.after):
            continue  # its guards may be about what has not settled yet
        step, chosen = run.step(node.name), is_chosen(run, node)
        begins = OPENS if node.wait else _whose_turn(plan, run, node)
        whose = begins if chosen else NOT_CHOSEN
        state = _turn("do", step.do, whose)
        if state:
            sent = state is PhaseStatus.SCHEDULED
            limit = node.wait.ends_at(event.at) if chosen and node.wait else 0
            over = whose == TOO_MANY
            direction = PhaseState(state, at=event.at, sent=sent, limit=limit, too_many=over)
            run = changed(run, steps=run.steps.put({node.name: changed(step, do=direction)}))
            waiting += () if chosen else _following(plan, run, node.name)
    return run


def _confirm_next(plan: Plan, run: Run, event: Event) -> Run:
    """A step has ended the run: what had joined until then is confirmed, one after the other."""
    node = next(iter(_to_confirm(plan, run)), None)
    step = run.step(node.name) if node else None
    state = _turn("do", step.do, TURN_COMES) if step else None
    if node is None or step is None or state is None:
        return run
    direction = PhaseState(state, at=event.at, sent=True)
    return changed(run, steps=run.steps.put({node.name: changed(step, do=direction)}))


def _to_confirm(plan: Plan, run: Run) -> list[Node]:
    """What has to be confirmed and is not yet, in order."""
    confirms = (plan.by_name[name] for name in plan.confirmed_by.values())
    return [
        node
        for node in confirms
        if is_chosen(run, node) and run.step(node.name).do.state not in ENDED
    ]


def _whose_turn(plan: Plan, run: Run, node: Node) -> str:
    """Whether one more step may start; a map counts as one, a confirm as none."""
    most, steps = plan.most_steps, run.steps
    if node.confirms or run.started_steps + len(steps.open) < most or steps.is_element(node.name):
        return TURN_COMES
    waiting = (n for n, s in steps.open.items() if not s.order and s.do.state.claimable)
    begun = sum(not steps.is_element(each) for each in waiting)
    return TURN_COMES if run.started_steps + begun < most else TOO_MANY


def _go_on_with_map(plan: Plan, run: Run, name: str, event: Event) -> Run:
    """Begin the next elements of a map as far as there is room, or end it with its last one.

    An element that gave up keeps its place until an operator has decided, so no more of them than
    that ever stand open.
    """
    made, whole = plan.by_name[name].map, run.step(name)
    if made is None or whole.do.state is not PhaseStatus.EXPANDED:
        return run
    instances = run.steps.maps[name]
    while instances.begun < instances.count:
        if instances.begun - instances.resting >= made.concurrency:
            return run
        number = instances.begun
        begun = run.steps.with_map(name, replace(instances, begun=number + 1))
        first = [plan.node(numbered(node.name, number)) for node in made.nodes if not node.after]
        run = _take_turns(plan, changed(run, steps=begun), first, event)
        # All of it may have been skipped beforehand, by an operator.
        run = changed(run, steps=run.steps.rested(first[0].name))
        instances = run.steps.maps[name]
    if instances.resting < instances.count:
        return run
    state = _turn("do", whole.do, ALL_ENDED)
    assert state is not None
    direction = changed(whole.do, state=state, at=event.at)
    run = changed(run, steps=run.steps.put({name: changed(whole, do=direction)}))
    return _take_turns(plan, run, _following(plan, run, name), event)


def is_chosen(run: Run, node: Node) -> bool:
    """True if all that a step is guarded by was chosen: one that chose nothing chose otherwise.

    What confirms a step does so only if that joined: it is done, and has neither skipped itself nor
    ended the run in place of a result.
    """
    return _joined(run, node.confirms) and _guards_hold(run, node)


def _joined(run: Run, step: str | None) -> bool:
    if step is None:
        return True
    return run.step(step).do.state is PhaseStatus.DONE and step != run.ended_by


def _guards_hold(run: Run, node: Node) -> bool:
    return all(guard.holds(run.step(guard.step).choice) for guard in node.guards)


def _following(plan: Plan, run: Run, name: str) -> Iterator[Node]:
    """The steps that wait for this one, or for one that does and was skipped beforehand."""
    seen, ahead = {name}, [name]
    while ahead:
        for node in plan.following(ahead.pop()):
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
            behind += [each for each in plan.node(name).after if each not in seen]
            seen.update(behind)
        elif state not in ENDED:
            return False
    return True


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
    over = run.why or run.ended_by
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


def _schedule_undo(plan: Plan, run: Run, event: Event) -> Run:
    at = max(event.at, run.compensate_not_before)
    turn = undo_turn(plan, run)
    steps: dict[str, StepState] = {}
    for name in {**dict.fromkeys(turn), **run.steps.open}:
        step = run.step(name)
        # One that comes before it may have to be undone (once more): then its turn is over (I8).
        state = _turn("undo", step.undo, TURN_COMES if name in turn else TURN_GOES)
        if state is PhaseStatus.SCHEDULED:
            direction = changed(step.undo, state=state, at=at, sent=at <= event.at, sends=0)
            steps[name] = changed(step, undo=direction)
        elif state is PhaseStatus.IDLE:
            steps[name] = changed(step, undo=changed(step.undo, state=state, sent=False))
    return changed(run, steps=run.steps.put(steps)) if steps else run


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
            if plan.by_name[each].map:
                return
            yield each


def steps_one_by_one(plan: Plan, name: str) -> Iterator[str]:
    """The steps that follow one after the other, up to the next fork, join, choice or wait."""
    while plan.node(name).choice is None:
        followers = plan.following(name)
        if len(followers) != 1 or len(followers[0].after) != 1 or followers[0].map:
            return
        if followers[0].wait:
            return  # what comes behind it is sent by whoever ends the wait
        name = followers[0].name
        yield name


def past_pivot(plan: Plan, run: Run) -> bool:
    """True once the run may only go forward: its pivot has passed, or all is prepared."""
    pivot = plan.by_name[plan.pivot] if plan.pivot else plan.decides
    if pivot is None or not _guards_hold(run, pivot):
        return False  # a pivot that was not chosen is no point of no return
    names = pivot.after if pivot.confirms else (pivot.name,)
    if run.ended_by and pivot.confirms:  # what had joined until then is confirmed
        return any(_joined(run, step) for step in plan.confirmed_by)
    return all(passed(plan, run, name) for name in names)


def turned(run: Run) -> bool:
    """True once the run has turned round, for good: what it did is being undone, or was."""
    return run.why != ""


def outcome(plan: Plan, run: Run) -> RunStatus | None:
    """The status in which the run comes to rest now; None if there is still something to do."""
    if run.status is RunStatus.RUNNING:
        return RunStatus.COMPLETED if _is_done(plan, run) else None
    if run.status is RunStatus.COMPENSATING and not live_forward(run) and not to_undo(plan, run):
        owed = next(run.undos_failed, None)
        return RunStatus.FAILED if owed else RunStatus.COMPENSATED
    return None


def _is_done(plan: Plan, run: Run) -> bool:
    if any(step.do.state not in ENDED for step in run.steps.open.values()):
        return False
    if run.ended_by:
        return not _to_confirm(plan, run)
    return run.steps.made_once == len(plan.steps)  # counted last: it may take a look at all
