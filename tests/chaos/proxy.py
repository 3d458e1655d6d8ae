"""A TCP proxy that stands between a process and its Redis, and can be told to misbehave.

Owns: passing bytes on in both directions, and the faults of a network: connections that end, at
any byte and in either direction, that are reset, held up, swallowed, slow, or never come about.
Refuses to know: what the bytes mean.

One thread serves all connections of a proxy; what callers ask of it is done in that thread, so
that a fault begins and ends between two reads.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

T = TypeVar("T")
Kind = Literal["cut", "reset", "hold", "swallow", "slow", "refuse"]
Toward = Literal["server", "client", "both"]

_CHUNK = 65_536
_MOST_QUEUED = 64  # chunks; a sink that takes no more makes its source wait
_TICK = 0.05  # seconds between two looks at what is due, at most
_BREATH = 0.001  # seconds, while a source has to wait
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST instead of FIN


@dataclass(frozen=True, slots=True)
class Fault:
    """What a proxy does to connections, old and new, for as long as it stands.

    `cut` and `reset` end a connection as soon as a byte should pass; `hold` keeps the bytes until
    the fault is over, as a network does that comes back; `swallow` loses them on a connection
    that stays open, as a firewall does that forgot it; `slow` delays each chunk; `refuse` ends
    new connections at once.  On each connection, *after* bytes still pass in that direction.
    """

    kind: Kind
    toward: Toward = "both"
    after: int = 0
    delay: float = 0.0  # seconds, of slow


class _Flow:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.queue: deque[tuple[float, bytes]] = deque()  # when it is due, and what
        self.held = False  # nothing of the queue may pass
        self.ended = False  # the source sends no more
        self.doomed: Kind | None = None  # how the connection ends once the queue is empty
        self.fault: Fault | None = None
        self.left = 0  # bytes that still pass before the fault strikes

    def suffer(self, fault: Fault | None) -> None:
        self.fault, self.held = fault, False
        self.left = fault.after if fault else 0

    def take(self, data: bytes, now: float) -> bool:
        """Queue what arrived, as far as the fault lets it; True if it struck."""
        if self.fault is None or self.doomed:
            self.queue.append((now, data))
            return False
        passed, rest = data[: self.left], data[self.left :]
        self.left -= len(passed)
        if passed:
            self.queue.append((now, passed))
        if not rest:
            return False
        self._strike(self.fault, rest, now)
        return True

    def _strike(self, fault: Fault, rest: bytes, now: float) -> None:
        if fault.kind in ("cut", "reset"):
            self.doomed = fault.kind
        elif fault.kind == "hold":
            self.held = True
            self.queue.append((now, rest))
        elif fault.kind == "slow":
            before = self.queue[-1][0] if self.queue else now
            self.queue.append((max(before, now) + fault.delay, rest))

    def push(self, now: float) -> None:
        """Send on what is due; raises OSError if the sink is gone."""
        while self.queue and not self.held and self.queue[0][0] <= now:
            due, data = self.queue.popleft()
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self.queue.appendleft((due, data[sent:]))
                return

    @property
    def over(self) -> bool:
        """True if the connection is to end, for what came this way or did not."""
        return (self.ended or self.doomed is not None) and not self.queue


class _Link:
    """A connection: a client's socket, the server's, and the flows between them."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.up, self.down = _Flow(client, server), _Flow(server, client)
        self.touched = False  # a fault struck it

    def flows(self, toward: Toward = "both") -> Iterator[_Flow]:
        if toward != "client":
            yield self.up
        if toward != "server":
            yield self.down

    def suffer(self, fault: Fault | None) -> None:
        for flow in self.flows():
            flow.suffer(None)
        if fault is not None and fault.kind != "refuse":
            for flow in self.flows(fault.toward):
                flow.suffer(fault)

    def close(self, *, reset: bool) -> None:
        for each in (self.client, self.server):
            if reset:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()


