"""What one command did to many runs, counted.

Owns: the counts.  Refuses to know: the command, and the pace at which it is given (`app.bulk`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class BulkOutcome:
    """What a command did to many runs, by the time it was asked."""

    matched: int
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # id -> why
    gone: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many runs had their turn."""
        return sum(map(len, (self.changed, self.unchanged, self.refused, self.gone)))

    @property
    def left(self) -> int:
        """How many runs had not."""
        return self.matched - self.done
