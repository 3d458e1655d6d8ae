"""What people see while the orders run: a live table on a terminal, plain lines elsewhere.

Owns: how progress is drawn.  Refuses to know: where the numbers come from.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = ("running", "compensating", "completed", "compensated", "failed")
COLOURS = {
    "running": "cyan",
    "compensating": "yellow",
    "completed": "green",
    "compensated": "blue",
    "failed": "red",
}
LINE_SECONDS = 2.0
BAR = 50


class Progress(NamedTuple):
    """How far the orders are."""

    seconds: float  # since the first was placed
    placed: int
    total: int
    counts: Mapping[str, int]  # status: runs


class Screen(Protocol):
    """Somewhere to tell people how it goes."""

    def show(self, progress: Progress) -> None:
        """Draw how far the orders are."""

    def say(self, text: str, style: str = "") -> None:
        """Write a line that stays; *style* is a colour, where there are any."""

    def rest(self) -> None:
        """End the live part: what is said from here on stands below it."""


def open_screen() -> Screen:
    """Return a live screen on a terminal that has rich, else a plain one."""
    if sys.stdout.isatty() and importlib.util.find_spec("rich"):
        return LiveScreen()
    return PlainScreen()


class PlainScreen:
    """A line every two seconds, below the names of its columns."""

    def __init__(self) -> None:
        self._next, self._named = 0.0, False

    def show(self, progress: Progress) -> None:
        """Write a line, unless there was one a moment ago."""
        if progress.seconds < self._next:
            return
        if not self._named:
            self._named = True
            self.say("  ".join(("time   ", "placed", *SHOWN)))
        self._next = progress.seconds + LINE_SECONDS
        counts = "  ".join(f"{progress.counts.get(s, 0) or '·':>{len(s)}}" for s in SHOWN)
        self.say(f"{progress.seconds:5.1f} s  {progress.placed:6}  {counts}")

    def say(self, text: str, style: str = "") -> None:  # noqa: ARG002 -- plain has no colours
        """Write a line."""
        print(text, flush=True)

    def rest(self) -> None:
        """Nothing is live here."""
        self._next = 0.0


class LiveScreen:
    """A table that is drawn again and again, with lines that stay above it."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 -- an optional extra

        self._console = Console(highlight=False)
        self._live: Any = None

    def show(self, progress: Progress) -> None:
        """Draw the table anew."""
        if self._live is None:
            from rich.live import Live  # noqa: PLC0415 -- an optional extra

            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(_table(progress), refresh=True)

    def say(self, text: str, style: str = "") -> None:
        """Write a line above the table, or below it once it rests."""
        self._console.print(text, style=style or None, markup=False)

    def rest(self) -> None:
        """Leave the table as it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _table(progress: Progress) -> Any:
    from rich.table import Table  # noqa: PLC0415 -- an optional extra

    placed = f"{progress.placed} of {progress.total} orders placed, {progress.seconds:.1f} s"
    table = Table(title=placed, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for title in ("status", "runs", ""):
        table.add_column(title, justify="right" if title == "runs" else "left")
    for status in SHOWN:
        runs = progress.counts.get(status, 0)
        bar = "█" * -(-runs * BAR // max(progress.total, 1))
        table.add_row(status, str(runs), bar, style=COLOURS[status])
    return table