class Proxy:
    """A port of its own that leads to *target*, a port on this machine.

    ::

        with Proxy(server.port) as proxy:
            client = redis.Redis(port=proxy.port)
            proxy.begin(Fault("cut", toward="client"))  # the request arrives, the reply does not
    """

    def __init__(self, target: int) -> None:
        self.hits = 0  # connections that a fault struck
        self._target = target
        self._fault: Fault | None = None
        self._links: set[_Link] = set()
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._door = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._door.setblocking(False)
        self.port: int = self._door.getsockname()[1]
        self._bell, self._ear = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)

    # --- what can be asked ---------------------------------------------------------------------

    def begin(self, fault: Fault) -> None:
        """Let a fault stand, instead of the one before, until `heal`."""
        self._ask(lambda: self._stand(fault))

    def heal(self, *, reset: bool = False) -> None:
        """End the fault: what was held passes on; *reset* ends these connections instead."""
        self._ask(lambda: self._heal(reset))

    def drop(self, *, reset: bool = False) -> int:
        """End all connections now; return how many there were."""
        return self._ask(lambda: self._drop(reset))

    @property
    def open(self) -> int:
        """How many connections there are."""
        return self._ask(lambda: len(self._links))

    def start(self) -> None:
        """Listen."""
        for each in (self._door, self._ear):
            self._selector.register(each, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """End all connections, and listen no more."""
        self._stopped.set()
        with contextlib.suppress(OSError):  # it saw the flag before it heard the bell
            self._bell.send(b"!")
        self._thread.join(5)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask(self, what: Callable[[], T]) -> T:
        answer: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._asked.put(lambda: answer.put(what()))
        self._bell.send(b"!")
        return answer.get(timeout=5)

    # --- what the thread does ------------------------------------------------------------------

    def _stand(self, fault: Fault | None) -> None:
        self._fault = fault
        for link in self._links:
            link.touched = False
            link.suffer(fault)

    def _heal(self, reset: bool) -> None:
        if reset:
            for link in [link for link in self._links if link.touched]:
                self._end(link, reset=True)
        self._stand(None)

    def _drop(self, reset: bool) -> int:
        links = list(self._links)
        for link in links:
            self._strike(link)
            self._end(link, reset=reset)
        return len(links)

    def _serve(self) -> None:
        while not self._stopped.is_set():
            for key, _ in self._selector.select(_TICK if self._links else None):
                if key.fileobj is self._door:
                    self._accept()
                elif key.fileobj is self._ear:
                    self._ear.recv(_CHUNK)
                else:
                    self._read(*key.data)
            while not self._asked.empty():
                self._asked.get()()
            self._push()
        for link in list(self._links):
            self._end(link, reset=False)
        for each in (self._door, self._ear, self._bell, self._selector):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = self._door.accept()
            if self._fault is not None and self._fault.kind == "refuse":
                self.hits += 1
                client.close()
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=2)
            except OSError:
                client.close()  # nobody there: the client learns it from us
                return
            self._connect(_Link(client, server))

    def _connect(self, link: _Link) -> None:
        for flow in link.flows():
            flow.source.setblocking(False)
            flow.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(flow.source, selectors.EVENT_READ, (link, flow))
        link.suffer(self._fault)
        self._links.add(link)

    def _read(self, link: _Link, flow: _Flow) -> None:
        if link not in self._links:
            return
        if len(flow.queue) > _MOST_QUEUED:
            time.sleep(_BREATH)
            return
        try:
            data = flow.source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._end(link, reset=True)
            return
        if not data:
            flow.ended = True
            self._selector.unregister(flow.source)
        elif flow.take(data, time.monotonic()):
            self._strike(link)

    def _push(self) -> None:
        now = time.monotonic()
        for link in list(self._links):
            try:
                for flow in link.flows():
                    flow.push(now)
            except OSError:
                self._end(link, reset=True)
                continue
            for flow in link.flows():
                if flow.over and not flow.held:
                    self._end(link, reset=flow.doomed == "reset")
                    break

    def _strike(self, link: _Link) -> None:
        self.hits += not link.touched
        link.touched = True

    def _end(self, link: _Link, *, reset: bool) -> None:
        if link in self._links:
            self._links.discard(link)
            for each in (link.client, link.server):
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
            link.close(reset=reset)
