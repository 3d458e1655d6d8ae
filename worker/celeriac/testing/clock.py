"""The time of the lab: it stands still until somebody moves it.

Owns: what time it is.  Refuses to know: what happens meanwhile.
"""

from __future__ import annotations

#: Noon of the first day of 2030, in ms: always the same, so that a run repeats to the millisecond.
NOON = 1_893_499_200_000


class Clock:
    """Virtual time: ms for the store, seconds for the engine."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def ms(self) -> int:
        """The store's time."""
        return self.now

    def seconds(self) -> float:
        """The engine's time."""
        return self.now / 1000
