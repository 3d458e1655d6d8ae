"""What `explore` tells while it works: a bar on a terminal, a line for each level in the log.

Owns: the estimate and where it is written.  Refuses to know: what is tried.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_log = logging.getLogger("celeriac.testing.explore")


def shown(schedules: Sequence[int], what: str, *, rate: float | None, left: float) -> Iterator[int]:
    """Yield the *schedules* (their numbers) while telling how many of them are done.

    *what* names them, *rate* is how many a second were tried so far (None if none were), *left* is
    how many seconds may be spent.  The bar is drawn on stderr, and only where that is a terminal.
    """
    _log.info("%s: %s", what, estimate(len(schedules), rate=rate, left=left))
    label = f"{what} (at most {left:.0f} s)"
    hidden = not sys.stderr.isatty()
    with click.progressbar(
        schedules, label=label, show_pos=True, hidden=hidden, file=sys.stderr, update_min_steps=25
    ) as bar:
        yield from bar


def estimate(schedules: int, *, rate: float | None, left: float) -> str:
    """Return in words how long so many *schedules* will take.

    *rate* is schedules a second, *left* the seconds after which no more are tried.
    """
    told = f"{schedules:,} schedules"
    if not rate:
        return f"{told}, in at most {left:.0f} s"
    needed = schedules / rate
    if needed <= left:
        return f"{told}, in about {max(needed, 1):.0f} s"
    return f"{told} would take about {needed:.0f} s; stops after {left:.0f} s"
