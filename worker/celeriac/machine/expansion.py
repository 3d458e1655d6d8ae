"""A turn that begins with a value: how many elements a map has, or until when a sleep lasts.

Owns: what follows when that was read, once and for all, or cannot be.  Refuses to know: the value,
who reads it, and which elements are begun (`next_steps`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.draft import Draft, see_to_failures
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.tries import epoch_of

if TYPE_CHECKING:
    from celeriac.machine.commands import Expand, Open


def expand(draft: Draft, command: Expand) -> None:
    """Note the number of elements of a map; a map that was counted already stays as it is."""
    if draft.node(command.step).map is None:
        raise draft.refuse("not_due", f"{command.step!r} is no map")
    if _is_due(draft, command) and not _failed(draft, command):
        draft.add(EventKind.EXPANDED, command.step, "do", command.attempt, count=command.count)


def open_(draft: Draft, command: Open) -> None:
    """Note until when a sleep lasts; one that has begun already stays as it is."""
    wait = draft.node(command.step).wait
    if wait is None or not wait.reads:
        raise draft.refuse("not_due", f"{command.step!r} is no sleep whose end has to be read")
    if _is_due(draft, command) and not _failed(draft, command):
        draft.add(EventKind.OPENED, command.step, until=max(command.until, 1))


def _is_due(draft: Draft, command: Expand | Open) -> bool:
    """False if somebody else was faster, or the run has turned round."""
    direction = draft.direction(command.step, "do")
    if command.epoch != epoch_of(draft.run, command.step):
        raise draft.refuse("stale", "the id was restarted meanwhile")
    if draft.run.paused:
        raise draft.refuse("paused", f"{command.step!r} waits until it is resumed")
    due = draft.run.status is RunStatus.RUNNING and direction.state.claimable
    return due and command.attempt == direction.attempt + 1


def _failed(draft: Draft, command: Expand | Open) -> bool:
    """See to a value that cannot be what it has to be."""
    if not command.error:
        return False
    step, attempt = command.step, command.attempt
    error, code = command.error, command.code
    draft.add(EventKind.FAILED, step, "do", attempt, error=error, code=code, effect=False)
    see_to_failures(draft, step)
    return True
