"""A process that has imported Celery and Celeriac, and forks whoever is to run a module of them.

Owns: starting `python -m MODULE …` without the second and a half that its imports take.  Refuses to
know: what is run.  The idea is the `forkserver` of `multiprocessing`; here whoever is forked is a
process like one that was executed: a session, a log, an environment and arguments of its own.

What is read while something is imported cannot be told to a fork: see `can_fork`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# What a worker or a beat imports, and no test is about the import of.
WORKERS = (
    *("celery.bin.celery", "celery.bin.worker", "celery.bin.beat", "celery.apps.worker"),
    *("celery.apps.beat", "celery.app.log", "celery.app.amqp", "celery.app.control"),
    *("celery.worker.components", "celery.worker.consumer", "celery.worker.autoscale"),
    *("celery.concurrency.prefork", "celery.concurrency.thread", "celery.concurrency.solo"),
    *("celery.backends.redis", "celery.fixups.django", "celery.loaders.app", "celery.utils.static"),
    *("kombu.transport.redis", "kombu.transport.virtual", "kombu.asynchronous.hub"),
    *("celeriac.testing", "celeriac.settings", "redis.cluster", "sqlite3", "uuid"),
)
# They are read when Python starts, or while Celery is imported.
_READ_EARLY = ("PYTHON", "LD_", "LC_", "LANG", "C_", "REMAP_", "FORKED_BY_", "MALLOC", "GEVENT")
# These replace what other modules import, so they have to come first.
_PATCHING = ("gevent", "eventlet")

# A message may be this long, whatever the system allows.
_PART = 65536


class Forked:
    """A process that was forked: as much of `subprocess.Popen` as the tests call."""

    def __init__(self, args: Sequence[str], pid: int, status: int) -> None:
        self.args, self.pid, self._status = args, pid, status
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit status, as `Popen.returncode` says it; None while it runs."""
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit status; raises TimeoutExpired after seconds."""
        status = self._await(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, what: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, what)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _await(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if not selector.select(timeout):
                    return None
            # Nothing at all is written if the server has died: then nobody will ever know.
            self.returncode = int(os.read(self._status, 16) or str(-signal.SIGKILL))
            os.close(self._status)
        return self.returncode


class ForkServer:
    """The server, as whoever asks it sees it; it ends when this process does."""

    def __init__(
        self, root: Path, environment: Mapping[str, str], imports: Sequence[str] = WORKERS
    ) -> None:
        """It has imported *imports*, in *environment*; the modules of *root* may be run."""
        self._root, self._environment = root, dict(environment)
        self._lock = threading.Lock()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno()), *imports]
            self._server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._environment,
                cwd=root,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def can_fork(self, command: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> bool:
        """Whether a fork of what is imported there runs *command* as Python itself would."""
        early = {
            name
            for name in {*env, *self._environment}
            if name.startswith(_READ_EARLY) and env.get(name) != self._environment.get(name)
        }
        return (
            hasattr(os, "pidfd_open")  # only Linux tells of many ends at once
            and list(command[:2]) == [sys.executable, "-m"]
            and cwd == self._root
            and not early
            and not any(word in _PATCHING for word in command)
        )

    def start(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path | None = None,
    ) -> Forked:
        """Run `python -m …` in a session of its own; what it writes is added to *log*.

        *cwd* is where it runs, and where its modules are found: as a rule, the root.
        """
        status, theirs = os.pipe()
        with log.open("ab") as output:
            asked = json.dumps(
                {"words": command[2:], "env": dict(env), "cwd": str(cwd or self._root)}
            ).encode()
            with self._lock:
                self._line.sendall(len(asked).to_bytes(4))
                fds = [output.fileno(), theirs]
                for start in range(0, len(asked), _PART):
                    socket.send_fds(self._line, [asked[start : start + _PART]], fds)
                    fds = []
                pid = self._line.recv(16)
        os.close(theirs)
        if not pid:
            raise RuntimeError(f"the fork server has ended ({self._server.poll()})")
        return Forked(command, int(pid), status)

    def close(self) -> None:
        """End it; whoever was forked is not ended by that."""
        self._line.close()
        self._server.wait(10)


class _Asked:
    """One request, as the server reads it."""

    def __init__(self, line: socket.socket) -> None:
        size = int.from_bytes(line.recv(4))
        if not size:
            raise EOFError
        text, self.fds = b"", []
        while len(text) < size:
            part, fds, _, _ = socket.recv_fds(line, _PART, 2)
            text += part
            self.fds += fds
        told = json.loads(text)
        self.words: list[str] = told["words"]
        self.env: dict[str, str] = told["env"]
        self.cwd: str = told["cwd"]


def serve(line: socket.socket) -> _Asked | None:
    """Fork for whoever asks, and tell how it ended; return what is asked, in each fork.

    Returns None once nobody can ask any more.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    pid, status = key.data
                    selector.unregister(key.fd)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    with contextlib.suppress(BrokenPipeError):
                        os.write(status, str(code).encode())
                    os.close(status)
                    os.close(key.fd)
                    continue
                try:
                    asked = _Asked(line)
                except EOFError:
                    return None
                output, status = asked.fds
                if (pid := os.fork()) == 0:
                    # Whoever waits for the end of another one is to hear of that one only.
                    for other in selector.get_map().values():
                        if other.data is not None:
                            os.close(other.data[1])
                            os.close(other.fd)
                    os.close(status)
                    os.setsid()
                    os.dup2(output, 1)
                    os.dup2(output, 2)
                    os.close(output)
                    # Not before: whoever asked may end the whole session at once.
                    line.sendall(str(os.getpid()).encode())
                    line.close()
                    return asked
                os.close(output)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def main() -> None:
    """Import the modules named by all arguments but the first: the number of a socket to serve."""
    line = socket.socket(fileno=int(sys.argv[1]))
    for name in sys.argv[2:]:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread is not forked"
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all of it
    asked = serve(line)
    if asked is None:
        return
    os.environ.clear()
    os.environ.update(asked.env)
    time.tzset()
    # What is run may lie elsewhere: this module's own package is not to be taken for its.
    os.chdir(asked.cwd)
    sys.path[0] = asked.cwd
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    module, *sys.argv[1:] = asked.words
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
