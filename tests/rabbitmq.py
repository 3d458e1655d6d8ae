"""A RabbitMQ of a test's own: a node in a folder, on free ports, that ends with the test.

Owns: finding the server, starting its node apart from any other on the machine, killing it and
starting it again with its data.  Refuses to know: what its queues are for.

Debian's script wants to be root or `rabbitmq`; the one it calls, in `/usr/lib/rabbitmq`, does not.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac.testing.servers import Child, free_port
from tests.processes import until

if TYPE_CHECKING:
    from typing import Self

START_SECONDS = 90.0
_SCRIPTS = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),)


def find_rabbitmq() -> Path:
    """Return the script that starts a node; skip the test where there is none."""
    found = [script for script in _SCRIPTS if os.access(script, os.X_OK)]
    if on_path := shutil.which("rabbitmq-server"):
        found.append(Path(on_path))
    if not found:
        pytest.skip("there is no rabbitmq-server on this machine")
    return found[0]


def _epmd() -> str:
    found = shutil.which("epmd") or next(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"), None)
    if found is None:
        pytest.skip("there is no epmd on this machine, which RabbitMQ needs")
    return str(found)


class RabbitServer:
    """A node in *folder*; *options* are lines of its configuration (`rabbitmq.conf`).

    *erlang* are further words for the Erlang it runs in: what no line of the configuration can say.
    """

    def __init__(
        self, folder: Path, *, options: dict[str, str | int] | None = None, erlang: str = ""
    ) -> None:
        self.folder, self._script = folder.absolute(), find_rabbitmq()
        self._options, self._erlang = dict(options or {}), erlang
        self.port = self._dist = self._epmd = 0
        self.child: Child | None = None
        self._names: Child | None = None
        self.folder.mkdir(parents=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> Self:
        """Start it, at the address and with the data it had, and return once it answers."""
        if not self.port:
            self.port, self._dist, self._epmd = free_port(), free_port(), free_port()
        # A name server of its own: one that Erlang starts itself would stay behind.
        self._names = Child([_epmd(), "-port", str(self._epmd)], log=self.folder / "epmd.log")
        lines = {"listeners.tcp.1": f"127.0.0.1:{self.port}", **self._options}
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (self.folder / "rabbitmq.conf").write_text(text)
        (self.folder / "plugins").write_text("[].\n")
        self.child = Child([str(self._script)], log=self.folder / "rabbit.log", env=self._env())
        until(self._answers, "RabbitMQ answers", START_SECONDS, more=self.child.last_words)
        return self

    def kill(self) -> None:
        """End it at once, as a machine that loses power does."""
        for each in (self.child, self._names):
            if each is not None:
                each.kill()

    def restart(self) -> None:
        """Kill it and start it again, with what it had written to its disk."""
        self.kill()
        self.start()

    def took_back(self) -> bool:
        """True once it has closed a channel on which nothing was acknowledged for too long."""
        return any("Timeout value used" in log.read_text() for log in self.folder.glob("log/*.log"))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _env(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            **os.environ,
            "HOME": folder,  # where Erlang keeps its cookie
            "RABBITMQ_BASE": folder,
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist),
            "ERL_EPMD_PORT": str(self._epmd),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": self._erlang,
        }

    def _answers(self) -> bool:
        assert self.child is not None
        assert self.child.alive, self.child.last_words(30)
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                pass
            with Celery(broker=self.url, set_as_current=False).connection_for_write() as link:
                link.connect()
        except OSError:
            return False
        return True
