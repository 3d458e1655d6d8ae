"""What an event does to a run: the table of legal moves, and the fold over a history.

Owns: the two tables (lanes of a step, run as a whole), `apply`, `fold`, and what can be read off
a run: which messages should be on their way (`due`), which seem lost (`overdue`), and when to look
again (`wake_at`).  Refuses to know: which command leads to which event (`transitions`), the clock,
the store and Celery.

An illegal move is a missing key, and raises `IllegalMove`: a bug, never an answer to a user.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.machine.events import Dispatch, Event, EventKind
from celeriac.machine.runs import (
    AT_REST,
    PhaseState,
    PhaseStatus,
    Run,
    RunStatus,
    StepState,
    changed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from celeriac.machine.plans import Node, Phase, Plan

# How far the patience for a message grows: the sweep waits for a message sent again and again up
# to 16 times the grace, so that a backlog is not answered with ever more messages.
_MOST_DOUBLINGS = 4
_DOUBLINGS_WHILE_BLOCKED = 2
_LONGEST_PATIENCE = 60_000
# A run that waits for nothing with a date (a step without a time limit is running) is looked at
# once an hour all the same.
PATROL = 3_600_000


class IllegalMove(AssertionError):
    """An event that cannot happen in this state: a bug in whoever made the event."""


_S, _E, _R = PhaseStatus, EventKind, RunStatus

#: (state of the lane, event, how it went) -> next state.  The forward direction.
DO_MOVES: dict[tuple[PhaseStatus, EventKind, str], PhaseStatus] = {
    (_S.SCHEDULED, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.RETRYING, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.SCHEDULED, _E.CLAIMED, ""): _S.RUNNING,
    (_S.RETRYING, _E.CLAIMED, ""): _S.RUNNING,
    (_S.RUNNING, _E.COMPLETED, ""): _S.DONE,
    (_S.RUNNING, _E.FAILED, "again"): _S.RETRYING,
    (_S.RUNNING, _E.FAILED, ""): _S.FAILED,
    (_S.RUNNING, _E.FAILED, "unknown"): _S.UNKNOWN,
    (_S.RUNNING, _E.LOST, "again"): _S.RETRYING,
    (_S.RUNNING, _E.LOST, ""): _S.UNKNOWN,
    # A lost attempt reports its success after all, and no newer attempt holds the step.
    (_S.SCHEDULED, _E.COMPLETED, "late"): _S.DONE,
    (_S.RETRYING, _E.COMPLETED, "late"): _S.DONE,
    (_S.UNKNOWN, _E.COMPLETED, "late"): _S.DONE,
    (_S.FAILED, _E.COMPLETED, "late"): _S.DONE,
    # The run turns round: what has not started never will.
    (_S.SCHEDULED, _E.COMPENSATION_STARTED, "untouched"): _S.IDLE,
    (_S.SCHEDULED, _E.COMPENSATION_STARTED, "maybe"): _S.UNKNOWN,
    (_S.SCHEDULED, _E.COMPENSATION_STARTED, "no effect"): _S.FAILED,
    (_S.RETRYING, _E.COMPENSATION_STARTED, "maybe"): _S.UNKNOWN,
    (_S.RETRYING, _E.COMPENSATION_STARTED, "no effect"): _S.FAILED,
    # An operator tries a step once more that gave up, and that the run did not turn round for.
    (_S.FAILED, _E.RETRIED, ""): _S.SCHEDULED,
    (_S.UNKNOWN, _E.RETRIED, ""): _S.SCHEDULED,
    # An operator says that it needs no (further) attempt.
    (_S.IDLE, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.SCHEDULED, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.RETRYING, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.FAILED, _E.SKIPPED, ""): _S.SKIPPED,
    (_S.UNKNOWN, _E.SKIPPED, ""): _S.SKIPPED,
}

#: The same for the compensation of a step.
UNDO_MOVES: dict[tuple[PhaseStatus, EventKind, str], PhaseStatus] = {
    (_S.SCHEDULED, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.RETRYING, _E.DISPATCHED, ""): _S.SCHEDULED,
    (_S.SCHEDULED, _E.CLAIMED, ""): _S.RUNNING,
    (_S.RETRYING, _E.CLAIMED, ""): _S.RUNNING,
    (_S.RUNNING, _E.COMPLETED, ""): _S.DONE,
    (_S.RUNNING, _E.COMPLETED, "once more"): _S.IDLE,
    (_S.RUNNING, _E.FAILED, "again"): _S.RETRYING,
    (_S.RUNNING, _E.FAILED, ""): _S.FAILED,
    (_S.RUNNING, _E.FAILED, "unknown"): _S.FAILED,
    (_S.RUNNING, _E.LOST, "again"): _S.RETRYING,
    (_S.RUNNING, _E.LOST, ""): _S.FAILED,
    (_S.SCHEDULED, _E.COMPLETED, "late"): _S.DONE,
    (_S.RETRYING, _E.COMPLETED, "late"): _S.DONE,
    (_S.FAILED, _E.COMPLETED, "late"): _S.DONE,
    # A late effect arrived: undo it once more, when its turn comes or the present undo has settled.
    (_S.IDLE, _E.REOPENED, ""): _S.IDLE,
    (_S.SCHEDULED, _E.REOPENED, ""): _S.SCHEDULED,
    (_S.RETRYING, _E.REOPENED, ""): _S.RETRYING,
    (_S.RUNNING, _E.REOPENED, ""): _S.RUNNING,
    (_S.DONE, _E.REOPENED, ""): _S.IDLE,
    (_S.WAIVED, _E.REOPENED, ""): _S.IDLE,
    (_S.FAILED, _E.REOPENED, ""): _S.FAILED,
    (_S.FAILED, _E.RETRIED, ""): _S.IDLE,
    (_S.FAILED, _E.WAIVED, ""): _S.WAIVED,
}

#: The states in which an undo has its turn; it may be taken from it, which makes it idle.
TURNS = (_S.SCHEDULED, _S.RETRYING)

#: (status of the run, event) -> the statuses it may lead to.  Events not listed leave it alone.
RUN_MOVES: dict[tuple[RunStatus | None, EventKind], tuple[RunStatus, ...]] = {
    (None, _E.STARTED): (_R.RUNNING,),
    (_R.COMPLETED, _E.STARTED): (_R.RUNNING,),
    (_R.COMPENSATED, _E.STARTED): (_R.RUNNING,),
    (_R.TERMINATED, _E.STARTED): (_R.RUNNING,),
    (_R.RUNNING, _E.COMPENSATION_STARTED): (_R.COMPENSATING,),
    (_R.COMPLETED, _E.COMPENSATION_STARTED): (_R.COMPENSATING,),
    (_R.RUNNING, _E.FINISHED): (_R.COMPLETED, _R.FAILED),
    (_R.COMPENSATING, _E.FINISHED): (_R.COMPENSATED, _R.FAILED),
    (_R.FAILED, _E.RETRIED): (_R.COMPENSATING, _R.RUNNING),
    (_R.COMPENSATING, _E.RETRIED): (_R.COMPENSATING,),
    (_R.FAILED, _E.WAIVED): (_R.COMPENSATING,),
    (_R.COMPENSATING, _E.WAIVED): (_R.COMPENSATING,),
    (_R.FAILED, _E.COMPLETED): (_R.COMPENSATING, _R.RUNNING),
    (_R.FAILED, _E.SKIPPED): (_R.RUNNING,),
    (_R.FAILED, _E.COMPENSATION_STARTED): (_R.COMPENSATING,),
    (_R.COMPENSATED, _E.REOPENED): (_R.COMPENSATING,),
    (_R.COMPENSATING, _E.REOPENED): (_R.COMPENSATING,),
    (_R.FAILED, _E.REOPENED): (_R.FAILED, _R.COMPENSATING),
    (_R.RUNNING, _E.TERMINATED): (_R.TERMINATED,),
    (_R.COMPENSATING, _E.TERMINATED): (_R.TERMINATED,),
    (_R.FAILED, _E.TERMINATED): (_R.TERMINATED,),
}


def fold(plan: Plan, run_id: str, events: Iterable[Event]) -> Run | None:
    """Return the run that *events* make of nothing."""
    run: Run | None = None
    for event in events:
        run = apply(plan, run_id, run, event)
    return run


def apply(plan: Plan, run_id: str, run: Run | None, event: Event) -> Run:
    """Return the run after *event*; raise IllegalMove if it cannot happen now."""
    if event.kind is EventKind.STARTED:
        run = _started(run_id, run, event)
    elif run is None:
        raise IllegalMove(f"{event.kind} before the run {run_id!r} was started")
    else:
        run = _APPLY[event.kind](plan, run, event)
    run = changed(run, version=run.version + 1, changed_at=event.at)
    return _schedule(plan, run, event)


# --- each kind of event ------------------------------------------------------------------------


def _started(run_id: str, old: Run | None, event: Event) -> Run:
    _check_run(old.status if old else None, event, RunStatus.RUNNING)
    data = dict(event.data)
    tags = tuple((str(k), str(v)) for k, v in data.pop("tags", ()))
    version = old.version if old else 0
    return Run(
        id=run_id, status=RunStatus.RUNNING, started_at=event.at, version=version, tags=tags, **data
    )


def _dispatched(_plan: Plan, run: Run, event: Event) -> Run:
    step = run.step(event.step)
    sends = step.lane(event.phase).sends + (event.data.get("why") == "unclaimed")
    if step.blocked:  # it arrives, but where nobody can run it: perhaps elsewhere somebody can
        sends = min(sends, _DOUBLINGS_WHILE_BLOCKED)
    return _move(run, event, at=event.at, sent=True, sends=sends)


def _claimed(plan: Plan, run: Run, event: Event) -> Run:
    limit = plan.by_name[event.step].limit(event.phase)
    lane = run.step(event.step).lane(event.phase)
    run = _move(
        run,
        event,
        attempt=event.attempt,
        holder=event.data["holder"],
        # It undoes the newest effect; what attempts before it did, settles nothing any more.
        again=False,
        base=lane.attempt if lane.again else lane.base,
        at=event.at,
        sent=False,
        sends=0,
        limit=event.at + limit + run.grace if limit else 0,
    )
    step = run.steps[event.step]
    order, started = step.order, run.started_steps
    if not order:
        order = started = started + 1
    return _put(changed(run, started_steps=started), event, changed(step, order=order, blocked=""))


def _completed(_plan: Plan, run: Run, event: Event) -> Run:
    late = bool(event.data.get("late"))
    lane = run.step(event.step).lane(event.phase)
    if event.phase == "undo" and not late and lane.again:
        # The effect came back while this undo ran: undo once more, with a budget of its own.
        return _move(run, event, "once more", again=False, base=lane.attempt, limit=0)
    if run.status is RunStatus.FAILED and turned(run):  # late: perhaps it is not owed any more
        run = _to(run, event, RunStatus.COMPENSATING, ended_at=0)
    elif run.status is RunStatus.FAILED and late:  # what an operator was asked for
        run = _on(run, event)
    known = (*lane.late, event.attempt) if late else lane.late
    return _move(run, event, "late" if late else "", at=event.at, sent=False, limit=0, late=known)


def _failed(plan: Plan, run: Run, event: Event) -> Run:
    run = _move(run, event, _how(event), **_after_attempt(event))
    step = run.steps[event.step]
    if event.phase == "do" and event.data.get("effect") is not False:
        run = _put(run, event, changed(step, maybe=True))
    return _quietened(plan, run, event) if event.data.get("why") == "timeout" else run


def _lost(plan: Plan, run: Run, event: Event) -> Run:
    # Without a holder, whatever this attempt still reports is a late report.
    run = _move(run, event, _how(event), holder="", **_after_attempt(event))
    if event.phase == "do":
        run = _put(run, event, changed(run.steps[event.step], maybe=True))
    return _quietened(plan, run, event)


def _quietened(plan: Plan, run: Run, event: Event) -> Run:
    """A step that was cut off may have a request on its way: nothing is undone until it landed.

    A barrier needs no such wait: what it has undone can take no effect any more.
    """
    if event.phase == "undo" or plan.by_name[event.step].effect == "barrier":
        return run
    return changed(run, quiet=max(run.quiet, event.at + run.grace))


def _how(event: Event) -> str:
    if "retry" in event.data:
        return "again"
    return "unknown" if event.data.get("why") == "timeout" and event.kind is _E.FAILED else ""


def _after_attempt(event: Event) -> dict[str, Any]:
    at = event.data.get("retry", event.at)
    return {"at": at, "sent": bool(event.data.get("sent")), "limit": 0}


def _late(plan: Plan, run: Run, event: Event) -> Run:
    step = run.step(event.step)
    lane = step.lane(event.phase)
    run = _put_lane(run, event, changed(lane, late=(*lane.late, event.attempt)))
    return _quietened(plan, run, event) if event.data.get("why") == "timeout" else run


def _blocked(_plan: Plan, run: Run, event: Event) -> Run:
    return _put(run, event, changed(run.step(event.step), blocked=event.data["why"]))


def _compensation_started(_plan: Plan, run: Run, event: Event) -> Run:
    run = _to(
        run,
        event,
        RunStatus.COMPENSATING,
        why=event.data["why"],
        culprit=event.data.get("culprit", ""),
        reason=event.data.get("reason", ""),
        ended_at=0,
        # Who cancels wants it undone; a run that turns round by itself stays in the hands it is in.
        paused=0 if event.data["why"] == "cancelled" else run.paused,
    )
    for name, step in run.steps.items():
        if step.do.state in (PhaseStatus.SCHEDULED, PhaseStatus.RETRYING):
            how = "maybe" if step.maybe else "no effect" if step.do.attempt else "untouched"
            halted = changed(
                step.do, state=_next(DO_MOVES, step.do.state, event, how), at=event.at, sent=False
            )
            run = _put(run, replace(event, step=name), changed(step, do=halted))
    return run


def _reopened(_plan: Plan, run: Run, event: Event) -> Run:
    step = run.steps[event.step]
    run = _put(run, event, changed(step, generation=step.generation + 1))
    lane = step.undo
    if lane.state is PhaseStatus.RUNNING:
        return _move(run, event, again=True)
    if lane.state in (PhaseStatus.DONE, PhaseStatus.WAIVED):
        run = _to(run, event, RunStatus.COMPENSATING, ended_at=0)
    # A new budget; and attempts made until now undid an older effect: they settle nothing any more.
    return _move(run, event, base=lane.attempt)


def _retried(_plan: Plan, run: Run, event: Event) -> Run:
    if event.phase == "undo":
        run = _to(run, event, RunStatus.COMPENSATING, ended_at=0)
    else:
        run = _on(run, event)
    lane = run.step(event.step).lane(event.phase)
    return _move(run, event, base=lane.attempt, at=event.at, sent=event.phase == "do", sends=0)


def _waived(_plan: Plan, run: Run, event: Event) -> Run:
    run = _to(run, event, RunStatus.COMPENSATING, ended_at=0)
    return _move(run, event, at=event.at, sent=False)


def _skipped(_plan: Plan, run: Run, event: Event) -> Run:
    if run.status is RunStatus.FAILED:
        run = _on(run, event)
    return _move(run, event, at=event.at, sent=False)


def _on(run: Run, event: Event) -> Run:
    """The run goes on where it had stopped for an operator; the wait does not count as time."""
    later = _later(run.deadline, event.at - run.ended_at)
    return _to(run, event, RunStatus.RUNNING, ended_at=0, culprit="", deadline=later)


def _later(deadline: int | None, waited: int) -> int | None:
    return deadline + max(0, waited) if deadline else None


def _paused(_plan: Plan, run: Run, event: Event) -> Run:
    return changed(run, paused=event.at)


def _resumed(_plan: Plan, run: Run, event: Event) -> Run:
    """What was due is sent anew, and the deadline is not told of the pause."""
    run = changed(run, paused=0, deadline=_later(run.deadline, event.at - run.paused))
    for name, phase, lane in list(waiting_lanes(run)):
        if lane.sent:
            anew = changed(lane, at=max(lane.at, event.at), sends=0)
            run = _put_lane(run, replace(event, step=name, phase=phase), anew)
    return run


def _extended(_plan: Plan, run: Run, event: Event) -> Run:
    return changed(run, deadline=event.data["deadline"], credited=event.data["credited"])


def _overdue(_plan: Plan, run: Run, _event: Event) -> Run:
    return changed(run, overdue=True)


def _terminated(_plan: Plan, run: Run, event: Event) -> Run:
    reason = event.data.get("reason", "")
    return _to(run, event, RunStatus.TERMINATED, reason=reason, ended_at=event.at, paused=0)


def _finished(_plan: Plan, run: Run, event: Event) -> Run:
    status = RunStatus(event.data["outcome"])
    culprit = event.data.get("culprit", run.culprit)
    # A hand on the run has nothing to hold any more: whoever has it go on, has it go on.
    return _to(run, event, status, culprit=culprit, ended_at=event.at, paused=0)


_APPLY: dict[EventKind, Callable[[Plan, Run, Event], Run]] = {
    EventKind.DISPATCHED: _dispatched,
    EventKind.CLAIMED: _claimed,
    EventKind.COMPLETED: _completed,
    EventKind.FAILED: _failed,
    EventKind.LOST: _lost,
    EventKind.LATE: _late,
    EventKind.BLOCKED: _blocked,
    EventKind.COMPENSATION_STARTED: _compensation_started,
    EventKind.REOPENED: _reopened,
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
    lane = run.step(event.step).lane(event.phase)
    table = DO_MOVES if event.phase == "do" else UNDO_MOVES
    return _put_lane(
        run, event, changed(lane, state=_next(table, lane.state, event, how), **changes)
    )


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
    return changed(run, status=status, **changes)


def _check_run(status: RunStatus | None, event: Event, to: RunStatus) -> None:
    if to not in RUN_MOVES.get((status, event.kind), ()):
        raise IllegalMove(f"{event.kind} -> {to} while the run is {status}")


def _put_lane(run: Run, event: Event, lane: PhaseState) -> Run:
    step = run.step(event.step)
    return _put(
        run, event, changed(step, do=lane) if event.phase == "do" else changed(step, undo=lane)
    )


def _put(run: Run, event: Event, step: StepState) -> Run:
    return changed(run, steps={**run.steps, event.step: step})


# --- what comes next ---------------------------------------------------------------------------


def _schedule(plan: Plan, run: Run, event: Event) -> Run:
    """Schedule what *event* made possible: the next steps, or the next compensations."""
    if run.status is RunStatus.RUNNING:
        if event.kind in (EventKind.STARTED, EventKind.RETRIED):
            ready = [node for node in plan.nodes if _is_ready(plan, run, node)]
        elif event.kind in (EventKind.COMPLETED, EventKind.SKIPPED):
            ready = [
                node for node in _following(plan, run, event.step) if _is_ready(plan, run, node)
            ]
        else:
            return run
        lane = PhaseState(PhaseStatus.SCHEDULED, at=event.at, sent=True)
        fresh = {node.name: changed(run.step(node.name), do=lane) for node in ready}
        return changed(run, steps={**run.steps, **fresh}) if fresh else run
    if run.status is RunStatus.COMPENSATING:
        return _schedule_undo(plan, run, event)
    return run


def _following(plan: Plan, run: Run, name: str) -> Iterator[Node]:
    """The steps that wait for this one, or for one that does and was skipped beforehand."""
    for node in plan.followers[name]:
        if run.step(node.name).do.state is PhaseStatus.SKIPPED:
            yield from _following(plan, run, node.name)
        else:
            yield node


def _is_ready(plan: Plan, run: Run, node: Node) -> bool:
    idle = run.step(node.name).do.state is PhaseStatus.IDLE
    return idle and all(passed(plan, run, name) for name in node.after)


def passed(plan: Plan, run: Run, name: str) -> bool:
    """True if what waits for a step need wait no longer: it is done, or was skipped in its turn."""
    state = run.step(name).do.state
    if state is not PhaseStatus.SKIPPED:
        return state is PhaseStatus.DONE
    return all(passed(plan, run, each) for each in plan.by_name[name].after)


def _schedule_undo(plan: Plan, run: Run, event: Event) -> Run:
    at = max(event.at, run.quiet)
    turn = undo_turn(plan, run)
    steps: dict[str, StepState] = {}
    for name in turn:
        step = run.steps[name]
        if step.undo.state is PhaseStatus.IDLE:
            sent = at <= event.at
            lane = changed(step.undo, state=PhaseStatus.SCHEDULED, at=at, sent=sent, sends=0)
            steps[name] = changed(step, undo=lane)
    for name, step in run.steps.items():
        # A step that comes before it has to be undone (once more): its turn is over (I8).
        if step.undo.state in TURNS and name not in turn:
            steps[name] = changed(step, undo=changed(step.undo, state=PhaseStatus.IDLE, sent=False))
    return changed(run, steps={**run.steps, **steps}) if steps else run


def live_forward(run: Run) -> bool:
    """True while a forward attempt may still be at work: nothing is undone beside it (I7)."""
    return any(step.do.state is PhaseStatus.RUNNING for step in run.steps.values())


def to_undo(plan: Plan, run: Run) -> list[str]:
    """The steps that need undoing and are not settled yet, in the order of the saga."""
    settled = (PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.WAIVED)
    names = [
        name
        for name, step in run.steps.items()
        if plan.by_name[name].undo
        and (step.maybe or step.do.state is PhaseStatus.DONE)
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
    return names if plan.compensation_order == "parallel" else names[:1]


def past_pivot(plan: Plan, run: Run) -> bool:
    """True once the run may only go forward."""
    return plan.pivot is not None and passed(plan, run, plan.pivot)


def turned(run: Run) -> bool:
    """True once the run has turned round, for good: what it did is being undone, or was."""
    return run.why != ""


def outcome(plan: Plan, run: Run) -> RunStatus | None:
    """The status in which the run comes to rest now; None if there is still something to do."""
    if run.status is RunStatus.RUNNING:
        return RunStatus.COMPLETED if all(_is_over(run, node) for node in plan.nodes) else None
    if run.status is RunStatus.COMPENSATING and not live_forward(run) and not to_undo(plan, run):
        owed = any(step.undo.state is PhaseStatus.FAILED for step in run.steps.values())
        return RunStatus.FAILED if owed else RunStatus.COMPENSATED
    return None


def _is_over(run: Run, node: Node) -> bool:
    return run.step(node.name).do.state in (PhaseStatus.DONE, PhaseStatus.SKIPPED)


# --- reading a run -----------------------------------------------------------------------------


def due(run: Run) -> set[Dispatch]:
    """The messages that should be on their way now."""
    return {
        Dispatch(name, phase, lane.attempt + 1, lane.at)
        for name, phase, lane in waiting_lanes(run)
        if lane.sent
    }


def overdue(run: Run, now: int) -> list[Dispatch]:
    """The messages that should have arrived by now: lost, or waiting in a queue."""
    return [
        Dispatch(name, phase, lane.attempt + 1, lane.at)
        for name, phase, lane in waiting_lanes(run)
        if lane.sent and now >= lane.at + redispatch_delay(run, lane)
    ]


def redispatch_delay(run: Run, lane: PhaseState) -> int:
    """Milliseconds a message may be on its way; longer each time it was sent again."""
    doubled = run.grace << min(lane.sends, _MOST_DOUBLINGS)
    return min(doubled, max(run.grace, _LONGEST_PATIENCE))


def wake_at(run: Run) -> int | None:
    """When somebody must look at the run, in ms; None at rest.

    Leases have entries of their own in the wake index and are not considered here.
    """
    return None if run.status in AT_REST else min(dates(run), default=run.changed_at + PATROL)


def dates(run: Run) -> list[int]:
    """When there will be something to see to, in ms: limits, retries, messages, the deadline."""
    if run.status in AT_REST:
        return []
    lanes = [lane for step in run.steps.values() for lane in (step.do, step.undo)]
    times = [lane.limit for lane in lanes if lane.limit]
    times += [
        lane.at + redispatch_delay(run, lane) if lane.sent else lane.at
        for _, _, lane in waiting_lanes(run)
    ]
    if run.deadline and run.status is RunStatus.RUNNING and not (run.overdue or run.paused):
        times.append(run.deadline)
    return times


def waiting_lanes(run: Run) -> Iterator[tuple[str, Phase, PhaseState]]:
    """The lanes whose next attempt may be taken, now or later."""
    if run.status in AT_REST or run.paused:
        return
    phase: Phase = "do" if run.status is RunStatus.RUNNING else "undo"
    for name, step in run.steps.items():
        lane = step.lane(phase)
        if lane.state in (PhaseStatus.SCHEDULED, PhaseStatus.RETRYING):
            yield name, phase, lane
