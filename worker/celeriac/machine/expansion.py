"""A map's turn has come: how many elements its list has is recorded, once and for all.

Owns: what follows when the list was counted, or cannot be.  Refuses to know: the list, who counts
it, and which elements are begun (`next_steps`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.draft import Draft, see_to_failures
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.tries import epoch_of

if TYPE_CHECKING:
    from celeriac.machine.commands import Expand


def expand(draft: Draft, command: Expand) -> None:
    """Note the number of elements of a map; a map that was counted already stays as it is."""
    direction = draft.direction(command.step, "do")
    if command.epoch != epoch_of(draft.run, command.step):
        raise draft.refuse("stale", "the id was restarted meanwhile")
    if draft.node(command.step).map is None:
        raise draft.refuse("not_due", f"{command.step!r} is no map")
    if draft.run.paused:
        raise draft.refuse("paused", f"{command.step!r} waits until it is resumed")
    due = draft.run.status is RunStatus.RUNNING and direction.state.claimable
    if not due or command.attempt != direction.attempt + 1:
        return  # somebody else has counted it, or the run has turned round
    step, attempt = command.step, command.attempt
    if command.error:
        told = command.error
        draft.add(
            EventKind.FAILED, step, "do", attempt, error=told, code=command.code, effect=False
        )
        see_to_failures(draft, command.step)
    else:
        draft.add(EventKind.EXPANDED, step, "do", attempt, count=command.count)
