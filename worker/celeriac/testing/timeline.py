"""What happened in the lab, told to people: who, when, what.

Owns: the lines of the story and how they look.  Refuses to know: why anything happened.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from celeriac.observing import clean, details, title

if TYPE_CHECKING:
    from celeriac.machine import Event

_MOST_LINES = 200  # at the beginning, and as many at the end
_UNREADABLE = ("deadline",)  # a number of ms since the epoch; what follows from it is told


class Line(NamedTuple):
    """One thing that happened; `trouble` is what the lab did, not the saga."""

    at: int  # ms
    run_id: str  # empty: no run's alone
    who: str
    what: str
    trouble: bool = False


@dataclass(slots=True)
class Story:
    """Everything that happened, in its order."""

    began: int  # ms
    lines: list[Line] = field(default_factory=list)

    def tell(
        self, at: int, who: str, what: str, *, run_id: str = "", trouble: bool = False
    ) -> None:
        """Add a line."""
        self.lines.append(Line(at, run_id, who, what, trouble))

    def tell_event(self, who: str, run_id: str, event: Event) -> None:
        """Add what a commit recorded."""
        subject = title("", event.step, event.phase, event.attempt).lstrip(" ·")
        if event.attempt == 0:
            subject = f"undo {event.step}" if event.phase == "undo" else event.step
        told = replace(event, data={k: v for k, v in event.data.items() if k not in _UNREADABLE})
        what = f"{subject} {details(told)}" if event.step else details(told)
        self.tell(event.at, who, what, run_id=run_id)

    def text(self, run_id: str | None = None) -> str:
        """Return the story, or that of one run; what the lab did is marked with `!`."""
        chosen = [line for line in self.lines if run_id in (None, line.run_id) or not line.run_id]
        several = run_id is None and len({line.run_id for line in chosen if line.run_id}) > 1
        told = [self._row(line, several=several) for line in chosen]
        if len(told) > 2 * _MOST_LINES:
            left_out = f"… {len(told) - 2 * _MOST_LINES} lines left out …"
            told = [*told[:_MOST_LINES], left_out, *told[-_MOST_LINES:]]
        return "\n".join(told)

    def _row(self, line: Line, *, several: bool) -> str:
        mark = "!" if line.trouble else " "
        run = f"{clean(line.run_id):10} " if several else ""
        return f"{mark} {(line.at - self.began) / 1000:10.3f} s  {run}{line.who:8}  {line.what}"
