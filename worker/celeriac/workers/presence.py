"""A worker gives signs of life, over a connection that ends with it.

Owns: who the worker says it is, how often, and asking for a sweep where a worker before it died.
Refuses to know: how a death is told from a silence (`engine.deaths`).
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from celeriac.engine import RENEWAL, has_ended, this_process
from celeriac.errors import StoreError, StoreUnavailable
from celeriac.observing import log
from celeriac.store import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.store import Presences

_CALLS = 4  # for a sweep after a death, half a second apart: what was lost shows little by little
_REFUSED = 60.0  # seconds until it is tried again where a server does not let us


class SignOfLife:
    """What a worker says of itself; its owner calls `give` at least twice in a second."""

    def __init__(
        self,
        presences: Presences,
        worker_id: str,
        lease_ms: int,
        found_dead: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*found_dead* is called a few times, if a worker that ran here before has died."""
        process = this_process()
        self._worker = Worker(worker_id, process.place, process.pid, process.born, lease_ms)
        self._presences, self._found_dead, self._clock = presences, found_dead, clock
        self._next = 0.0  # by the clock
        self._first = True
        self._refused = False  # it was logged
        self._calls = 0  # that are left

    def give(self) -> None:
        """Say that this worker lives, if it is time.  Raises StoreUnavailable."""
        if self._clock() >= self._next:
            self._announce()
        if self._calls:
            self._calls -= 1
            self._found_dead()

    def _announce(self) -> None:
        now = self._clock()
        try:
            self._presences.announce(self._worker)
            self._next, self._refused = now + RENEWAL / 1000, False
            if self._first:
                self._look_back()
        except StoreUnavailable:
            self._next = 0.0  # as soon as it is back
            raise
        except StoreError as error:
            if not self._refused:
                log.warning(
                    "should this worker die, that shows only when its leases run out: %s", error
                )
            self._refused = True
            self._next = now + _REFUSED

    def _look_back(self) -> None:
        """See whether a worker died here before this one was started: nobody need wait then."""
        _, known = self._presences.known()
        self._first = False
        if any(has_ended(each.worker) and not each.died for each in known):
            self._calls = _CALLS

    def end(self) -> None:
        """Say that it has ended, and left nothing behind."""
        try:
            self._presences.withdraw(self._worker.id)
        except StoreError as error:
            log.debug("that this worker ends could not be noted: %s", error)


def dies_as_one(forks: bool) -> bool:
    """True if no process of a worker outlives its main process: only Linux ends pool children."""
    return not forks or sys.platform == "linux"
