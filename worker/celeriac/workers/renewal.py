"""Renewing leases while a body holds up every greenlet of its worker.

Owns: a native thread that renews where the lease thread cannot, and the way past what gevent and
eventlet have put in the place of threads.  Refuses to know: what an expired lease leads to, and
deaths: nobody dies while nothing else runs.

In a pool of greenlets the lease thread is a greenlet as well.  A body that never yields (a long
computation, a driver that is not cooperative) would keep it from renewing, and its attempt would be
repeated beside itself.  A native thread runs all the same, in its own event loop: it only needs a
store of its own, whose connections no other loop has seen.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.store import Lease, Store


class Native(NamedTuple):
    """What a process had before its threads became greenlets."""

    start: Callable[[Callable[[], None], tuple[()]], object]
    sleep: Callable[[float], None]


def native() -> Native | None:
    """Return the threads that gevent or eventlet have replaced; None if neither has."""
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        original = gevent.get_original
        return Native(original("_thread", "start_new_thread"), original("time", "sleep"))
    eventlet: Any = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        original = eventlet.original
        return Native(original("_thread").start_new_thread, original("time").sleep)
    return None


class NativeRenewal:
    """Renews what a worker has at work whenever its lease thread has not been heard of."""

    def __init__(
        self,
        new_store: Callable[[], Store],
        lease: float,
        held: Callable[[], set[Lease]],
        heard: Callable[[], float],
    ) -> None:
        """*lease* is seconds; *held* tells the leases of all attempts at work.

        *heard* tells when the lease thread last ran, by the monotonic clock.  Both are called from
        another thread than the worker's.
        """
        self._new_store, self._lease = new_store, lease
        self._held, self._heard = held, heard
        self._stopped = False

    def start(self, threads: Native) -> None:
        """Work until `stop`, in a native thread, which does not keep the process alive."""
        threads.start(lambda: self._run(threads.sleep), ())

    def stop(self) -> None:
        """Renew no more."""
        self._stopped = True

    def _run(self, sleep: Callable[[float], None]) -> None:
        store: Store | None = None
        while not self._stopped:
            sleep(self._lease / 6)
            if time.monotonic() - self._heard() < self._lease / 3:
                continue
            try:
                store = store or self._new_store()
                store.renew(sorted(self._held()), int(self._lease * 1000))
            except Exception:  # noqa: BLE001, S112 -- tried again, and told by the lease thread
                # Nothing may end this thread.  The log's locks belong to the other loop; if it is
                # still so when that runs again, the lease thread says what is wrong.
                continue
        if store is not None:
            store.close()
