"""How a terminal shows a table, or lines that change; with rich, an extra, or without.

Owns: columns, colours, and the live display.  Refuses to know: what is shown.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Self
from unicodedata import combining, east_asian_width

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP = "  "
_LEAST = 6  # so many columns a cell keeps, however narrow the terminal

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
    "confirming": "cyan",
    "confirmed": "green",
    "confirm_failed": "red",
    "terminated": "magenta",
    "error": "red",
    "warning": "yellow",
    "info": "cyan",
    "ok": "green",
}


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as plain lines, its columns aligned."""
    table = [[heading.upper() for heading in headings], *rows]
    widths = _widths(table)
    return [
        _GAP.join(_filled(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def fitted(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int, giving: Sequence[int]
) -> list[list[str]]:
    """The rows, cut so that each is one line of *width* columns.

    Only the columns *giving* are cut, each down to a few letters before the next.
    """
    widths = _widths([headings, *rows])
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for column in giving:
        given = min(max(0, over), max(0, widths[column] - _LEAST))
        widths[column] -= given
        over -= given
    return [[_cut(cell, size) for cell, size in zip(row, widths, strict=True)] for row in rows]


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(_width(row[column]) for row in table) for column in range(len(table[0]))]


def _width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(c) in "WF" else not combining(c) for c in text)


def _filled(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))


def _cut(cell: str, width: int) -> str:
    if _width(cell) <= width:
        return cell
    while _width(cell) >= width:
        cell = cell[:-1]
    return f"{cell}…"


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


def draw_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    colours: Sequence[str] = (),
    *,
    colour: bool,
) -> bool:
    """Draw a table on this terminal; False if rich, an extra, is not installed.

    A cell that is a status has its colour; *colours*, one a row, are those of all else.
    """
    try:
        from rich.console import Console  # noqa: PLC0415 -- slow to load, and an extra
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading.upper(), overflow="fold")
    for row, usual in zip_longest(rows, colours, fillvalue=""):
        table.add_row(*(Text(cell, COLOURS.get(cell, str(usual))) for cell in row))
    Console(color_system="auto" if colour else None, highlight=False).print(table)
    return True


def lined(
    headings: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str] = ()
) -> list[str]:
    """A table as lines for a terminal, coloured as `draw_table` does it."""
    table = [[heading.upper() for heading in headings], *rows]
    widths = _widths(table)
    usual = {number: colour for number, colour in enumerate(colours, start=1) if colour}
    lines = []
    for number, row in enumerate(table):
        # The last column is not filled up: no line is longer than what it says.
        filled = [*map(_filled, row[:-1], widths), row[-1]]
        fgs = [COLOURS.get(cell, usual.get(number)) for cell in row]
        cells = [
            click.style(text, fg=fg, bold=not number or None) if fg or not number else text
            for text, fg in zip(filled, fgs, strict=True)
        ]
        lines.append(_GAP.join(cells).rstrip())
    return lines
