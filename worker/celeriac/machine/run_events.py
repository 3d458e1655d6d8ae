"""What the events of a run change: how it starts, turns round, goes on again and ends.

Owns: `RUN_EVENTS`, and `started`, the only event that there is before a run.  Refuses to know:
when such an event happens, and what a single attempt does (`attempt_events`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.machine.conditions import REWOUND
from celeriac.machine.events import Event, EventKind
from celeriac.machine.received import Received
from celeriac.machine.rewinding import standing
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.standstill import later_deadline
from celeriac.machine.state_changes import (
    check_run,
    give_away,
    move_run,
    move_step,
    note_choice,
    put_step,
)
from celeriac.machine.step_states import Steps
from celeriac.machine.steps import Parent, PhaseStatus, StepState, changed
from celeriac.machine.tries import epoch_of

if TYPE_CHECKING:
    from celeriac.machine.plans import Plan
    from celeriac.machine.state_changes import Change

#: Who took the signals that nobody had taken when the id was started anew: no name of a step.
_GONE = "~"


def started(run_id: str, old: Run | None, event: Event) -> Run:
    """Return the run as it is when it starts, also anew under the id of *old*."""
    check_run(old.status if old else None, event, RunStatus.RUNNING)
    # Why a run was forked is for people.
    data = {name: each for name, each in event.data.items() if name != "reason"}
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
        started_by=data.pop("by", ""),
        # An id counts once, also over a new start; what nobody took is gone with its payload.
        signals=tuple(each._replace(taken_by=each.taken_by or _GONE) for each in known),
        **data,
    )


def _inherited(_plan: Plan, run: Run, event: Event) -> Run:
    run = move_step(run, event, at=event.at, sent=False, limit=0)
    return note_choice(put_step(run, event, changed(run.steps[event.step], inherited=True)), event)


def _signalled(_plan: Plan, run: Run, event: Event) -> Run:
    received = Received(event.data["key"], event.data["signal"])
    return changed(run, signals=(*run.signals, received))


def _tagged(_plan: Plan, run: Run, event: Event) -> Run:
    known = {**dict(run.tags), **dict(event.data["tags"])}
    return changed(run, tags=tuple(sorted(known.items())))


def _compensation_started(_plan: Plan, run: Run, event: Event) -> Run:
    run = move_run(
        run,
        event,
        RunStatus.COMPENSATING,
        why=event.data["why"],
        failed_step=event.data.get("culprit", ""),
        reason=event.data.get("reason", ""),
        ended_at=0,
        # Who cancels wants it undone now; a paused run that turns round by itself stays paused.
        paused=0 if event.data["why"] in ("cancelled", REWOUND) else run.paused,
        rewinds_to=event.data.get("to", ""),
        rewound_by=event.data.get("nonce", run.rewound_by),
        deadline=_later(run, event) if "to" in event.data else run.deadline,
    )
    for name, step in run.steps.open.items():
        at_step = replace(event, step=name)
        if step.do.state.claimable:
            run = move_step(run, at_step, _effect_so_far(step), at=event.at, sent=False, limit=0)
        elif step.do.state is PhaseStatus.OPEN:
            run = move_step(run, at_step, "a wait", at=event.at, limit=0)
        elif step.do.state is PhaseStatus.DEFERRED:  # whatever still comes is a late report
            run = give_away(
                move_step(run, at_step, "may have effect", at=event.at, limit=0), at_step
            )
    return run


def _later(run: Run, event: Event) -> int | None:
    """The deadline of a run that goes on again: time at rest and on hold does not count."""
    since = run.ended_at or run.paused
    return later_deadline(run.deadline, event.at - since) if since else run.deadline


def _effect_so_far(step: StepState) -> str:
    if step.may_have_effect:
        return "may have effect"
    return "no effect" if step.do.attempt else "untouched"


def _reopened(_plan: Plan, run: Run, event: Event) -> Run:
    step = run.step(event.step)
    run = put_step(run, event, changed(step, generation=step.generation + 1))
    direction = step.undo
    if direction.state is PhaseStatus.RUNNING:
        return move_step(run, event, recompensate=True)
    rests = run.status is RunStatus.COMPENSATED
    if rests or direction.state in (PhaseStatus.DONE, PhaseStatus.WAIVED):
        run = move_run(run, event, RunStatus.COMPENSATING, ended_at=0)
    # A new budget; and attempts made until now undid an older effect: they settle nothing any more.
    return move_step(run, event, attempts_before_budget=direction.attempt, given_back=0, begun=0)


def _try_ended(_plan: Plan, run: Run, event: Event) -> Run:
    return move_run(run, event, RunStatus.WAITING, begins_at=event.data["until"])


def _began_anew(_plan: Plan, run: Run, event: Event) -> Run:
    """All steps are as if they had never been touched, under keys of their own."""
    known = (*run.earlier, _over(run)) if _may_report(run) else run.earlier
    return move_run(
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
        routes=(),
        earlier=known,
        stands=(),
        steps=Steps(),
    )


def _rewound(plan: Plan, run: Run, event: Event) -> Run:
    """What was undone is as if it had never been touched, under keys of its own."""
    names = standing(plan, run.rewinds_to)
    steps, others = run.steps.parted(names)
    over = _over(changed(run, steps=others))
    orders = [step.order for step in steps.values()] + [each.order for each in steps.maps.values()]
    return move_run(
        run,
        event,
        RunStatus.RUNNING,
        epoch=run.epoch + 1,
        rewinds=run.rewinds + 1,
        rewinds_to="",
        stands=tuple((name, epoch_of(run, name)) for name in sorted(names)),
        started_steps=max(orders, default=0),
        why="",
        failed_step="",
        reason="",
        final=False,
        ended_by="",
        routes=tuple(each for each in run.routes if each[0] in names),
        earlier=(*run.earlier, over) if _may_report(over) else run.earlier,
        steps=steps,
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
    kept = changed(kept, rewinds_to="", rewound_by="")
    return changed(kept, earlier=(), signals=(), digest="", starter="", paused=0, parent=None)


def _overdue(_plan: Plan, run: Run, _event: Event) -> Run:
    return changed(run, overdue=True)


def _finished(_plan: Plan, run: Run, event: Event) -> Run:
    status = RunStatus(event.data["outcome"])
    failed_step = event.data.get("culprit", run.failed_step)
    # A finished run cannot stay paused: whoever lets it go on later means it to go on.
    untold = run.parent is not None
    return move_run(
        run,
        event,
        status,
        failed_step=failed_step,
        ended_at=event.at,
        paused=0,
        untold=untold,
        entered=(),  # whoever lets it go on has to pass its gates again
    )


def _reported(_plan: Plan, run: Run, _event: Event) -> Run:
    return changed(run, untold=False)


#: What each kind changes in a run that there is.
RUN_EVENTS: dict[EventKind, Change] = {
    EventKind.INHERITED: _inherited,
    EventKind.SIGNALLED: _signalled,
    EventKind.TAGGED: _tagged,
    EventKind.COMPENSATION_STARTED: _compensation_started,
    EventKind.REOPENED: _reopened,
    EventKind.TRY_ENDED: _try_ended,
    EventKind.BEGAN_ANEW: _began_anew,
    EventKind.REWOUND: _rewound,
    EventKind.OVERDUE: _overdue,
    EventKind.FINISHED: _finished,
    EventKind.REPORTED: _reported,
}
