"""How the doctor says numbers.

Owns: sizes, spans of time and counts as people read them.  Refuses to know: what is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.views import times

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_NAMES = 5


def count(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Bytes, as `1.5 MB`."""
    value = float(number)
    for unit in ("B", "KB", "MB"):
        if value < 1024:  # noqa: PLR2004 -- as in the names of the units
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GB"


def span(seconds: float) -> str:
    """Seconds as everywhere, and also as `350 ms`: settings may be as short as that."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else times.span(round(seconds))


def names(found: Iterable[str]) -> str:
    """Some names; of many, the first and how many more there are."""
    listed = sorted(found)
    more = len(listed) - _MOST_NAMES
    shown = ", ".join(listed[:_MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown
