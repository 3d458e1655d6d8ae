"""What a node waits for that no worker runs.

Owns: what there is to be said of a wait when a saga is planned.  Refuses to know: when its turn
comes, and what ends it (`waits`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from celeriac.machine.expressions import Frozen


class Wait(Frozen):
    """What a node waits for that no worker runs: a signal, or a time."""

    signal: str | None = Field(default=None, description="name of the signal; None: a time alone")
    timeout: int | None = Field(default=None, description="milliseconds from when its turn came")
    until: int | None = Field(default=None, description="milliseconds since the epoch")
    on_timeout: Literal["abort", "continue"] = Field(
        default="abort", description="what follows if the time is over before the signal came"
    )
    default: Any = Field(default=None, description="its result then, any JSON value")
    title: str = Field(default="", description="what people are asked, in a few words")
    summary: str = Field(default="", description="the question, in a sentence or two")

    def ends_at(self, opened: int) -> int:
        """When its time is over, in ms, if its turn came at *opened*; 0: never."""
        if self.until is not None:
            return max(self.until, 1)
        return opened + self.timeout if self.timeout else 0
