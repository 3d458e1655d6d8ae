"""What an answer decides: the choice a step offers, and the guards of the steps that depend on it.

Owns: which answer lets a step run, and which steps no run can have both of.  Refuses to know: who
answers, and when a guard is looked at (`conditions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from celeriac.machine.expressions import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable


class Choice(Frozen):
    """What the answer of a node decides: which of the nodes that are guarded by it run."""

    labels: tuple[str, ...] = Field(description="the answers there are cases for")
    default: bool = Field(default=False, description="any other answer will do as well")

    def knows(self, label: str) -> bool:
        """True if something follows this answer, be it nothing at all."""
        return bool(label) and (self.default or label in self.labels)


class Guard(Frozen):
    """A node runs only if an earlier one has chosen one of these labels, or any `but` these."""

    step: str = Field(description="name of the node that chooses")
    among: tuple[str, ...]
    but: bool = False

    def holds(self, choice: str) -> bool:
        """True if this choice lets the node run; empty is a choice that was never made."""
        return bool(choice) and (choice in self.among) is not self.but

    def excludes(self, other: Guard) -> bool:
        """True if no answer lets through what both guard."""
        if self.step != other.step or (self.but and other.but):
            return False
        if self.but or other.but:
            wanted, refused = (other, self) if self.but else (self, other)
            return set(wanted.among) <= set(refused.among)
        return not set(self.among) & set(other.among)


def excludes(some: Iterable[Guard], others: Iterable[Guard]) -> bool:
    """True if no run can have both: they want different answers of the same step."""
    others = list(others)
    return any(a.excludes(b) for a in some for b in others)
