"""Figures that take a moment to gather: nobody waits for them who has seen some a while ago.

Owns: how long figures are shown before they are gathered anew, and that this costs a hundredth of a
core at most, however many look.  Refuses to know: which figures they are.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from celeriac.errors import SagaError
from celeriac.observing import log

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SHORTEST = 5.0  # seconds that figures are shown
_SHARE = 100  # times as long as it took to gather them


class _Kept(NamedTuple):
    value: Any
    at: float
    until: float


class KeptFigures:
    """Figures by name, gathered in the background once they are old."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # of what is kept
        self._first = threading.Lock()  # of who gathers what nobody has seen yet
        self._kept: dict[str, _Kept] = {}
        self._busy: set[str] = set()

    def of(self, name: str, gather: Callable[[], T]) -> T:
        """Return the figures called *name*; only the first who asks waits for them."""
        with self._lock:
            kept = self._kept.get(name)
            late = kept is not None and self._clock() >= kept.until and name not in self._busy
            if late:
                self._busy.add(name)
        if kept is None:
            return self._wait_for(name, gather)
        if late:
            self._behind(name, gather)
        found: T = kept.value
        return found

    def seen(self, name: str, gather: Callable[[], T], seconds: float) -> T | None:
        """Return the figures called *name*, if there are some yet: nobody waits for them.

        They are gathered behind whoever looks, at most once in so many *seconds*, also if that
        fails.
        """
        with self._lock:
            kept = self._kept.get(name)
            late = (kept is None or self._clock() >= kept.until) and name not in self._busy
            if late:
                self._busy.add(name)
        if late:
            self._behind(name, gather, seconds)
        return kept.value if kept else None

    def anew(self, name: str, gather: Callable[[], T], seconds: float) -> T:
        """Gather the figures called *name* now, and keep them for so many *seconds*."""
        self._gather(name, gather, seconds)
        found: T = self._kept[name].value
        return found

    def _behind(self, name: str, gather: Callable[[], Any], seconds: float = 0.0) -> None:
        told = (name, gather, seconds)
        threading.Thread(
            target=self._renew, args=told, name=f"celeriac-{name}", daemon=True
        ).start()

    def _wait_for(self, name: str, gather: Callable[[], T]) -> T:
        with self._first:
            kept = self._kept.get(name)
            if kept is None:
                self._gather(name, gather)
            found: T = self._kept[name].value
            return found

    def _renew(self, name: str, gather: Callable[[], Any], seconds: float) -> None:
        try:
            self._gather(name, gather, seconds)
        except SagaError as error:
            log.warning("figures of %s are those of a while ago: %s", name, error)
            if seconds:
                with self._lock:
                    kept, now = self._kept.get(name), self._clock()
                    self._kept[name] = _Kept(kept.value if kept else None, now, now + seconds)
        finally:
            with self._lock:
                self._busy.discard(name)

    def _gather(self, name: str, gather: Callable[[], Any], seconds: float = SHORTEST) -> None:
        began = self._clock()
        value = gather()
        now = self._clock()
        pause = max(SHORTEST, seconds, _SHARE * (now - began))
        with self._lock:
            self._kept[name] = _Kept(value, now, now + pause)
