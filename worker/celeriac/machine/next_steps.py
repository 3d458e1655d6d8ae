"""What comes next in a run: which steps are ready, and whether anything is left to do.

Owns: the order in which a saga is done, which elements of a map are begun, and when a run has
nothing left to do.  Refuses to know: what is undone next (`undoing`), when a step has passed
(`conditions`), which event makes it look (`moves` calls it after each), and when a message is sent
(`timing`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.machine.conditions import is_chosen, passed, to_confirm
from celeriac.machine.events import EventKind
from celeriac.machine.numbering import instance_of
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.steps import ENDED, PENDING, PhaseStatus, changed
from celeriac.machine.tables import (
    ALL_ENDED,
    NOT_CHOSEN,
    OPENS,
    TOO_MANY,
    TURN_COMES,
    state_in_turn,
)
from celeriac.machine.undoing import live_forward, schedule_undos, to_undo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from celeriac.machine.events import Event
    from celeriac.machine.plans import Node, Plan


_BEGINS = (EventKind.STARTED, EventKind.BEGAN_ANEW, EventKind.REWOUND, EventKind.RETRIED)


def schedule(plan: Plan, run: Run, event: Event, *, goes_on: bool = False) -> Run:
    """Return the run with what *event* made possible: the next steps, or the next compensations.

    *goes_on*: the run was at rest until now, and what ended meanwhile has made nothing possible.
    """
    steps = run.steps.rested(event.step) if event.step else run.steps
    run = run if steps is run.steps else changed(run, steps=steps)
    if run.status is RunStatus.RUNNING:
        return _schedule_steps(plan, run, event, goes_on)
    if run.status is RunStatus.COMPENSATING:
        return schedule_undos(plan, run, event)
    return run


def _schedule_steps(plan: Plan, run: Run, event: Event, goes_on: bool) -> Run:
    if run.ended_by:
        return _confirm_next(plan, run, event)  # nothing else starts
    if goes_on:
        candidates: Iterable[Node] = [*plan.steps, *_steps_of_elements(plan, run)]
    elif event.kind in _BEGINS:
        candidates = plan.steps
    elif event.kind in (EventKind.COMPLETED, EventKind.SKIPPED, EventKind.INHERITED):
        candidates = _following(plan, run, event.step)
    elif event.kind is EventKind.EXPANDED:
        candidates = ()
    else:
        return run
    run = _take_turns(plan, run, candidates, event)
    if run.steps.maps:
        run = changed(run, steps=run.steps.rested(event.step))  # the rest of it was skipped
        instance = None if event.step in plan.by_name else instance_of(event.step)
        moved = instance.map if instance else event.step
        for name in run.steps.maps:
            run = _go_on_with_map(plan, run, name, event) if goes_on or name == moved else run
    return run


def _steps_of_elements(plan: Plan, run: Run) -> Iterator[Node]:
    """The steps of those elements of maps that were begun and do not rest."""
    open_ = (instance_of(name) for name in run.steps.open if run.steps.is_element(name))
    for name, number in {(each.map, each.number): None for each in open_ if each}:
        yield from map(plan.node, run.steps.maps[name].names(number))


def _take_turns(plan: Plan, run: Run, candidates: Iterable[Node], event: Event) -> Run:
    """Schedule those of the *candidates* whose turn has come, or skip what was not chosen."""
    waiting = list(candidates)
    while waiting:
        node = waiting.pop(0)
        if not all(passed(plan, run, name) for name in node.after):
            continue  # its guards may be about what has not settled yet
        if run.steps.is_element(node.name) and not _is_begun(run, node.name):
            continue  # what it waits for was skipped beforehand; its element's turn has not come
        step, chosen = run.step(node.name), is_chosen(run, node)
        begins = OPENS if node.wait and not node.wait.reads else _whose_turn(plan, run, node)
        whose = begins if chosen else NOT_CHOSEN
        state = state_in_turn("do", step.do, whose)
        if state:
            sent = state is PhaseStatus.SCHEDULED
            limit = node.wait.ends_at(event.at) if chosen and node.wait else 0
            limit = node.expires_at(event.at) if sent else limit
            over = whose == TOO_MANY
            signal = (node.wait.signal or "") if chosen and node.wait else ""
            said = {"at": event.at, "sent": sent, "limit": limit, "signal": signal}
            direction = changed(PENDING.do, state=state, too_many=over, **said)
            run = changed(run, steps=run.steps.put({node.name: changed(step, do=direction)}))
            waiting += () if chosen else _following(plan, run, node.name)
    return run


def _is_begun(run: Run, name: str) -> bool:
    instance = instance_of(name)
    return instance is not None and instance.number < run.steps.maps[instance.map].begun


def _confirm_next(plan: Plan, run: Run, event: Event) -> Run:
    """A step has ended the run: what had joined until then is confirmed, one after the other."""
    node = next(iter(to_confirm(plan, run)), None)
    step = run.step(node.name) if node else None
    state = state_in_turn("do", step.do, TURN_COMES) if step else None
    if node is None or step is None or state is None:
        return run
    direction = changed(PENDING.do, state=state, at=event.at, sent=True)
    return changed(run, steps=run.steps.put({node.name: changed(step, do=direction)}))


def _whose_turn(plan: Plan, run: Run, node: Node) -> str:
    """Whether one more step may start; a map counts as one, a confirm as none."""
    most, steps = plan.most_steps, run.steps
    free = node.confirms or node.wait or steps.is_element(node.name)
    if free or run.started_steps + len(steps.open) < most:
        return TURN_COMES
    waiting = (n for n, s in steps.open.items() if not s.order and s.do.state.claimable)
    begun = sum(not (steps.is_element(each) or plan.node(each).wait) for each in waiting)
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
        several = [plan.node(each) for each in instances.names(number)]
        run = _take_turns(plan, changed(run, steps=begun), several, event)
        # All of it may have been skipped beforehand, by an operator.
        run = changed(run, steps=run.steps.rested(several[0].name))
        instances = run.steps.maps[name]
    if instances.resting < instances.count:
        return run
    state = state_in_turn("do", whole.do, ALL_ENDED)
    assert state is not None
    direction = changed(whole.do, state=state, at=event.at)
    run = changed(run, steps=run.steps.put({name: changed(whole, do=direction)}))
    return _take_turns(plan, run, _following(plan, run, name), event)


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


def outcome(plan: Plan, run: Run) -> RunStatus | None:
    """The status in which the run comes to rest now; None if there is still something to do."""
    if run.still_undone:
        return None
    if run.status is RunStatus.RUNNING and _is_done(plan, run):
        return RunStatus.FAILED if run.owed else RunStatus.COMPLETED
    if run.status is RunStatus.COMPENSATING and not live_forward(run) and not to_undo(plan, run):
        return RunStatus.FAILED if run.owed else RunStatus.COMPENSATED
    return None


def _is_done(plan: Plan, run: Run) -> bool:
    if any(step.do.state not in ENDED for step in run.steps.open.values()):
        return False
    if run.ended_by:
        return not to_confirm(plan, run)
    return run.steps.made_once == len(plan.steps)  # counted last: it may take a look at all
