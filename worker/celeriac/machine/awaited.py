"""What a step of a plan waits for, in place of a task: a signal, or a time.

Owns: what can be said of a wait.  Refuses to know: what follows when one is over (`waits`), and how
one is written in a saga (`authoring`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from celeriac.machine.expressions import Frozen

#: The argument of a wait that says until when it lasts, if that is known only in a run.
UNTIL = "until"


class Wait(Frozen):
    """What a node waits for that no worker runs: a signal, or a time."""

    signal: str | None = Field(default=None, description="name of the signal; None: a time alone")
    timeout: int | None = Field(default=None, description="milliseconds from when its turn came")
    until: int | None = Field(default=None, description="milliseconds since the epoch")
    reads: bool = Field(default=False, description="until when is read: its argument `until`")
    on_timeout: Literal["abort", "continue"] = Field(
        default="abort", description="what follows if the time is over before the signal came"
    )
    default: Any = Field(default=None, description="its result then, any JSON value")
    title: str = Field(default="", description="what people are asked, in a few words")
    summary: str = Field(default="", description="the question, in a sentence or two")

    not_by_starter: bool = Field(
        default=False, description="the signal must come from somebody else than started the run"
    )

    @property
    def is_dated(self) -> bool:
        """True if it lasts until a date: time for which its run stands still counts."""
        return self.reads or self.until is not None

    def ends_at(self, opened: int) -> int:
        """When its time is over, in ms, if its turn came at *opened*; 0: never."""
        if self.until is not None:
            return max(self.until, 1)
        return opened + self.timeout if self.timeout else 0
