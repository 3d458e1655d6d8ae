"""What time it is at the store, between two readings of its clock.

Owns: how long a reading is good for.  Refuses to know: who asks, and what time is used for.

Whoever starts runs one after the other need not ask the store for the time before each: that is a
round trip.  A clock of this machine counts on from the last reading; two clocks part by some ten
milliseconds in the time for which a reading is good.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD_FOR = 60.0  # seconds


def steady() -> float:
    """Seconds that only go forward; on Linux also while the machine sleeps."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class _Reading(NamedTuple):
    now: int  # ms, the store's clock
    at: float  # s, ours


class StoreTime:
    """The store's time as one process knows it; *clock* is ours, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reading: _Reading | None = None

    def noted(self, now: int) -> None:
        """It is *now* (ms) at the store, as it has just said."""
        self._reading = _Reading(now, self._clock())

    def now(self) -> int | None:
        """The store's time in ms; None: nobody has asked it lately."""
        reading = self._reading
        if reading is None:
            return None
        passed = self._clock() - reading.at
        return reading.now + int(passed * 1000) if 0 <= passed < GOOD_FOR else None
