"""Reading what Redis answers: times, and members with their scores.

Owns: the forms of these answers.  Refuses to know: what was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def ms(time: tuple[int, int]) -> int:
    """Return what TIME answered in milliseconds."""
    return int(time[0]) * 1000 + int(time[1]) // 1000


def scored(flat: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Pair the members and scores of a WITHSCORES answer."""
    return zip(flat[::2], flat[1::2], strict=True)


def said_by(info: object) -> dict[str, str]:
    """Return the words of what INFO answered; none, if it was refused."""
    if isinstance(info, Exception):
        return {}
    lines = (line.partition(":") for line in str(info).splitlines() if not line.startswith("#"))
    return {word: value for word, colon, value in lines if colon}


def ripe(first: Sequence[str], now: int) -> bool:
    """True if the first entry of an index, and so perhaps others, is not later than *now*."""
    return bool(first) and float(first[1]) <= now
