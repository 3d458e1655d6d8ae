"""Whether there are sweeps: a worker says so when none came for a while.

Owns: when the sweep counts as down, and telling it once.  Refuses to know: who sends its ticks,
and what a sweep does.  A beat that nobody has started writes no log by which it could be missed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from celeriac.observing import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.store import Store, SweepMark

_DOWN, _MISSED = 30.0, 30  # seconds, or so many intervals
_AGAIN = 600.0  # seconds after which it is said once more


def sweep_is_down(mark: SweepMark | None, interval: float) -> bool:
    """True if the newest sweep ended too long ago; *interval* is the setting, in seconds."""
    return mark is None or (mark.now - mark.at) / 1000 > longest_gap(interval)


def longest_gap(interval: float) -> float:
    """Seconds between two sweeps after which something is wrong."""
    return max(_DOWN, _MISSED * interval)


class SweepWatch:
    """Looks for the mark that sweeps leave; its owner calls `look` every few seconds."""

    def __init__(
        self, store: Store, interval: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """*interval* is that of the sweep, in seconds."""
        self._store, self._interval, self._clock = store, interval, clock
        self._began = clock()
        self._told: float | None = None  # when it was last said that there is none

    def look(self) -> None:
        """Log a warning if there was no sweep for too long, and that there is one again."""
        now = self._clock()
        if now - self._began <= longest_gap(self._interval):
            return  # a beat may be started after this worker
        mark = self._store.last_sweep()
        if not sweep_is_down(mark, self._interval):
            if self._told is not None:
                log.info("there are sweeps again")
            self._told = None
        elif self._told is None or now - self._told >= _AGAIN:
            self._told = now
            since = f"for {(mark.now - mark.at) // 1000} s" if mark else "yet"
            log.warning(
                "no sweep came %s: deadlines, retries and lost messages are not seen to; start a "
                "beat (celery -A … beat), or celery -A … saga sweep --every 1",
                since,
            )
