"""The gates of a plan: what a claim has to pass before it is granted.

Owns: what a plan says of a gate: its name, its numbers, and whose value it counts apart.  Refuses
to know: who is inside of one, who waits (`places`), and whether it is open (`gating`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from celeriac.machine.expressions import Expression, Frozen, bound

#: Between the name of a gate and what stands for the value that it is counted apart for.
APART = "#"


class Rule(Frozen):
    """What a gate lets through."""

    kind: Literal["limit", "rate", "breaker"]
    most: int = Field(description="attempts at a time, or in `per`; of a breaker: failures")
    per: int = Field(default=0, description="milliseconds in which these are counted")
    open_for: int = Field(default=0, description="milliseconds that a breaker stays open")


class Gate(Frozen):
    """A gate of a step, or of all runs of a saga."""

    name: str = Field(description="shared by all that go through it, of whichever saga")
    rule: Rule
    key: Expression | None = Field(default=None, description="each value has a gate of its own")

    def bound(self, node: str, number: int) -> Gate:
        """The gate of a map's node, as it is for the element *number*."""
        return self.model_copy(update={"key": self.key and bound(self.key, node, number)})


def gate_named(gate: str) -> str:
    """The name of a gate, without what it is counted apart for."""
    return gate.partition(APART)[0]
