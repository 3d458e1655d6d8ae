"""What an event does to a run: the fold over a history.

Owns: `apply`, `fold`, and what each kind of event changes.  Refuses to know: which moves are legal
(`tables`), what comes next (`next_steps`), which command leads to which event (`transitions`), the
clock, the store and Celery.

The file is long because it is a table of all kinds of events, each with its few lines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.machine.conditions import turned
from celeriac.machine.events import Event, EventKind
from celeriac.machine.next_steps import schedule
from celeriac.machine.numbering import Instances, instance_of
from celeriac.machine.runs import Received, Run, RunStatus
from celeriac.machine.step_states import Steps
from celeriac.machine.steps import WAITS, Parent, PhaseState, PhaseStatus, StepState, changed
from celeriac.machine.tables import DO_MOVES, NO_RESULT, RUN_MOVES, UNDO_MOVES, VOID, IllegalMove
from celeriac.machine.timing import DOUBLINGS_WHILE_BLOCKED, waiting_directions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celeriac.machine.plans import Plan


#: Who took the signals that nobody had taken when the id was started anew: no name of a step.
_GONE = "~"


def fold(plan: Plan, run_id: str, events: Iterable[Event]) -> Run | None:
    """Return the run that *events* make of nothing."""
    run: Run | None = None
    for event in events:
        run = apply(plan, run_id, run, event)
    return run


def apply(plan: Plan, run_id: str, run: Run | None, event: Event) -> Run:
    """Return the run after *event*; raise IllegalMove if it cannot happen now."""
    if run is not None and event.data.get("try"):
        return _in_earlier_try(plan, run, event)
    rested = run is not None and run.status.at_rest
    version = event.data.get("version", run.version + 1) if run else 1
    if event.kind is EventKind.STARTED:
        run = _started(run_id, run, event)
    elif run is None:
        raise IllegalMove(f"{event.kind} before the run {run_id!r} was started")
    else:
        run = _APPLY[event.kind](plan, run, event)
    series = _series(run.series, event)
    run = changed(run, version=version, changed_at=event.at, series=series)
    return schedule(plan, run, event, goes_on=rested and not run.status.at_rest)


def _in_earlier_try(plan: Plan, run: Run, event: Event) -> Run:
    """What happens in an earlier try happens as in a run of its own, inside of this one."""
    epoch = event.data["try"]
    data = {name: value for name, value in event.data.items() if name != "try"}
    inside = replace(event, data=data)
    earlier = tuple(
        apply(plan, run.id, each, inside) if each.epoch == epoch else each for each in run.earlier
    )
    if run.status.at_rest and any(not each.status.at_rest for each in earlier):
        if run.status is RunStatus.FAILED and not turned(run):
            run = _on(plan, run, event)
        else:
            goes_back = RunStatus.COMPENSATING if turned(run) else RunStatus.RUNNING
            run = _to(run, event, goes_back, ended_at=0)
    version, at = run.version + 1, event.at
    return changed(run, earlier=earlier, version=version, changed_at=at, series=())


def _series(
    series: tuple[str, int, int, int] | tuple[()], event: Event
) -> tuple[str, int, int, int] | tuple[()]:
    """How the history ends, if it does with a step that was postponed; see `Run.series`."""
    if event.kind is EventKind.POSTPONED:
        return (event.step, 1, event.data.get("count", 1), event.data.get("since", event.at))
    again = event.kind in (EventKind.DISPATCHED, EventKind.CLAIMED) and event.phase == "do"
    if not (series and again and series[0] == event.step):
        return ()
    name, events, count, since = series
    return (name, events + 1, count, since)


# --- each kind of event ------------------------------------------------------------------------


def _started(run_id: str, old: Run | None, event: Event) -> Run:
    _check_run(old.status if old else None, event, RunStatus.RUNNING)
    # Why and by whom a run was forked is for people.
    data = {name: each for name, each in event.data.items() if name not in ("reason", "by")}
    tags = tuple((str(k), str(v)) for k, v in data.pop("tags", ()))
    parent = data.pop("parent", None)
    version = old.version if old else 0
    known = old.signals if old else ()
    return Run(
        id=run_id,
        status=RunStatus.RUNNING,
        started_at=event.at,
        version=version,
        tags=tags,
        parent=Parent(*parent) if parent else None,
        # An id counts once, also over a new start; what nobody took is gone with its payload.
        signals=tuple(each._replace(taken_by=each.taken_by or _GONE) for each in known),
        **data,
    )


def _dispatched(_plan: Plan, run: Run, event: Event) -> Run:
    again = event.data.get("again")
    if again is None:  # sent for the first time, or an event of version 0.1.0
        step = run.step(event.step)
        again = step.direction(event.phase).sends + (event.data.get("why") == "unclaimed")
        again = min(again, DOUBLINGS_WHILE_BLOCKED) if step.blocked else again
    return _move(run, event, at=event.at, sent=True, sends=again)


def _expanded(plan: Plan, run: Run, event: Event) -> Run:
    made = plan.by_name[event.step].map
    assert made is not None  # or there is no such event
    nodes = tuple(node.name for node in made.nodes)
    run = _move(run, event, attempt=event.attempt, at=event.at, sent=False, sends=0)
    counted = Instances[StepState](nodes, event.data["count"])
    return changed(run, steps=run.steps.with_map(event.step, counted))


def _claimed(plan: Plan, run: Run, event: Event) -> Run:
    limit = plan.node(event.step).limit(event.phase)
    step = run.step(event.step)
    direction = step.direction(event.phase)
    direction = _moved(
        direction,
        event,
        attempt=event.attempt,
        holder=event.data["holder"],
        # It undoes the newest effect; what attempts before it did, settles nothing any more.
        recompensate=False,
        attempts_before_budget=direction.attempt
        if direction.recompensate
        else direction.attempts_before_budget,
        at=event.at,
        sent=False,
        sends=0,
        limit=event.at + limit + run.grace if limit else 0,
        begun=_begun(plan, direction, event),
        too_many=False,
        child=event.data.get("child", 0),
        kept=(),
    )
    placed = step.order or event.phase == "undo"
    run, order = (run, step.order) if placed else _in_order(run, event.step)
    return _put(run, event, changed(step, **{event.phase: direction}, order=order, blocked=""))


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
    limited = event.phase == "do" and plan.node(event.step).give_up_after is not None
    return direction.begun or (event.at if limited else 0)


def _completed(plan: Plan, run: Run, event: Event) -> Run:
    late = bool(event.data.get("late"))
    direction = run.step(event.step).direction(event.phase)
    if event.phase == "undo" and not late and direction.recompensate:
        # The effect came back while this undo ran: undo once more, with a budget of its own.
        return _move(
            run,
            event,
            "once more",
            recompensate=False,
            attempts_before_budget=direction.attempt,
            limit=0,
        )
    if run.status is RunStatus.FAILED and turned(run):  # late: perhaps it is not owed any more
        run = _to(run, event, RunStatus.COMPENSATING, ended_at=0)
    elif run.status is RunStatus.FAILED and late:  # what an operator was asked for
        run = _on(plan, run, event)
    known = (*direction.late, event.attempt) if late else direction.late
    over: dict[str, Any] = {"at": event.at, "sent": False, "limit": 0, "via": "", "signal": ""}
    over |= _outside(direction, event)
    run = _move(run, event, "late" if late else "", late=known, **over)
    run = _delay_compensation(plan, run, event) if event.data.get("cut_off") else run
    if event.data.get("ends") and run.status is RunStatus.RUNNING:
        run = changed(run, ended_by=event.step)
    return _taken(_chosen(run, event), event)


def _chosen(run: Run, event: Event) -> Run:
    """Note what a step answered, if others are guarded by that."""
    choice = event.data.get("choice")
    return _put(run, event, changed(run.steps[event.step], choice=choice)) if choice else run


def _taken(run: Run, event: Event) -> Run:
    """Note which signal a wait took, if it ended by one."""
    key = event.data.get("key")
    if not key:
        return run
    by = event.step
    found = [each._replace(taken_by=by) if each.key == key else each for each in run.signals]
    return changed(run, signals=tuple(found))


def _signalled(_plan: Plan, run: Run, event: Event) -> Run:
    received = Received(event.data["key"], event.data["signal"])
    return changed(run, signals=(*run.signals, received))


def _deferred(_plan: Plan, run: Run, event: Event) -> Run:
    return _move(run, event, at=event.at, limit=event.data["until"], credited=0)


def _kept(_plan: Plan, run: Run, event: Event) -> Run:
    said = event.data
    again = bool(said.get("retryable"))
    told = (said.get("error", ""), said.get("code", ""), said.get("effect"), again)
    return _move(run, event, kept=(said["outcome"], *told))


def _outside(direction: PhaseState, event: Event) -> dict[str, Any]:
    """What is noted of an attempt that ended by what was said outside."""
    found: dict[str, Any] = {}
    if event.data.get("outside") and not event.data.get("late"):  # the first word counts
        found["kept"] = direction.kept or (event.kind.value, "", "", None, False)
    if event.data.get("lost"):  # whatever its worker still reports is a late report
        found["holder"] = ""
    return found


def _failed(plan: Plan, run: Run, event: Event) -> Run:
    if plan.node(event.step).map:
        return _move(run, event, "not counted", attempt=event.attempt, **_after_attempt(event))
    if event.data.get("why") == "undone" and run.status is RunStatus.FAILED:
        run = _on(plan, run, event)  # what an operator was asked for
    ended = _outside(run.step(event.step).direction(event.phase), event)
    ended |= {**_after_attempt(event), "via": _via(run, event)}
    run = _move(run, event, _how(event), **ended)
    step = run.steps[event.step]
    if event.phase == "do" and event.data.get("effect") is not False:
        run = _put(run, event, changed(step, may_have_effect=True))
    if event.data.get("final"):
        run = changed(run, final=True)
    cut_off = event.data.get("why") == "timeout" or event.data.get("cut_off")
    return _delay_compensation(plan, run, event) if cut_off else run


def _postponed(_plan: Plan, run: Run, event: Event) -> Run:
    """The attempt is given back; what is said of several in a row, is said of the newest."""
    direction, data = run.step(event.step).do, event.data
    run = _move(
        run,
        event,
        attempt=event.attempt,
        holder=data.get("holder", direction.holder),
        given_back=data.get("given_back", direction.given_back + 1),
        **_after_attempt(event),
    )
    step = run.steps[event.step]
    had = step.may_have_effect or data.get("effect") is not False
    return _put(run, event, changed(step, may_have_effect=had))


def _lost(plan: Plan, run: Run, event: Event) -> Run:
    # Without a holder, whatever this attempt still reports is a late report.
    run = _move(run, event, _how(event), holder="", **_after_attempt(event))
    if event.phase == "do":
        run = _put(run, event, changed(run.steps[event.step], may_have_effect=True))
    if event.data.get("why") in (NO_RESULT, VOID):
        return run  # its body has ended: nothing of ours is on its way
    return _delay_compensation(plan, run, event)


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
    return "unknown" if why in _UNKNOWN else "undone" if why == "undone" else ""


def _after_attempt(event: Event) -> dict[str, Any]:
    at = event.data.get("retry", event.at)
    return {"at": at, "sent": bool(event.data.get("sent")), "limit": 0}


def _via(run: Run, event: Event) -> str:
    """How the next message is to be sent: as was asked for last, as in Celery itself."""
    if "retry" not in event.data:
        return ""
    found: str = event.data.get("via", run.step(event.step).direction(event.phase).via)
    return found


def _late(plan: Plan, run: Run, event: Event) -> Run:
    step = run.step(event.step)
    direction = step.direction(event.phase)
    run = _put_direction(run, event, changed(direction, late=(*direction.late, event.attempt)))
    return _delay_compensation(plan, run, event) if event.data.get("why") == "timeout" else run


def _blocked(_plan: Plan, run: Run, event: Event) -> Run:
    return _put(run, event, changed(run.step(event.step), blocked=event.data.get("why", "")))


def _compensation_started(_plan: Plan, run: Run, event: Event) -> Run:
    run = _to(
        run,
        event,
        RunStatus.COMPENSATING,
        why=event.data["why"],
        failed_step=event.data.get("culprit", ""),
        reason=event.data.get("reason", ""),
        ended_at=0,
        # Who cancels wants it undone now; a paused run that turns round by itself stays paused.
        paused=0 if event.data["why"] == "cancelled" else run.paused,
    )
    for name, step in run.steps.open.items():
        at_step = replace(event, step=name)
        if step.do.state.claimable:
            run = _move(run, at_step, _effect_so_far(step), at=event.at, sent=False)
        elif step.do.state is PhaseStatus.OPEN:
            run = _move(run, at_step, "a wait", at=event.at, limit=0)
        elif step.do.state is PhaseStatus.DEFERRED:  # whatever still comes is a late report
            run = _give_away(_move(run, at_step, "may have effect", at=event.at, limit=0), at_step)
    return run


def _give_away(run: Run, event: Event) -> Run:
    """Somebody outside was asked, and nobody waits for the result any more."""
    step = run.steps[event.step]
    without = changed(step, do=changed(step.do, holder=""), may_have_effect=True)
    return _put(run, event, without)


def _effect_so_far(step: StepState) -> str:
    if step.may_have_effect:
        return "may have effect"
    return "no effect" if step.do.attempt else "untouched"


def _reopened(_plan: Plan, run: Run, event: Event) -> Run:
    step = run.step(event.step)
    run = _put(run, event, changed(step, generation=step.generation + 1))
    direction = step.undo
    if direction.state is PhaseStatus.RUNNING:
        return _move(run, event, recompensate=True)
    rests = run.status is RunStatus.COMPENSATED
    if rests or direction.state in (PhaseStatus.DONE, PhaseStatus.WAIVED):
        run = _to(run, event, RunStatus.COMPENSATING, ended_at=0)
    # A new budget; and attempts made until now undid an older effect: they settle nothing any more.
    return _move(run, event, attempts_before_budget=direction.attempt)


def _try_ended(_plan: Plan, run: Run, event: Event) -> Run:
    return _to(run, event, RunStatus.WAITING, begins_at=event.data["until"])


def _began_anew(_plan: Plan, run: Run, event: Event) -> Run:
    """All steps are as if they had never been touched, under keys of their own."""
    known = (*run.earlier, _over(run)) if _may_report(run) else run.earlier
    return _to(
        run,
        event,
        RunStatus.RUNNING,
        epoch=run.epoch + 1,
        tries=run.tries + 1,
        started_steps=0,
        compensate_not_before=0,
        why="",
        failed_step="",
        reason="",
        final=False,
        earlier=known,
        steps=Steps(),
    )


def _may_report(run: Run) -> bool:
    """True if an attempt was given up that may still report, and so come to light."""
    return any(
        step.do.attempt > 1 or (step.do.attempt and not step.do.holder)
        for step in run.steps.values()
    )


def _over(run: Run) -> Run:
    """A try that has ended, as it is kept."""
    kept = changed(run, status=RunStatus.COMPENSATED, ended_at=run.changed_at, begins_at=0)
    return changed(kept, earlier=(), signals=(), digest="", starter="", paused=0, parent=None)


def _retried(plan: Plan, run: Run, event: Event) -> Run:
    if event.phase == "undo":
        run = _to(run, event, RunStatus.COMPENSATING, ended_at=0)
    elif run.status is RunStatus.FAILED:
        run = _on(plan, run, event)
    direction = run.step(event.step).direction(event.phase)
    wait = plan.node(event.step).wait
    if wait is not None:  # it waits anew, for as long; its first budget is used up
        limit = wait.ends_at(event.at)
        return _move(run, event, "a wait", at=event.at, limit=limit, attempts_before_budget=1)
    return _move(
        run,
        event,
        attempts_before_budget=direction.attempt,
        given_back=0,
        begun=0,
        at=event.at,
        sent=event.phase == "do",
        sends=0,
        via="",
    )


def _waived(plan: Plan, run: Run, event: Event) -> Run:
    if event.phase == "do":  # a confirm: the run goes on behind it
        return _move(_on(plan, run, event), event, at=event.at, sent=False)
    run = _to(run, event, RunStatus.COMPENSATING, ended_at=0)
    return _move(run, event, at=event.at, sent=False)


def _skipped(plan: Plan, run: Run, event: Event) -> Run:
    if event.attempt:  # the step itself says so
        return _move(run, event, "itself", at=event.at, sent=False, limit=0)
    if run.status is RunStatus.FAILED:
        run = _on(plan, run, event)
    asked = run.step(event.step).do.state is PhaseStatus.DEFERRED
    run = _move(run, event, at=event.at, sent=False, limit=0)
    return _chosen(_give_away(run, event) if asked else run, event)


def _inherited(_plan: Plan, run: Run, event: Event) -> Run:
    run = _move(run, event, at=event.at, sent=False, limit=0)
    return _chosen(_put(run, event, changed(run.steps[event.step], inherited=True)), event)


def _on(plan: Plan, run: Run, event: Event) -> Run:
    """The run goes on where it stopped for an operator; the wait does not count as time."""
    later = _later(run.deadline, event.at - run.ended_at)
    run = _waits_longer(plan, run, event, event.at - run.ended_at)
    return _to(run, event, RunStatus.RUNNING, ended_at=0, failed_step="", deadline=later)


def _later(deadline: int | None, waited: int) -> int | None:
    return deadline + max(0, waited) if deadline else None


def _paused(_plan: Plan, run: Run, event: Event) -> Run:
    return changed(run, paused=event.at)


def _waits_longer(plan: Plan, run: Run, event: Event, stood: int) -> Run:
    """Time for which the run stood still does not count towards waits; dates are dates."""
    for name, step in run.steps.open.items():
        direction, wait = step.do, plan.node(name).wait
        if direction.state in WAITS and direction.limit and not (wait and wait.until):
            later = changed(
                direction, at=direction.at + max(0, stood), limit=direction.limit + max(0, stood)
            )
            run = _put_direction(run, replace(event, step=name, phase="do"), later)
    return run


def _resumed(plan: Plan, run: Run, event: Event) -> Run:
    """What was due is sent anew; paused time does not count towards the deadline and waits."""
    run = _waits_longer(plan, run, event, event.at - run.paused)
    run = changed(run, paused=0, deadline=_later(run.deadline, event.at - run.paused))
    for name, phase, direction in waiting_directions(run):
        if direction.sent:
            anew = changed(direction, at=max(direction.at, event.at), sends=0)
            run = _put_direction(run, replace(event, step=name, phase=phase), anew)
    return run


def _extended(_plan: Plan, run: Run, event: Event) -> Run:
    if event.step:
        direction, total = run.step(event.step).do, event.data["credited"]
        limit = direction.limit + total - direction.credited
        return _put_direction(run, event, changed(direction, limit=limit, credited=total))
    return changed(run, deadline=event.data["deadline"], credited=event.data["credited"])


def _overdue(_plan: Plan, run: Run, _event: Event) -> Run:
    return changed(run, overdue=True)


def _terminated(_plan: Plan, run: Run, event: Event) -> Run:
    reason = event.data.get("reason", "")
    return _to(
        run,
        event,
        RunStatus.TERMINATED,
        reason=reason,
        ended_at=event.at,
        paused=0,
        untold=run.parent is not None,
    )


def _finished(_plan: Plan, run: Run, event: Event) -> Run:
    status = RunStatus(event.data["outcome"])
    failed_step = event.data.get("culprit", run.failed_step)
    # A finished run cannot stay paused: whoever lets it go on later means it to go on.
    untold = run.parent is not None
    return _to(
        run,
        event,
        status,
        failed_step=failed_step,
        ended_at=event.at,
        paused=0,
        untold=untold,
    )


def _reported(_plan: Plan, run: Run, _event: Event) -> Run:
    return changed(run, untold=False)


_APPLY: dict[EventKind, Callable[[Plan, Run, Event], Run]] = {
    EventKind.INHERITED: _inherited,
    EventKind.DISPATCHED: _dispatched,
    EventKind.EXPANDED: _expanded,
    EventKind.CLAIMED: _claimed,
    EventKind.COMPLETED: _completed,
    EventKind.FAILED: _failed,
    EventKind.POSTPONED: _postponed,
    EventKind.DEFERRED: _deferred,
    EventKind.KEPT: _kept,
    EventKind.LOST: _lost,
    EventKind.LATE: _late,
    EventKind.BLOCKED: _blocked,
    EventKind.COMPENSATION_STARTED: _compensation_started,
    EventKind.REOPENED: _reopened,
    EventKind.TRY_ENDED: _try_ended,
    EventKind.BEGAN_ANEW: _began_anew,
    EventKind.SIGNALLED: _signalled,
    EventKind.REPORTED: _reported,
    EventKind.RETRIED: _retried,
    EventKind.WAIVED: _waived,
    EventKind.SKIPPED: _skipped,
    EventKind.PAUSED: _paused,
    EventKind.RESUMED: _resumed,
    EventKind.EXTENDED: _extended,
    EventKind.OVERDUE: _overdue,
    EventKind.TERMINATED: _terminated,
    EventKind.FINISHED: _finished,
}


# --- moving ------------------------------------------------------------------------------------


def _move(run: Run, event: Event, how: str = "", **changes: Any) -> Run:
    step = run.step(event.step)
    direction = _moved(step.direction(event.phase), event, how, **changes)
    return _put(run, event, changed(step, **{event.phase: direction}))


def _moved(direction: PhaseState, event: Event, how: str = "", **changes: Any) -> PhaseState:
    table = DO_MOVES if event.phase == "do" else UNDO_MOVES
    return changed(direction, state=_next(table, direction.state, event, how), **changes)


def _next(
    table: dict[tuple[PhaseStatus, EventKind, str], PhaseStatus],
    state: PhaseStatus,
    event: Event,
    how: str,
) -> PhaseStatus:
    try:
        return table[state, event.kind, how]
    except KeyError:
        raise IllegalMove(
            f"{event.phase} {event.step!r}: {event.kind} ({how or '-'}) while {state}"
        ) from None


def _to(run: Run, event: Event, status: RunStatus, **changes: Any) -> Run:
    _check_run(run.status, event, status)
    if not status.at_rest and run.untold:
        changes["untold"] = False  # it tells its parent when it comes to rest anew
    return changed(run, status=status, **{"begins_at": 0, **changes})


def _check_run(status: RunStatus | None, event: Event, to: RunStatus) -> None:
    if to not in RUN_MOVES.get((status, event.kind), ()):
        raise IllegalMove(f"{event.kind} -> {to} while the run is {status}")


def _put_direction(run: Run, event: Event, direction: PhaseState) -> Run:
    return _put(run, event, changed(run.step(event.step), **{event.phase: direction}))


def _put(run: Run, event: Event, step: StepState, **changes: Any) -> Run:
    return changed(run, steps=run.steps.put({event.step: step}), **changes)
