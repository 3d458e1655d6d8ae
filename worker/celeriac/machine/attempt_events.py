"""What the events of an attempt change: from its message to its result, or to its loss.

Owns: `ATTEMPT_EVENTS`.  Refuses to know: when such an event happens (`attempts`, `timeouts`), and
what follows for the run (`run_events`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.machine.conditions import turned
from celeriac.machine.events import Event, EventKind
from celeriac.machine.gate_events import entered
from celeriac.machine.numbering import Instances, instance_of
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.standstill import go_on
from celeriac.machine.state_changes import (
    move_direction,
    move_run,
    move_step,
    note_choice,
    put_direction,
    put_step,
)
from celeriac.machine.steps import PhaseState, StepState, changed
from celeriac.machine.tables import EXPIRED, NO_RESULT, VOID
from celeriac.machine.timing import DOUBLINGS_WHILE_BLOCKED

if TYPE_CHECKING:
    from celeriac.machine.plans import Plan
    from celeriac.machine.state_changes import Change


def _dispatched(_plan: Plan, run: Run, event: Event) -> Run:
    again = event.data.get("again")
    if again is None:  # sent for the first time, or an event of version 0.1.0
        step = run.step(event.step)
        again = step.direction(event.phase).sends + (event.data.get("why") == "unclaimed")
        again = min(again, DOUBLINGS_WHILE_BLOCKED) if step.blocked else again
    return move_step(run, event, at=event.data.get("at", event.at), sent=True, sends=again)


def _expanded(plan: Plan, run: Run, event: Event) -> Run:
    made = plan.by_name[event.step].map
    assert made is not None  # or there is no such event
    nodes = tuple(node.name for node in made.nodes)
    run = move_step(run, event, attempt=event.attempt, at=event.at, sent=False, sends=0)
    counted = Instances[StepState](nodes, event.data["count"])
    return changed(run, steps=run.steps.with_map(event.step, counted))


def _opened(_plan: Plan, run: Run, event: Event) -> Run:
    return move_step(run, event, at=event.at, sent=False, sends=0, limit=event.data["until"])


def _claimed(plan: Plan, run: Run, event: Event) -> Run:
    limit = plan.node(event.step).limit(event.phase)
    step = run.step(event.step)
    direction = step.direction(event.phase)
    direction = move_direction(
        direction,
        event,
        attempt=event.attempt,
        holder=event.data["holder"],
        # It undoes the newest effect; what attempts before it did, settles nothing any more.
        recompensate=False,
        attempts_before_budget=direction.attempt
        if direction.recompensate
        else direction.attempts_before_budget,
        given_back=0 if direction.recompensate else direction.given_back,
        at=event.at,
        sent=False,
        sends=0,
        limit=event.at + limit + run.grace if limit else 0,
        begun=_begun(plan, direction, event),
        too_many=False,
        expired=False,
        child=event.data.get("child", 0),
        kept=(),
    )
    placed = step.order or event.phase == "undo"
    run, order = (run, step.order) if placed else _in_order(run, event.step)
    gates = tuple(event.data.get("gates", step.gates))
    through = {"order": order, "blocked": "", "line": (), "gates": gates}
    run = put_step(run, event, changed(step, **{event.phase: direction}, **through))
    return entered(run, event) if "enters" in event.data else run


def _in_order(run: Run, name: str) -> tuple[Run, int]:
    """The place of a step among those that were started; all elements of a map have one place."""
    instance = instance_of(name) if run.steps.maps else None
    instances = run.steps.maps.get(instance.map) if instance else None
    if instances and instances.order:
        return run, instances.order
    order = run.started_steps + 1
    if instance and instances:
        first = run.steps.with_map(instance.map, replace(instances, order=order))
        run = changed(run, steps=first)
    return changed(run, started_steps=order), order


def _begun(plan: Plan, direction: PhaseState, event: Event) -> int:
    limited = plan.node(event.step).gives_up_after(event.phase) is not None
    begun = 0 if direction.recompensate else direction.begun
    return begun or (event.at if limited else 0)


def _completed(plan: Plan, run: Run, event: Event) -> Run:
    late = bool(event.data.get("late"))
    direction = run.step(event.step).direction(event.phase)
    if event.phase == "undo" and not late and direction.recompensate:
        # The effect came back while this undo ran: undo once more, with a budget of its own.
        return move_step(
            run,
            event,
            "once more",
            recompensate=False,
            attempts_before_budget=direction.attempt,
            given_back=0,
            begun=0,
            limit=0,
        )
    if run.status is RunStatus.FAILED and turned(run):  # late: perhaps it is not owed any more
        run = move_run(run, event, RunStatus.COMPENSATING, ended_at=0)
    elif run.status is RunStatus.FAILED and late:  # what an operator was asked for
        run = go_on(plan, run, event)
    known = (*direction.late, event.attempt) if late else direction.late
    over: dict[str, Any] = {"at": event.at, "sent": False, "limit": 0, "via": "", "signal": ""}
    over |= _outside(direction, event)
    run = move_step(run, event, "late" if late else "", late=known, **over)
    run = _delay_compensation(plan, run, event) if event.data.get("cut_off") else run
    if event.data.get("ends") and run.status is RunStatus.RUNNING:
        run = changed(run, ended_by=event.step)
    return _taken(note_choice(run, event), event)


def _taken(run: Run, event: Event) -> Run:
    """Note which signal a wait took, if it ended by one."""
    key = event.data.get("key")
    if not key:
        return run
    by = event.step
    found = [each._replace(taken_by=by) if each.key == key else each for each in run.signals]
    return changed(run, signals=tuple(found))


def _deferred(_plan: Plan, run: Run, event: Event) -> Run:
    return move_step(run, event, at=event.at, limit=event.data["until"], credited=0)


def _kept(_plan: Plan, run: Run, event: Event) -> Run:
    said = event.data
    again = bool(said.get("retryable"))
    told = (said.get("error", ""), said.get("code", ""), said.get("effect"), again)
    return move_step(run, event, kept=(said["outcome"], *told))


def _outside(direction: PhaseState, event: Event) -> dict[str, Any]:
    """What is noted of an attempt that ended by what was said outside."""
    found: dict[str, Any] = {}
    if event.data.get("outside") and not event.data.get("late"):  # the first word counts
        found["kept"] = direction.kept or (event.kind.value, "", "", None, False)
    if event.data.get("lost"):  # whatever its worker still reports is a late report
        found["holder"] = ""
    return found


def _failed(plan: Plan, run: Run, event: Event) -> Run:
    if plan.node(event.step).reads_first:
        return move_step(run, event, "not read", attempt=event.attempt, **_after_attempt(event))
    if event.data.get("why") == "undone" and run.status is RunStatus.FAILED:
        run = go_on(plan, run, event)  # what an operator was asked for
    ended = _outside(run.step(event.step).direction(event.phase), event)
    ended |= {**_after_attempt(event), "via": _via(run, event)}
    ended |= {"expired": True} if event.data.get("why") == EXPIRED else {}
    run = move_step(run, event, _how(event), **ended)
    step = run.steps[event.step]
    if event.phase == "do" and event.data.get("effect") is not False:
        run = put_step(run, event, changed(step, may_have_effect=True))
    if event.data.get("final"):
        run = changed(run, final=True)
    cut_off = event.data.get("why") == "timeout" or event.data.get("cut_off")
    return _delay_compensation(plan, run, event) if cut_off else run


def _postponed(_plan: Plan, run: Run, event: Event) -> Run:
    """The attempt is given back; what is said of several in a row, is said of the newest."""
    direction, data = run.step(event.step).direction(event.phase), event.data
    # How long an undo may be asked has a limit of its own: it counts from its first claim, too.
    begun = direction.begun or (direction.at if event.phase == "undo" else 0)
    run = move_step(
        run,
        event,
        attempt=event.attempt,
        holder=data.get("holder", direction.holder),
        given_back=data.get("given_back", direction.given_back + 1),
        begun=begun,
        **_after_attempt(event),
    )
    if event.phase == "undo":
        return run
    step = run.steps[event.step]
    had = step.may_have_effect or data.get("effect") is not False
    return put_step(run, event, changed(step, may_have_effect=had))


def _lost(plan: Plan, run: Run, event: Event) -> Run:
    # Without a holder, whatever this attempt still reports is a late report.
    run = move_step(run, event, _how(event), holder="", **_after_attempt(event))
    if event.phase == "do":
        run = put_step(run, event, changed(run.steps[event.step], may_have_effect=True))
    if event.data.get("why") in (NO_RESULT, VOID):
        return run  # its body has ended: nothing of ours is on its way
    return _delay_compensation(plan, run, event)


def _late(plan: Plan, run: Run, event: Event) -> Run:
    step = run.step(event.step)
    direction = step.direction(event.phase)
    run = put_direction(run, event, changed(direction, late=(*direction.late, event.attempt)))
    return _delay_compensation(plan, run, event) if event.data.get("why") == "timeout" else run


def _blocked(_plan: Plan, run: Run, event: Event) -> Run:
    return put_step(run, event, changed(run.step(event.step), blocked=event.data.get("why", "")))


def _delay_compensation(plan: Plan, run: Run, event: Event) -> Run:
    """A step that was cut off may have a request on its way: nothing is undone until it landed.

    A barrier needs no such wait: what it has undone can take no effect any more.  But it knows a
    step by its own key, so that holds only for a step with an undo of its own.
    """
    node = plan.node(event.step)
    if event.phase == "undo" or (node.effect == "barrier" and node.name not in plan.scope_of):
        return run
    return changed(run, compensate_not_before=max(run.compensate_not_before, event.at + run.grace))


#: Why an attempt has failed of which nobody knows what it did: a run that is one owes something.
_UNKNOWN = ("timeout", "owes", "terminated")


def _how(event: Event) -> str:
    if "retry" in event.data:
        return "retry"
    if event.kind is not EventKind.FAILED:
        return ""
    why = event.data.get("why")
    return "unknown" if why in _UNKNOWN else why if why in ("undone", EXPIRED) else ""


def _after_attempt(event: Event) -> dict[str, Any]:
    at = event.data.get("retry", event.at)
    return {"at": at, "sent": bool(event.data.get("sent")), "limit": 0}


def _via(run: Run, event: Event) -> str:
    """How the next message is to be sent: as was asked for last, as in Celery itself."""
    if "retry" not in event.data:
        return ""
    found: str = event.data.get("via", run.step(event.step).direction(event.phase).via)
    return found


#: What each kind changes.
ATTEMPT_EVENTS: dict[EventKind, Change] = {
    EventKind.DISPATCHED: _dispatched,
    EventKind.EXPANDED: _expanded,
    EventKind.OPENED: _opened,
    EventKind.CLAIMED: _claimed,
    EventKind.COMPLETED: _completed,
    EventKind.DEFERRED: _deferred,
    EventKind.KEPT: _kept,
    EventKind.FAILED: _failed,
    EventKind.POSTPONED: _postponed,
    EventKind.LOST: _lost,
    EventKind.LATE: _late,
    EventKind.BLOCKED: _blocked,
}
