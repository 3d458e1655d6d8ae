"""What pages that are open look at, again and again: read once for all that look within a second.

Owns: that, and telling a page that refreshes itself from one that somebody has just opened.
Refuses to know: what is read.

Whoever opens a page, or comes to it from a form, sees what is so now.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from starlette.requests import Request

T = TypeVar("T")

#: What `live.js` sends with a refresh.
LIVE = "X-Celeriac-Live"
FRESH = 1.0  # seconds
_MOST = 200  # looks that are kept; more would be those of many filters, which few share


class _Look(NamedTuple):
    begun: float
    found: Future[Any]


class LiveLooks:
    """What was read in the last second, by what was asked for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._looks: dict[Hashable, _Look] = {}

    def of(self, request: Request, asked: Hashable, read: Callable[[], T]) -> T:
        """Return what *read* returns, or for a refresh what it has just returned for another."""
        return self.shared(asked, read) if LIVE in request.headers else read()

    def shared(self, asked: Hashable, read: Callable[[], T]) -> T:
        """Return what *read* returned within the last second, in this or in another thread."""
        with self._lock:
            now = self._clock()
            look = self._looks.get(asked)
            mine = look is None or now - look.begun >= FRESH
            if look is None or mine:
                if len(self._looks) >= _MOST:
                    self._looks.clear()
                look = self._looks[asked] = _Look(now, Future())
        if mine:
            try:
                look.found.set_result(read())
            except BaseException as error:
                with self._lock:
                    self._looks.pop(asked, None)  # whoever looks next tries again
                look.found.set_exception(error)
                raise
        found: T = look.found.result()
        return found
