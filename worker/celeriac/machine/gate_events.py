"""What the events at gates change: who waits in line there, and whose run has passed its own.

Owns: `GATE_EVENTS`, and what a claim through gates leaves behind.  Refuses to know: whether a gate
lets anybody through.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.machine.events import Event, EventKind
from celeriac.machine.state_changes import put_step
from celeriac.machine.steps import changed
from celeriac.machine.timing import waiting_directions

if TYPE_CHECKING:
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run
    from celeriac.machine.state_changes import Change


def _queued(_plan: Plan, run: Run, event: Event) -> Run:
    """It waits in line: no message is on its way before its turn, and no attempt was made."""
    gate, why, since = (event.data[name] for name in ("gate", "why", "since"))
    step = changed(run.step(event.step), blocked=why, line=(gate, since))
    direction = step.direction(event.phase)
    sent = bool(event.data.get("sent"))
    direction = changed(direction, at=event.data["until"], sent=sent, sends=0)
    return put_step(run, event, changed(step, **{event.phase: direction}))


def entered(run: Run, event: Event) -> Run:
    """The run has passed its own gates: none of its steps has to wait there any more."""
    gates = tuple(event.data["enters"])
    for name, phase, direction in waiting_directions(run):
        step = run.step(name)
        if step.line and step.line[0] in gates:
            at = changed(direction, at=event.at, sent=False)
            freed = changed(step, **{phase: at}, blocked="", line=())
            run = put_step(run, replace(event, step=name, phase=phase), freed)
    return changed(run, entered=(event.data["holder"], *gates))


GATE_EVENTS: dict[EventKind, Change] = {EventKind.QUEUED: _queued}
