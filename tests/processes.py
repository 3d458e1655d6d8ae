"""Processes of a test: each in a group of its own with a log of its own, all ended with the test.

Owns: starting Celery's programs for an app of the tests, signals, logs, and waiting for a
condition.  Refuses to know: what the app does, and what is tested.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import time
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, TypeVar, cast

from celeriac.testing.servers import Child
from tests.fork_server import ForkServer
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from signal import Signals
    from subprocess import Popen

T = TypeVar("T")


def until(
    true: Callable[[], T],
    what: str = "it has come about",
    timeout: float = 30,
    *,
    more: Callable[[], object] = str,
) -> T:
    """Wait for a condition, and return what it returned; what *more* tells is for who fails."""
    give_up = time.monotonic() + timeout
    while not (found := true()):
        assert time.monotonic() < give_up, f"not within {timeout:g} s: {what}\n{more()}"
        time.sleep(0.02)
    return found


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with *more*, in which the package and tests are found."""
    path = os.pathsep.join([str(ROOT / "worker"), str(ROOT)])
    found = {**os.environ, "PYTHONPATH": path, **more}
    # Under it each worker would compile the whole library anew, longer than some tests take.
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


@functools.cache
def _fork_server() -> ForkServer:
    """One for all tests of this process; it ends with it."""
    server = ForkServer(ROOT, environment())
    atexit.register(server.close)
    return server


class Process(Child):
    """A program, its log, and the signals a test sends it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start *command*: a module of Python's is forked from what has imported most of it."""
        if env is not None and (server := _fork_server()).can_fork(command, env, cwd):
            self.log = log
            self.process = cast("Popen[bytes]", server.start(command, log=log, env=env))
        else:
            super().__init__(command, log=log, env=env, cwd=cwd)

    @property
    def name(self) -> str:
        """Its name, which is that of its log."""
        return self.log.stem

    def text(self) -> str:
        """Return all it has written."""
        return self.log.read_text(errors="replace")

    def says(self, text: str) -> bool:
        """True once the log holds *text*."""
        return text in self.text()

    def await_text(self, text: str, timeout: float = 40) -> None:
        """Wait until the log holds *text*; fail at once if the process ends without."""
        until(lambda: self.says(text) or self.ended, f"{self.name} says {text!r}", timeout)
        assert self.says(text), self.text()[-3000:]

    @property
    def ended(self) -> bool:
        """True once the process is gone."""
        return not self.alive

    def children(self) -> list[int]:
        """Return the pids of its own children."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def signal(self, what: Signals) -> None:
        """Send a signal to this process alone."""
        os.kill(self.pid, what)

    def signal_all(self, what: Signals) -> None:
        """Send a signal to it and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, what)

    def wait(self, timeout: float) -> int:
        """Wait for its end, and return its exit code."""
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End it and its children at once, as a machine that loses power does."""
        self.signal_all(SIGKILL)  # also what a child that has ended left behind
        self.wait(10)


class Processes:
    """The workers and beats of one app (a module, for `celery -A`), and other programs."""

    def __init__(self, folder: Path, app: str) -> None:
        self.folder, self.app = folder, app
        self.started: list[Process] = []

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> Process:
        """Start any command; its log is `NAME.log` in the folder."""
        process = Process(command, log=self.folder / f"{name}.log", env=env, cwd=ROOT)
        self.started.append(process)
        return process

    def celery(self, name: str, *words: str, env: Mapping[str, str], says: str = "") -> Process:
        """Start `celery -A APP WORDS…`, and wait until it says something, if it is to.

        Another `-A` among the words takes the place of the first.
        """
        process = self.start(name, [sys.executable, "-m", "celery", "-A", self.app, *words], env)
        until(lambda: process.says(says), f"{name} says {says!r}", 40, more=self.logs)
        return process

    def worker(self, name: str, *words: str, env: Mapping[str, str], children: int = 2) -> Process:
        """Start a worker, and wait until it is ready."""
        options = ["-c", str(children), "-n", f"{name}@test", "-l", "INFO"]
        quiet = ["--without-mingle", "--without-gossip"]
        return self.celery(name, "worker", *options, *quiet, *words, env=env, says=" ready.")

    def beat(self, name: str, env: Mapping[str, str]) -> Process:
        """Start a beat, and wait until it has started."""
        schedule = str(self.folder / f"{name}.schedule")
        words = ["beat", "-l", "INFO", "-s", schedule]
        return self.celery(name, *words, env=env, says="beat: Starting")

    def logs(self) -> str:
        """Return the end of every log."""
        return "\n".join(f"--- {each.name}\n{each.text()[-3000:]}" for each in self.started)

    def kill(self) -> None:
        """End whatever still runs."""
        for process in self.started:
            if not process.ended:
                process.kill()
