"""Guessing made slow: who was wrong too often is not listened to for some time.

Owns: how often is too often, by address.  Refuses to know: what is guessed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW = 60.0  # seconds
_ADDRESSES = 10_000  # that are remembered at most


class TooManyGuesses(Exception):
    """An address was wrong too often; `seconds` until it is listened to again."""

    def __init__(self, what: str, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"too many wrong {what}: wait {seconds} s")


class Guesses:
    """What was guessed wrong in the last minute, by address."""

    def __init__(self, what: str, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """*most* wrong ones (*what*: `passwords`) of one address are answered at once."""
        self._what, self._most, self._clock = what, most, clock
        self._wrong: dict[str, list[float]] = {}

    def refuse(self, address: str) -> None:
        """Raise TooManyGuesses for an address that was wrong too often."""
        recent = [at for at in self._wrong.get(address, ()) if at > self._clock() - _WINDOW]
        if len(recent) >= self._most:
            seconds = max(1, int(recent[0] + _WINDOW - self._clock()) + 1)
            raise TooManyGuesses(self._what, seconds)

    def was_wrong(self, address: str) -> None:
        """Note that an address was wrong."""
        now = self._clock()
        if len(self._wrong) >= _ADDRESSES:
            self._wrong = {
                each: times for each, times in self._wrong.items() if times[-1] > now - _WINDOW
            }
        self._wrong[address] = [*self._wrong.get(address, ())[-self._most + 1 :], now]

    def was_right(self, address: str) -> None:
        """Forget what an address had guessed wrong."""
        self._wrong.pop(address, None)
