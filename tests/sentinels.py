"""A primary, a replica and three sentinels that watch them: real ones, on free ports.

Owns: starting them in the right order, and who the sentinels say the primary is.  Refuses to know:
what is kept there, and what goes wrong.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from celeriac.testing.servers import free_port
from tests.processes import until
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Self

    import redis

MASTER = "the-state"
DOWN_AFTER = 700  # ms of silence after which a sentinel takes a server for dead


class SentinelServer(RedisServer):
    """A sentinel that watches the server at *watched*."""

    def __init__(
        self, folder: Path, watched: int, *, password: str = "", state_password: str = ""
    ) -> None:
        super().__init__(folder)
        self._watched, self._password, self._state_password = watched, password, state_password

    @property
    def url(self) -> str:
        """The URL at which it answers."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}"

    def client(self, **options: Any) -> redis.Redis:
        """Return a new client of it."""
        return super().client(password=self._password or None, **options)

    def _command(self) -> Iterator[str]:
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self._watched} 2",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}",
            f"sentinel failover-timeout {MASTER} 3000",
        ]
        if self._password:
            lines += [f"requirepass {self._password}", f"sentinel sentinel-pass {self._password}"]
        if self._state_password:
            lines.append(f"sentinel auth-pass {MASTER} {self._state_password}")
        file = self.folder / "sentinel.conf"  # which it writes itself from then on
        if not file.exists():
            file.write_text("\n".join(lines) + "\n")
        yield from (str(self.binary), str(file), "--sentinel")


class Watched:
    """Two servers and the sentinels that watch them."""

    def __init__(
        self,
        folder: Path,
        *,
        password: str = "",
        state_password: str = "",
        options: Mapping[str, str | int] | None = None,
    ) -> None:
        self._folder, self._password, self._state_password = folder, password, state_password
        self._options: dict[str, str | int] = {"repl-diskless-sync-delay": 0, **(options or {})}
        if state_password:
            self._options |= {"requirepass": state_password, "masterauth": state_password}
        self.servers: dict[int, RedisServer] = {}  # by port
        self.sentinels: list[SentinelServer] = []

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        with ExitStack() as stack:
            first = self._server(stack, "a", {})
            second = self._server(stack, "b", {"replicaof": f"127.0.0.1 {first.port}"})
            with self.client(second.port) as client:
                until(lambda: client.info("replication")["master_link_status"] == "up")
            for n in range(3):
                folder = self._folder / f"sentinel-{n}"
                passwords = {"password": self._password, "state_password": self._state_password}
                made = SentinelServer(folder, first.port, **passwords)
                self.sentinels.append(stack.enter_context(made))
            until(lambda: all(map(self._knows_all, self.sentinels)), "sentinels know each other")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def broker(self) -> str:
        """Where it is, as Celery spells it."""
        login = f":{self._state_password}@" if self._state_password else ""
        return ";".join(f"sentinel://{login}127.0.0.1:{each.port}" for each in self.sentinels)

    @property
    def transport_options(self) -> dict[str, Any]:
        """What Celery has to be told besides."""
        kwargs = {"password": self._password} if self._password else {}
        return {"master_name": MASTER, "sentinel_kwargs": kwargs}

    @property
    def url(self) -> str:
        """Where the state is, in one line."""
        more = f"&sentinel_password={self._password}" if self._password else ""
        return f"{self.broker}/0?master_name={MASTER}{more}"

    def client(self, port: int) -> redis.Redis:
        """Return a new client of one of the two servers."""
        return self.servers[port].client(password=self._state_password or None)

    @property
    def primary(self) -> RedisServer:
        """Whom the sentinels take for the primary; they agree."""

        def agreed() -> int:
            ports = {self._named(each) for each in self.sentinels}
            return ports.pop() if len(ports) == 1 else 0

        return self.servers[until(agreed, "the sentinels agree")]

    def moved_from(self, port: int) -> bool:
        """True once all sentinels name another primary."""
        return all(self._named(each) != port for each in self.sentinels)

    def fail_over(self) -> None:
        """Ask for a failover although the primary is well."""
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)

    def _named(self, sentinel: SentinelServer) -> int:
        with sentinel.client() as client:
            found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(found[1])

    def _knows_all(self, sentinel: SentinelServer) -> bool:
        with sentinel.client() as client:
            told: Any = client.execute_command("SENTINEL", "MASTER", MASTER)
        said = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
        return int(said["num-slaves"]) == 1 and int(said["num-other-sentinels"]) == 2

    def _server(self, stack: ExitStack, name: str, more: Mapping[str, str | int]) -> RedisServer:
        found = _Locked(
            self._folder / name, options={**self._options, **more}, password=self._state_password
        )
        found.port = free_port()
        stack.enter_context(found)
        self.servers[found.port] = found
        return found


class _Locked(RedisServer):
    """A server that may ask for a password."""

    def __init__(self, folder: Path, *, options: Mapping[str, str | int], password: str) -> None:
        super().__init__(folder, options=options)
        self._password = password

    @property
    def url(self) -> str:
        """The URL at which it answers."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"
