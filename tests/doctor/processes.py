"""Workers and beats of the clinic, as processes of their own.

Owns: starting and ending them by pid, and waiting for conditions.  Refuses to know: what is wrong
with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from signal import SIGCONT, SIGKILL, Signals
from typing import TYPE_CHECKING, Any, TypeVar

from tests.doctor.examined_app import VARIABLE
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


def until(true: Callable[[], T], what: str, timeout: float = 30) -> T:
    """Wait for a condition, and return what it returned."""
    give_up = time.monotonic() + timeout
    while time.monotonic() < give_up:
        if found := true():
            return found
        time.sleep(0.02)  # a condition is awaited
    raise AssertionError(f"not within {timeout:g} s: {what}")


def environment(**clinic: Any) -> dict[str, str]:
    """What a process of the clinic finds in its environment."""
    path = os.pathsep.join([str(ROOT / "worker"), str(ROOT)])
    return {**os.environ, VARIABLE: json.dumps(clinic), "PYTHONPATH": path}


class Process:
    """A process of the clinic, in a group of its own, and its log."""

    def __init__(self, log: Path, command: list[str], env: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pid = self._child.pid

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def says(self, text: str, timeout: float = 30) -> None:
        """Wait until its log holds *text*."""
        until(lambda: text in self.text() or self.ended, f"{text!r} in the log", timeout)
        assert text in self.text(), self.text()[-3000:]

    @property
    def ended(self) -> bool:
        """True once it is gone."""
        return self._child.poll() is not None

    def signal(self, what: Signals) -> None:
        """Send a signal to this process alone."""
        os.kill(self.pid, what)

    def wait(self, timeout: float) -> int:
        """Wait for its end, and return its exit code."""
        return self._child.wait(timeout)

    def kill(self) -> None:
        """End it and its children at once."""
        for what in (SIGCONT, SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, what)
        self._child.wait(10)


class Ward:
    """Starts workers and beats, and ends what it started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []

    def start(self, name: str, command: list[str], env: dict[str, str]) -> Process:
        """Start any command, with a log of this *name*."""
        process = Process(self._folder / f"{name}.log", command, env)
        self._processes.append(process)
        return process

    def worker(self, name: str, *args: str, **clinic: Any) -> Process:
        """Start a worker, and wait until it is ready."""
        command = [sys.executable, "-m", "celery", "-A", "tests.doctor.examined_app", "worker"]
        quiet = ["--without-mingle", "--without-gossip", "-l", "INFO"]
        words = [*command, "-n", f"{name}@test", "-c", "1", *quiet, *args]
        process = self.start(name, words, environment(**clinic))
        process.says(" ready.")
        return process

    def beat(self, name: str, **clinic: Any) -> Process:
        """Start a beat, and wait until it has started."""
        schedule = str(self._folder / f"{name}.schedule")
        command = [sys.executable, "-m", "celery", "-A", "tests.doctor.examined_app", "beat"]
        words = [*command, "-l", "INFO", "-s", schedule]
        process = self.start(name, words, environment(**clinic))
        process.says("beat: Starting")
        return process

    def close(self) -> None:
        """End whatever still runs."""
        for process in self._processes:
            if not process.ended:
                process.kill()
