"""The lease thread: signs of life for the attempts that a worker has at work.

Owns: when leases are renewed, and noticing that a pool child has died.  Refuses to know: what an
expired lease leads to.  It lives in the worker's *main* process, which stays responsive while a
step holds its interpreter lock, and dies with it, which is the point.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from celery.worker import state

from celeriac.canvas import HEADER, parse_header
from celeriac.errors import StoreError
from celeriac.observe import log
from celeriac.store import Lease

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.store import Store

_LONGEST_TICK = 0.5


class LeaseKeeper(threading.Thread):
    """Renews the leases of a worker's active attempts, three times in the length of one."""

    def __init__(self, store: Store, lease: float) -> None:
        """*lease* is seconds."""
        super().__init__(name="celeriac-leases", daemon=True)
        self._store, self._lease = store, lease
        self._stopped = threading.Event()
        self._seen: dict[Lease, int | None] = {}  # at the last look
        self._given_up: set[Lease] = set()
        self._reached = time.monotonic()  # when the store last answered
        self._away = False
        self._next = 0.0

    def run(self) -> None:
        """Work until the worker stops."""
        tick = min(_LONGEST_TICK, self._lease / 6)
        while not self._stopped.wait(tick):
            try:
                self._beat()
            except StoreError as error:
                if not self._away:
                    log.warning("cannot renew leases: %s", error)
                self._away = True
                self._next = 0.0  # as soon as it is back
            except Exception:
                # Nothing that goes wrong here may end the thread: all attempts would be lost.
                log.exception("the lease thread stumbled; going on")

    def stop(self) -> None:
        """Renew no more; whatever is still active will be taken over."""
        self._stopped.set()

    def _beat(self) -> None:
        alive, dead = self._attempts()
        fresh = dead - self._given_up
        if fresh:
            self._store.lapse(sorted(fresh))
            log.warning("%d attempts lost with their pool child", len(fresh))
        self._given_up = dead
        if time.monotonic() < self._next:
            return
        outage = time.monotonic() - self._reached if self._away else 0.0
        self._store.renew(sorted(alive), int(self._lease * 1000))
        self._store.pulse(int(self._lease * 2000 / 3), int(outage * 1000))
        self._away = False
        self._reached = time.monotonic()
        self._next = self._reached + self._lease / 3

    def _attempts(self) -> tuple[set[Lease], set[Lease]]:
        """The attempts of living and of dead pool children."""
        found = dict(_active())
        # A child may die and its request be cleared between two looks: ask for those as well.
        gone = {lease: pid for lease, pid in self._seen.items() if lease not in found}
        dead = {lease for lease, pid in {**gone, **found}.items() if pid and has_died(pid)}
        self._seen = found
        return set(found) - dead, dead


def _active() -> Iterator[tuple[Lease, int | None]]:
    """The attempts this worker has at work, and the pool child each of them runs in."""
    for request in list(state.active_requests):
        hint = parse_header(request.request_dict.get(HEADER))
        if hint is not None:
            lease = Lease(hint.run_id, hint.step, hint.phase, hint.attempt)
            yield lease, getattr(request, "worker_pid", None)


def has_died(pid: int) -> bool:
    """True if the child process *pid* has ended, whether or not the pool has noticed.

    The pool looks every five seconds.  WNOWAIT leaves the child for it to bury.
    """
    if pid == os.getpid():
        return False  # a pool of threads: the attempt dies with us
    try:
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        os.kill(pid, 0)  # macOS, before Python 3.13: true until the pool has buried it
    except (ChildProcessError, ProcessLookupError):
        return True  # buried already
    return False
