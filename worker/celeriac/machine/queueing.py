"""An attempt that comes to a gate: it has to pass it, or waits in line without using anything up.

Owns: that no claim is granted past a gate, and what is noted of one that waits.  Refuses to know:
whether a gate lets it through: whoever claims has asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.timing import waiting_directions
from celeriac.machine.tries import epoch_of

if TYPE_CHECKING:
    from celeriac.machine.commands import Call, Claim, Queue
    from celeriac.machine.draft import Draft


def check_gates(draft: Draft, command: Claim) -> None:
    """Refuse a claim that has not passed all the gates of its step, or of its run."""
    if command.child:
        return
    step = draft.run.step(command.step)
    needed = draft.node(command.step).gates if command.phase == "do" else step.gates
    enters = () if draft.run.entered or draft.epoch else draft.plan.gates
    if len(command.gates) != len(needed) or len(command.enters) != len(enters):
        raise draft.refuse("gated", f"{command.step!r} has gates to pass first")


def queue(draft: Draft, command: Queue) -> None:
    """Let a step wait in line: no message is sent before its turn, and no attempt is counted."""
    step, phase = command.step, command.phase
    direction = draft.direction(step, phase)
    if not _waits(draft, command):
        raise draft.refuse("not_due", f"it is not the turn of {phase} {step!r}")
    if command.of_run and draft.run.entered:
        raise draft.refuse("entered", "the run has passed that gate meanwhile")
    known = draft.run.step(step)
    same = (known.line, known.blocked, direction.sent) == (
        (command.gate, command.since),
        command.why,
        command.sent,
    )
    if not same or direction.at != command.until:
        draft.add(
            EventKind.QUEUED,
            step,
            phase,
            direction.attempt + 1,
            gate=command.gate,
            why=command.why,
            since=command.since,
            until=command.until,
            sent=command.sent or None,
        )


def call(draft: Draft, command: Call) -> None:
    """Send the message of a step whose turn it is, or will be at a time that is near."""
    direction = draft.direction(command.step, command.phase)
    line = draft.run.step(command.step).line
    if not _waits(draft, command) or line[:1] != (command.gate,):
        raise draft.refuse("not_in_line", f"{command.step!r} does not wait at {command.gate}")
    if not direction.sent:
        token = (command.step, command.phase, direction.attempt + 1)
        at = command.at if command.at > draft.now else None
        draft.add(EventKind.DISPATCHED, *token, why="turn", at=at)


def _waits(draft: Draft, command: Queue | Call) -> bool:
    """True of a step that may be claimed: not while its run is held, or once it has turned."""
    if command.epoch not in (0, epoch_of(draft.run, command.step)):
        return False
    waiting = {(name, phase) for name, phase, _ in waiting_directions(draft.run)}
    return (command.step, command.phase) in waiting
