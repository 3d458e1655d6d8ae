"""What must hold after every transition, whatever the command was.

Owns: the invariants that can be seen in one transition (docs/invariants.md: I3, I6 to I9, I11,
I13, I15 and L4).  Refuses to know: participants and their effects (`participants`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.machine.conditions import passed, past_pivot, turned
from celeriac.machine.events import EventKind
from celeriac.machine.moves import apply
from celeriac.machine.numbering import instance_of
from celeriac.machine.places import lines_of, places_of
from celeriac.machine.plans import PHASES
from celeriac.machine.relatives import others
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import ENDED, WAITS, PhaseState, PhaseStatus
from celeriac.machine.tables import EXPIRED
from celeriac.machine.timing import due, overdue, wake_at
from celeriac.machine.transitions import transition
from celeriac.machine.tries import epoch_of
from celeriac.machine.undoing import live_forward
from celeriac.machine.visits import as_visited

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.machine import Phase, Plan
    from celeriac.machine.commands import Command
    from celeriac.machine.events import Event
    from celeriac.machine.numbering import Instances
    from celeriac.machine.runs import Run
    from celeriac.machine.steps import StepState
    from celeriac.machine.transitions import Transition

WAITING = (PhaseStatus.SCHEDULED, PhaseStatus.RETRYING, PhaseStatus.POSTPONED)


def check(plan: Plan, before: Run | None, command: Command, done: Transition, now: int) -> None:
    """Hold what *command* led to at *now* to every law."""
    run = before
    for event in done.events:
        after = apply(plan, done.run.id, run, event)
        _check_event(plan, run, after, event)
        run = after
    assert run == done.run, "the events make another run than the transition says"
    _check_rest(done, now)
    _check_messages(before, done)
    again = transition(plan, done.run, command, now)
    assert not again.events, "a command given twice equals one given once (I11)"
    if not (done.run.paused or done.run.status.at_rest):
        left = {each.name for each in done.run.signals if not each.taken_by}
        _check_untaken(plan, done.run, left)


def _check_untaken(plan: Plan, run: Run, left: set[str]) -> None:
    """No wait is open beside a signal that it could take (I20)."""
    for name, step in run.steps.items():
        wait = as_visited(plan, run).node(name).wait
        if step.do.state is PhaseStatus.OPEN and wait:
            assert wait.signal not in left, "an early signal is forgotten (I20)"


def _check_event(plan: Plan, before: Run | None, after: Run, event: Event) -> None:
    assert after.version == (before.version if before else 0) + 1
    if event.data.get("try"):
        _check_earlier(plan, before, after, event)
        return
    if event.replaces:
        assert before is not None
        assert event.kind is EventKind.POSTPONED
        assert list(event.replaces) == sorted({*event.replaces}, reverse=True)
        assert 0 <= event.replaces[-1] <= event.replaces[0] < before.version
    if before is not None and event.kind is EventKind.BEGAN_ANEW:
        _check_anew(plan, before, after)
    if before is not None and event.kind is EventKind.REWOUND:
        _check_rewound(plan, before, after)
    if before is not None and after.epoch == before.epoch:
        _check_in_try(plan, before, after, event)


def _check_in_try(plan: Plan, before: Run, after: Run, event: Event) -> None:
    plan = as_visited(plan, after)
    _check_visits(plan, before, after, event)
    _check_signals(before, after, event)
    _check_lines(before, after, event)
    if event.kind is EventKind.CLAIMED:
        _check_claim(plan, before, event)
    if event.kind is EventKind.FAILED and event.data.get("why") == EXPIRED:
        old, new = before.step(event.step), after.step(event.step)
        assert not old.do.attempt, "what was taken up does not expire (I28)"
        assert not new.may_have_effect, "what expires has no effect (I28)"
        assert 0 < old.do.limit <= event.at, "it expires in its time, and not before (I28)"
    _check_maps(plan, before, after)
    if event.kind is EventKind.COMPENSATION_STARTED:
        # A cancel on the way back ends the tries; a pivot may have reported late by then.
        assert turned(before) or not past_pivot(plan, before), "nothing backward past it (I8)"
    assert after.ended_by == before.ended_by or not before.ended_by
    for name, step in after.steps.items():
        old = before.step(name)
        assert step.may_have_effect >= old.may_have_effect, "unknown is sticky (I6)"
        assert step.generation >= old.generation
        assert step.order == old.order or not old.order
        assert step.choice == old.choice or not old.choice, "a choice never changes (I15)"
        ended = event.kind is EventKind.COMPENSATION_STARTED and plan.node(name).wait
        skipped = step.do.state is PhaseStatus.SKIPPED is not old.do.state
        if skipped and event.step != name and not ended:
            _check_guarded_out(plan, after, name)
        for phase in PHASES:
            assert step.direction(phase).attempt >= old.direction(phase).attempt
        # An output is recorded once, and stays (I15).
        for settled in (PhaseStatus.DONE, PhaseStatus.SKIPPED, PhaseStatus.WAIVED):
            assert old.do.state is not settled or step.do.state is settled


def _check_visits(plan: Plan, before: Run, after: Run, event: Event) -> None:
    """Only steps of the visit that came last go forward, and each visit has steps of its own."""
    assert after.routes[: len(before.routes)] == before.routes, "a route never changes (I15)"
    assert len(after.routes) <= len(before.routes) + bool(event.data.get("route"))
    groups = [*plan.whole.groups[:1], *(group for _, group in before.routes)]
    if event.kind is EventKind.CLAIMED and event.phase == "do" and groups:
        name, _, number = event.step.partition("[")[0].partition("~")
        assert plan.whole.by_name[name].group == groups[-1], "a step of a group that was left (I27)"
        assert int(number or 1) == groups.count(groups[-1]), "a step of another visit (I27)"
    if len(after.routes) > len(before.routes):
        assert after.routes[-1] == (event.step, event.data["route"])
        nodes = [each for each in plan.whole.nodes if each.group == event.data["route"]]
        assert nodes, "it goes on with a group that there is (I27)"


def _check_earlier(plan: Plan, before: Run | None, after: Run, event: Event) -> None:
    """What happens in a try that is over obeys the laws of a run, and leaves the newest alone."""
    epoch = event.data["try"]
    then, now = (run.of_epoch(epoch) for run in (before, after) if run)
    assert then is not None
    assert now is not None
    assert before is not None
    assert after.steps == before.steps
    assert not (event.kind is EventKind.CLAIMED and event.phase == "do"), "nothing forward (I8)"
    _check_event(plan, then, now, event=replace(event, data={**event.data, "try": 0}))


def _check_anew(plan: Plan, before: Run, after: Run) -> None:
    """It begins anew only once all is undone, and as if nothing had been, but for what came in."""
    assert before.status is RunStatus.WAITING
    assert before.tries <= plan.retries, "so many times and no more (I25)"
    assert not before.final, "a step has said that it is the end (I25)"
    assert not before.owed, "no new try while something is owed (I25)"
    assert after.tries == before.tries + 1
    assert (after.deadline, after.signals) == (before.deadline, before.signals)
    assert not after.stands, "all of it is done anew (I25)"


def _check_rewound(plan: Plan, before: Run, after: Run) -> None:
    """What comes before a step stands as it was, and all else is as if it had never been (I26)."""
    to, plan = before.rewinds_to, as_visited(plan, before)
    stands = comes_before(plan, to)
    assert after.routes == tuple(each for each in before.routes if each[0] in stands)
    assert before.status is RunStatus.COMPENSATING
    assert not before.owed, "forward with something owed (I26)"
    assert not live_forward(before)
    assert not past_pivot(as_visited(plan, after), after)
    assert (after.epoch, after.rewinds) == (before.epoch + 1, before.rewinds + 1)
    assert (after.tries, after.signals) == (before.tries, before.signals)
    for name in {*before.steps, *after.steps}:
        if unit_of(name) in stands:
            assert after.step(name) == before.step(name), "what stands is left alone (I26)"
            assert epoch_of(after, name) == epoch_of(before, name), "under its own key (I26)"
            assert after.step(name).undo == PhaseState(), "what stands was not undone (I26)"
            continue
        assert after.step(name).do.attempt == 0, "done again from the beginning (I26)"
        assert epoch_of(after, name) == after.epoch, "under a key of its own (I26)"
        step, undoer = before.step(name), plan.undoer_of(name)
        undone = undoer is None or before.step(undoer).undo.state in _SETTLED
        assert undone or not _may_stand(step), "done again before it was undone (I26)"


_SETTLED = (PhaseStatus.DONE, PhaseStatus.WAIVED)


def _check_signals(before: Run, after: Run, event: Event) -> None:
    """An id counts once, and is taken by one wait at most, while that is open (I20)."""
    keys = [each.key for each in after.signals]
    assert len(set(keys)) == len(keys), "an id counts once (I20)"
    assert keys[: len(before.signals)] == [each.key for each in before.signals]
    for old, new in zip(before.signals, after.signals, strict=False):
        if old != new:
            assert not old.taken_by, "a signal is taken once (I20)"
            assert new.taken_by == event.step
            assert before.step(event.step).do.state is PhaseStatus.OPEN
            assert not before.paused
    for name, step in after.steps.items():
        was = before.step(name).do.state
        if was is PhaseStatus.OPEN is not step.do.state:
            assert step.do.limit == 0, "leaving a wait clears its timer (I20)"
        if name == event.step and event.data.get("why") in ("time is over", "no signal"):
            assert before.step(name).do.limit <= event.at, "a timer does not fire early (I20)"


def _check_maps(plan: Plan, before: Run, run: Run) -> None:
    """No more elements of a map are at work than it allows, and it ends with the last (I18)."""
    for name, counted in run.steps.maps.items():
        old = before.steps.maps.get(name, counted)
        assert counted.count == old.count, "how many there are never changes (I18)"
        assert counted.begun >= old.begun, "what was begun stays begun (I18)"
        made = plan.by_name[name].map
        assert made is not None
        ended = run.step(name).do.state is PhaseStatus.DONE
        if ended and before.step(name).do.state is not PhaseStatus.DONE:
            _check_joined(run, counted)
        numbers = {
            instance.number
            for each, step in run.steps.open.items()
            if (instance := instance_of(each)) and instance.map == name
            if PhaseStatus.RUNNING in (step.do.state, step.undo.state)
        }
        assert len(numbers) <= made.concurrency, "too many elements at a time (I18)"


def _check_joined(run: Run, counted: Instances[StepState]) -> None:
    """What follows a map starts when the recorded count of elements has ended (I18)."""
    for number in range(counted.count):
        for name in counted.names(number):
            assert run.step(name).do.state in ENDED, f"it ended without {name} (I18)"


def _check_guarded_out(plan: Plan, run: Run, name: str) -> None:
    """A step is skipped in its turn, because of a choice that was made, and for good (I16)."""
    node = plan.node(name)
    assert run.step(name).order == 0, "what was started is not guarded out"
    assert all(passed(plan, run, each) for each in node.after), "skipped before its turn (I16)"
    if node.confirms and run.step(node.confirms).do.state is not PhaseStatus.DONE:
        return  # what it would confirm did not join
    assert any(passed(plan, run, guard.step) for guard in node.guards)
    assert not all(guard.holds(run.step(guard.step).choice) for guard in node.guards)


def _check_lines(before: Run, after: Run, event: Event) -> None:
    """Who waits at a gate uses up no attempt and holds nothing; who is at work waits at none."""
    if event.kind is EventKind.QUEUED:
        old = before.step(event.step).direction(event.phase)
        new = after.step(event.step).direction(event.phase)
        assert (old.state, old.attempt, old.given_back) == (new.state, new.attempt, new.given_back)
        assert old.state in WAITING, "only what may be claimed waits at a gate (I23)"
        assert not before.paused
    held = {(place.epoch, place.step, place.phase) for place in places_of(after)}
    waits = {(turn.epoch, turn.step, turn.phase) for turn in lines_of(after)}
    assert not held & waits, "who waits at a gate holds nothing (I23)"


def _check_claim(plan: Plan, before: Run, event: Event) -> None:
    direction = before.step(event.step).direction(event.phase)
    assert direction.state in WAITING, "one live claim for a step and direction (I3)"
    assert not before.paused, "nothing is taken up while an operator holds the run"
    assert event.attempt == direction.attempt + 1, "each claim has a token of its own (I3)"
    needed = plan.node(event.step).gates if event.phase == "do" else ()
    assert len(event.data.get("gates", ())) == len(needed), "nobody gets past a gate (I23)"
    if event.phase == "do":
        assert before.status is RunStatus.RUNNING, "nothing forward while compensating (I8)"
        confirms = plan.node(event.step).confirms
        assert confirms or not before.ended_by, "nothing starts once a step ended the run (I8)"
        assert not 0 < direction.limit <= event.at, "nothing is taken up once it expired (I28)"
        waited_for = plan.node(event.step).after
        early = confirms and before.ended_by  # what joined is confirmed, and nothing else starts
        assert early or all(passed(plan, before, name) for name in waited_for), "I8"
        for guard in plan.node(event.step).guards:
            assert guard.holds(before.step(guard.step).choice), "nobody has chosen it (I16)"
        if confirms:
            assert confirms != before.ended_by, "it ended the run in place of joining"
            assert before.step(confirms).do.state is PhaseStatus.DONE, "it did not join"
            assert past_pivot(plan, before), "confirmed before all is prepared"
    else:
        assert before.status is RunStatus.COMPENSATING
        assert not live_forward(before), "no undo beside a live forward attempt (I7)"
        assert event.at >= before.compensate_not_before, (
            "no undo while an effect may still land (I7)"
        )
        _check_order(plan, before, event)
        covered = plan.node(event.step).covers or (event.step,)
        began = [before.step(name).do.attempt for name in covered]
        assert any(began), "what never started is never undone (I16)"
        assert any(_may_stand(before.step(name)) for name in covered), "nothing to undo (I19)"
        assert event.step not in plan.scope_of, "a step in a scope has no undo of its own (I19)"


def _check_order(plan: Plan, before: Run, event: Event) -> None:
    """A compensation only after those that come before it (I8)."""
    if plan.compensation_order == "parallel":
        return
    sign = 1 if plan.compensation_order == "forward" else -1
    mine = plan.node(event.step).covers or (event.step,)
    first = _first_started(before, mine)
    graph = plan.compensation_order == "graph"
    stands = comes_before(plan, before.rewinds_to) if before.rewinds_to else set()
    assert not stands & set(map(unit_of, mine)), "what stands is undone (I26)"
    for name, step in before.steps.items():
        undoer = plan.undoer_of(name)
        undone = before.step(undoer or name).undo.state
        settled = undone in (PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.WAIVED)
        if (
            settled
            or undoer is None
            or not _may_stand(step)
            or name in mine
            or unit_of(name) in stands
        ):
            continue
        if graph:
            behind = comes_before(plan, unit_of(name))
            assert not behind & set(map(unit_of, mine)), "undone before its followers (I8, I19)"
        else:
            others = plan.node(undoer).covers or (name,)
            assert sign * _first_started(before, others) >= sign * first, "out of turn (I8, I19)"


def _first_started(run: Run, names: Iterable[str]) -> int:
    return min(run.step(name).order for name in names if run.step(name).order)


def _may_stand(step: StepState) -> bool:
    return step.may_have_effect or step.do.state is PhaseStatus.DONE


def unit_of(name: str) -> str:
    """What stands for a step in an order: the map, for a step of one of its elements."""
    instance = instance_of(name)
    return instance.map if instance else name


def comes_before(plan: Plan, name: str) -> set[str]:
    """The steps that a step waits for, directly or not."""
    found: set[str] = set()
    for each in plan.by_name[name].after:
        found |= {each} | comes_before(plan, each)
    return found


def _check_rest(done: Transition, now: int) -> None:
    run = done.run
    assert done.wake_at == wake_at(run)
    awake = not run.status.at_rest or bool(others(run))
    assert awake == (done.wake_at is not None), "awake, or not in the wake index (I13)"
    assert bool(run.ended_at) == run.status.at_rest
    assert bool(run.begins_at) == (run.status is RunStatus.WAITING)
    assert bool(run.rewinds_to) == (run.why == "rewound") or run.status is RunStatus.TERMINATED
    if run.status.at_rest:
        assert due(run) == set(others(run)), "only other runs are told of one at rest"
        assert all(each.status.at_rest for each in run.earlier)
        return
    several = (run, *run.still_undone)
    assert any(map(_is_alive, several)), "nothing will ever happen to it again (L1)"
    assert all(map(_is_alive, run.still_undone)), "nothing will ever happen to it again (L1)"
    assert set(overdue(run, now)) <= due(run)


def _is_alive(run: Run) -> bool:
    busy = [direction.state for step in run.steps.values() for direction in (step.do, step.undo)]
    return PhaseStatus.RUNNING in busy or _waits(run) or run.status is RunStatus.WAITING


def _waits(run: Run) -> bool:
    phase: Phase = "do" if run.status is RunStatus.RUNNING else "undo"
    waiting = (*WAITING, *WAITS)
    return any(step.direction(phase).state in waiting for step in run.steps.values())


def _check_messages(before: Run | None, done: Transition) -> None:
    had = due(before) if before else set()
    assert set(done.dispatches) == due(done.run) - had
    if done.run.status is RunStatus.FAILED:
        assert done.run.owed, "failed is reached only with something owed (L4)"
