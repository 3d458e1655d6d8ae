"""Which workers there are, by the signs of life that they give: what a store promises of it.

Owns: the promise, the values that cross it, and the memory store's way to keep it.  Refuses to
know: who counts as dead, and Redis (`links`).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Worker(NamedTuple):
    """Who a worker's main process is; it never changes."""

    id: str  # how the holder of each attempt begins that one of its processes claims
    place: str  # where its process id means something; empty: nobody can look there
    pid: int
    born: int  # when the process began, in the clock ticks of its machine
    lease: int  # ms; how long its leases last


class Presence(NamedTuple):
    """A worker's newest sign of life, and over which connection it came."""

    worker: Worker
    seen: int  # ms, the store's clock
    since: int  # ms; the connection stands since then
    server: str  # which run of which server it leads to
    link: int  # the server's number for the connection; never given twice in one run of a server
    silent: bool = False  # a sweep found that it said nothing, and yet was connected
    died: int = 0  # ms; when it was found dead; 0: it was not


class Connected(NamedTuple):
    """What a server says of connections."""

    server: str  # as in `Presence.server`
    links: frozenset[int]  # those that stand, of the ones asked for


class Presences(Protocol):
    """Which workers there are.  Raises what a `Store` raises; every method is a round trip or two.

    A store that cannot say which connections stand raises StoreError.
    """

    def announce(self, worker: Worker) -> None:
        """Note a sign of life of *worker*, over a connection that is there for nothing else."""
        ...

    def withdraw(self, worker_id: str) -> None:
        """Forget a worker: it has ended, and left nothing behind."""
        ...

    def known(self) -> tuple[int, Sequence[Presence]]:
        """Return the store's time (ms) and what is known of each worker."""
        ...

    def connected(self, links: Sequence[int]) -> Connected:
        """Return which of the connections with these numbers stand."""
        ...

    def note(self, found: Presence, changed: Presence | None) -> bool:
        """Keep *changed* in the place of *found* (None: forget it); False, if there is a newer."""
        ...

    def close(self) -> None:
        """Close the connection over which a worker speaks."""
        ...


class MemoryPresences:
    """The workers of a memory store, where a connection is a number that a test may cut."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """*clock* returns the time in milliseconds."""
        self.server = "memory-1"  # another name: the server was started anew
        self.links: set[int] = set()
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Presence] = {}
        self._numbers = 0

    def announce(self, worker: Worker) -> None:
        """Note a sign of life of *worker*, over a new connection if its own was cut."""
        with self._lock:
            now, found = self._clock(), self._known.get(worker.id)
            if found is None or found.server != self.server or found.link not in self.links:
                self._numbers += 1
                self.links.add(self._numbers)
                found = Presence(worker, now, now, self.server, self._numbers)
            self._known[worker.id] = found._replace(seen=now, silent=False, died=0)

    def withdraw(self, worker_id: str) -> None:
        """Forget a worker."""
        with self._lock:
            self._known.pop(worker_id, None)

    def known(self) -> tuple[int, Sequence[Presence]]:
        """Return the time and what is known of each worker."""
        with self._lock:
            return self._clock(), list(self._known.values())

    def connected(self, links: Sequence[int]) -> Connected:
        """Return which of the connections with these numbers stand."""
        with self._lock:
            return Connected(self.server, frozenset(links) & self.links)

    def note(self, found: Presence, changed: Presence | None) -> bool:
        """Keep *changed* in the place of *found*, if there is no newer sign of life."""
        with self._lock:
            newest = self._known.get(found.worker.id)
            if newest is None or newest.seen != found.seen:
                return False
            if changed is None:
                del self._known[found.worker.id]
            else:
                self._known[found.worker.id] = changed
            return True

    def close(self) -> None:
        """Do nothing: there are no connections."""
