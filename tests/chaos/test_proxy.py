"""What the proxy does to connections is what its faults say, to the byte.

Owns: a peer that answers each line, and clients that talk to it through a proxy.  Refuses to
know: Redis.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.chaos.proxy import Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT = 0.3  # seconds in which nothing must come


class _Peer(socketserver.ThreadingTCPServer):
    """Answers each line with `got <line>`; `heard` is every byte that arrived."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.heard = bytearray()


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Peer)
        line = bytearray()
        try:
            while data := self.request.recv(65_536):
                self.server.heard += data
                for each in data.splitlines(keepends=True):
                    line += each
                    if line.endswith(b"\n"):
                        self.request.sendall(b"got " + line)
                        line.clear()
        except ConnectionError:
            return


@pytest.fixture
def peer() -> Iterator[_Peer]:
    """A server that answers lines."""
    with _Peer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(peer: _Peer) -> Iterator[Proxy]:
    """A proxy before it."""
    with Proxy(peer.server_address[1]) as made:
        yield made


@pytest.fixture
def dial(proxy: Proxy) -> Iterator[Callable[[], socket.socket]]:
    """Connections to the proxy, as many as a test wants."""
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", proxy.port), timeout=5))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def talk(line: socket.socket, text: bytes) -> bytes:
    """Say a line, and return what comes back for it."""
    line.sendall(text + b"\n")
    return hear(line, len(text) + 5)


def hear(line: socket.socket, most: int) -> bytes:
    """Read so many bytes, or all until the end."""
    heard = b""
    while len(heard) < most and (more := line.recv(most - len(heard))):
        heard += more
    return heard


def silent(line: socket.socket) -> bool:
    """True if nothing comes for a while, not even the end."""
    line.settimeout(SHORT)
    try:
        line.recv(1)
    except TimeoutError:
        return True
    else:
        return False
    finally:
        line.settimeout(5)


def heard(peer: _Peer, size: int) -> bytes:
    """What arrived at the peer, once it is so many bytes."""
    give_up = time.monotonic() + 5
    while len(peer.heard) < size and time.monotonic() < give_up:
        time.sleep(0.01)
    return bytes(peer.heard)


def test_bytes_pass(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    """Without a fault, everything arrives on the other side, however much it is."""
    line, other = dial(), dial()
    assert talk(line, b"hello") == b"got hello\n"
    large = b"x" * 300_000
    assert talk(other, large) == b"got " + large + b"\n"
    assert proxy.open == 2
    assert proxy.hits == 0


def test_both_sides_learn_of_the_end(
    proxy: Proxy, peer: _Peer, dial: Callable[[], socket.socket]
) -> None:
    """A client that closes its connection closes the server's too; nothing said before is lost."""
    line = dial()
    line.sendall(b"bye\n")
    line.close()
    assert heard(peer, 4) == b"bye\n"
    give_up = time.monotonic() + 5
    while proxy.open and time.monotonic() < give_up:
        time.sleep(0.01)
    assert proxy.open == 0


@pytest.mark.parametrize("after", [0, 1, 5, 9])
def test_a_reply_is_lost_at_any_byte(
    proxy: Proxy, peer: _Peer, dial: Callable[[], socket.socket], after: int
) -> None:
    """The request arrived as a whole; of its reply, exactly so many bytes did."""
    line = dial()
    assert talk(line, b"one") == b"got one\n"
    proxy.begin(Fault("cut", toward="client", after=after))
    assert talk(line, b"three") == b"got three\n"[:after]
    assert line.recv(1) == b""
    assert peer.heard == b"one\nthree\n"
    assert proxy.hits == 1


@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_request_is_cut_at_any_byte(
    proxy: Proxy, peer: _Peer, dial: Callable[[], socket.socket], after: int
) -> None:
    """Exactly so many bytes of the request arrived, and then the end."""
    line = dial()
    assert talk(line, b"one") == b"got one\n"
    proxy.begin(Fault("cut", toward="server", after=after))
    assert talk(line, b"three") == b""
    assert heard(peer, 4 + after) == b"one\nthree\n"[: 4 + after]


def test_a_reset_is_one(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    """A reset connection ends with an error, not with an end of the stream."""
    line = dial()
    assert talk(line, b"one") == b"got one\n"
    proxy.begin(Fault("reset", toward="client"))
    with pytest.raises(ConnectionResetError):
        talk(line, b"two")


def test_what_is_held_arrives_later(
    proxy: Proxy, peer: _Peer, dial: Callable[[], socket.socket]
) -> None:
    """A network that comes back delivers what was on its way, in order, on old and new lines."""
    line = dial()
    assert talk(line, b"one") == b"got one\n"
    proxy.begin(Fault("hold", toward="server"))
    line.sendall(b"two\n")
    line.sendall(b"three\n")
    young = dial()
    young.sendall(b"four\n")
    assert silent(line)
    assert silent(young)
    assert peer.heard == b"one\n"
    proxy.heal()
    assert hear(line, 18) == b"got two\ngot three\n"
    assert hear(young, 9) == b"got four\n"
    assert proxy.hits == 2


def test_a_connection_may_not_survive_the_hole(
    proxy: Proxy, dial: Callable[[], socket.socket]
) -> None:
    """Connections that were held up are reset when that is asked for; idle ones live on."""
    line, idle = dial(), dial()
    assert talk(idle, b"one") == b"got one\n"
    proxy.begin(Fault("hold"))
    line.sendall(b"two\n")
    assert silent(line)
    proxy.heal(reset=True)
    with pytest.raises(ConnectionResetError):
        line.recv(1)
    assert talk(idle, b"three") == b"got three\n"


def test_what_is_swallowed_never_arrives(
    proxy: Proxy, peer: _Peer, dial: Callable[[], socket.socket]
) -> None:
    """Bytes vanish and the connection stays: only its user's patience can tell."""
    line = dial()
    proxy.begin(Fault("swallow", toward="server"))
    line.sendall(b"one\n")
    assert silent(line)
    proxy.heal()
    assert talk(line, b"two") == b"got two\n"
    assert peer.heard == b"two\n"


def test_slow_is_slow(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    """Each way takes as long as it is told to."""
    line = dial()
    proxy.begin(Fault("slow", delay=0.5))
    begun = time.monotonic()
    assert talk(line, b"one") == b"got one\n"
    assert 1.0 <= time.monotonic() - begun < 5
    proxy.heal()
    begun = time.monotonic()
    assert talk(line, b"two") == b"got two\n"
    assert time.monotonic() - begun < 0.8


def test_refused(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    """New connections come about no more; those that are there go on."""
    line = dial()
    assert talk(line, b"one") == b"got one\n"
    proxy.begin(Fault("refuse"))
    assert hear(dial(), 1) == b""
    assert talk(line, b"two") == b"got two\n"
    proxy.heal()
    assert talk(dial(), b"three") == b"got three\n"


def test_all_dropped(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    """Whatever is connected is not any more, whether or not it says something."""
    lines = [dial(), dial()]
    for line in lines:
        assert talk(line, b"one") == b"got one\n"
    assert proxy.drop() == 2
    assert [line.recv(1) for line in lines] == [b"", b""]
    assert talk(dial(), b"two") == b"got two\n"


def test_nobody_behind_it() -> None:
    """With no server, a client is told so at once."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with (
        Proxy(port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as line,
    ):
        assert line.recv(1) == b""
