"""What is in the way of a step that waits: it is noted, and taken away again.

Owns: that note.  Refuses to know: what is in the way, and who finds that out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.events import EventKind
from celeriac.machine.timing import waiting_directions

if TYPE_CHECKING:
    from celeriac.machine.commands import Block, Unblock
    from celeriac.machine.draft import Draft


def block(draft: Draft, command: Block) -> None:
    """Note why a step that waits cannot be run, or its message not sent."""
    draft.node(command.step)
    waits = any(name == command.step for name, _, _ in waiting_directions(draft.run))
    if waits and draft.run.step(command.step).blocked != command.why:
        draft.add(EventKind.BLOCKED, command.step, why=command.why)


def unblock(draft: Draft, command: Unblock) -> None:
    """Note that the message of a step was sent, if it is noted that it could not be."""
    draft.node(command.step)
    if draft.run.step(command.step).unsent:
        # Without a reason: an event of its own would make the history unreadable for 0.1.0.
        draft.add(EventKind.BLOCKED, command.step)
