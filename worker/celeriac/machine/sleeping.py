"""Sleeps: waits for nothing but a time.

Owns: ending those whose time has come, and telling whether that is all that time has brought.
Refuses to know: the clock, and who looks: the sweep, or whoever claims what comes behind one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.machine.draft import Draft
    from celeriac.machine.events import Event

#: Why a sleep has ended.
TIME_IS_OVER = "time is over"


def end_sleeps(draft: Draft) -> None:
    """End the sleeps whose time is over: a time that was to come has come, whoever says so."""
    run = draft.run
    if run.status is not RunStatus.RUNNING or run.paused:
        return
    for name, step in list(run.steps.open.items()):
        over = step.do.state is PhaseStatus.OPEN and 0 < step.do.limit <= draft.now
        wait = draft.node(name).wait if over else None
        if wait is not None and wait.signal is None:
            draft.add(EventKind.COMPLETED, name, why=TIME_IS_OVER)


def only_sleeps_ended(events: Sequence[Event]) -> bool:
    """True if nothing has happened but that sleeps are over: then a claim brings it as well."""
    ended = [each.kind is EventKind.COMPLETED and _is_time(each) for each in events]
    return bool(ended) and all(ended)


def _is_time(event: Event) -> bool:
    return event.data.get("why") == TIME_IS_OVER
