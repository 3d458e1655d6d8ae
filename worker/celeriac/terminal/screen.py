"""How a terminal shows a table, or lines that change; with rich, an extra, or without.

Owns: columns, colours, and the live display.  Refuses to know: what is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = {
    "running": "cyan",
    "paused": "magenta",
    "skipped": "cyan",
    "completed": "green",
    "compensating": "yellow",
    "compensated": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "compensation_failed": "red",
    "terminated": "magenta",
    "error": "red",
    "warning": "yellow",
    "info": "cyan",
    "ok": "green",
}


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as plain lines, its columns aligned."""
    table = [[heading.upper() for heading in headings], *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


class Live:
    """Lines on a terminal that are kept up to date."""

    def __init__(self, console: Any, live: Any, text: Any) -> None:
        self._live, self._text = live(console=console, auto_refresh=False), text

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *ended: object) -> None:
        self._live.__exit__(*ended)

    def update(self, lines: Sequence[str]) -> None:
        """Show these lines in the place of those before."""
        self._live.update(self._text("\n".join(lines)), refresh=True)


def live(*, colour: bool) -> Live | None:
    """A live display, or None if rich, an extra, is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 -- slow to load, and an extra
        from rich.live import Live as RichLive  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return None
    return Live(Console(color_system="auto" if colour else None, highlight=False), RichLive, Text)


def draw_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, colour: bool) -> bool:
    """Draw a table on this terminal; False if rich, an extra, is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 -- slow to load, and an extra
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, COLOURS.get(cell, "")) for cell in row))
    Console(color_system="auto" if colour else None, highlight=False).print(table)
    return True
