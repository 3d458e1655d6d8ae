"""A walk through the pure world that can be listened to.

Owns: telling which commands a step gave, also those that were refused.  Refuses to know: who
listens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.machine.walk import Walk

if TYPE_CHECKING:
    from celeriac.machine.commands import Command


class HeardWalk(Walk):
    """A walk that remembers what was asked in its newest step, also what was refused."""

    heard: Command | None = None

    def _give(self, command: Command) -> None:
        self.heard = None if self.withheld(command) else command
        super()._give(command)

    def steps_commands(self) -> list[Command]:
        """Take one step, and return the commands it gave."""
        self.heard, before = None, len(self.world.given)
        self.step()
        new = list(self.world.given[before:])
        return new or ([self.heard] if self.heard else [])
