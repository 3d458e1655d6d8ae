"""What an event does to a run: the fold over a history.

Owns: `apply` and `fold`, and what is the same for all kinds of events.  Refuses to know: what one
kind changes (`attempt_events`, `gate_events`, `run_events`, `operator_events`), which moves are
legal (`tables`), what comes next (`next_steps`), which command leads to which event
(`transitions`), the clock, the store and Celery.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.machine.attempt_events import ATTEMPT_EVENTS
from celeriac.machine.conditions import turned
from celeriac.machine.events import Event, EventKind
from celeriac.machine.gate_events import GATE_EVENTS
from celeriac.machine.next_steps import schedule
from celeriac.machine.operator_events import OPERATOR_EVENTS
from celeriac.machine.run_events import RUN_EVENTS, started
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.series import series_after
from celeriac.machine.standstill import go_on
from celeriac.machine.state_changes import move_run
from celeriac.machine.steps import changed
from celeriac.machine.tables import IllegalMove
from celeriac.machine.visits import as_visited

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.machine.plans import Plan
    from celeriac.machine.state_changes import Change

_APPLY: dict[EventKind, Change] = {
    **ATTEMPT_EVENTS,
    **GATE_EVENTS,
    **RUN_EVENTS,
    **OPERATOR_EVENTS,
}


def fold(plan: Plan, run_id: str, events: Iterable[Event]) -> Run | None:
    """Return the run that *events* make of nothing."""
    run: Run | None = None
    for event in events:
        run = apply(plan, run_id, run, event)
    return run


def apply(plan: Plan, run_id: str, run: Run | None, event: Event) -> Run:
    """Return the run after *event*; raise IllegalMove if it cannot happen now."""
    plan = as_visited(plan, None if event.kind is EventKind.STARTED else run)
    if run is not None and event.data.get("try"):
        return _in_earlier_try(plan, run, event)
    status = run.status if run else None
    version = event.data.get("version", run.version + 1) if run else 1
    if event.kind is EventKind.STARTED:
        run = started(run_id, run, event)
    elif run is None:
        raise IllegalMove(f"{event.kind} before the run {run_id!r} was started")
    else:
        run = _APPLY[event.kind](plan, run, event)
    series = series_after(run.series, event, turns=run.status is not status)
    run = changed(run, version=version, changed_at=event.at, series=series)
    rested = status is not None and status.at_rest
    return schedule(as_visited(plan, run), run, event, goes_on=rested and not run.status.at_rest)


def _in_earlier_try(plan: Plan, run: Run, event: Event) -> Run:
    """What happens in an earlier try happens as in a run of its own, inside of this one."""
    epoch = event.data["try"]
    data = {name: value for name, value in event.data.items() if name != "try"}
    inside = replace(event, data=data)
    earlier = tuple(
        changed(apply(plan, run.id, each, inside), series=()) if each.epoch == epoch else each
        for each in run.earlier
    )
    if run.status.at_rest and any(not each.status.at_rest for each in earlier):
        if run.status is RunStatus.FAILED and not turned(run):
            run = go_on(plan, run, event)
        else:
            goes_back = RunStatus.COMPENSATING if turned(run) else RunStatus.RUNNING
            run = move_run(run, event, goes_back, ended_at=0)
    version, at = run.version + 1, event.at
    return changed(run, earlier=earlier, version=version, changed_at=at, series=())
