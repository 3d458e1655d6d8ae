"""The processes under chaos, and who looks after them: workers, beats and clients.

Owns: starting a process for each place, starting another one when it is gone, crashed or deaf,
and counting why.  Refuses to know: who harms them.

Whoever runs Celery workers has a supervisor, and needs it: when a broken connection meets Celery
5.7, a worker may end with "Unrecoverable error", or live on and take no message any more, or count
a child as busy for ever.  So there is a probe: a task in a queue of each worker's own, which only
that worker consumes.  A worker whose probe does not come through for long is replaced as deaf.
One that was asked to end (SIGTERM) is ended after ten seconds, as by most supervisors: a child of
billiard waits half a minute for its parent to take note of its last result, which a parent that
has stopped its loop does not always do.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from signal import SIGUSR2
from typing import TYPE_CHECKING, NamedTuple

from tests.house.sources import ROOT
from tests.processes import Process, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from signal import Signals

PROBE = "chaos.probe"  # the task
DEAF = 10.0  # seconds without a probe that came through
_START = 30.0  # seconds a worker may take until it is ready
_LEAVE = 10.0  # seconds a process may take to end in good order
_TICK = 0.25  # seconds between two looks
_PROBES = 4  # ticks between two probes
_A_MOMENT = 0.3  # seconds to write a few lines
_CRASH = b"Unrecoverable error"


class Replaced(NamedTuple):
    """A process that was replaced though nobody had ended it."""

    place: str
    cause: str


class Place:
    """Where a process belongs: it has one at any time, each with a log of its own."""

    def __init__(
        self, folder: Path, name: str, command: Sequence[str], env: Mapping[str, str], ready: bytes
    ) -> None:
        """*command* follows `python -m`; `{}` in it stands for the name of the process."""
        self.name, self.generation = name, 0
        self.ready = 0.0  # monotonic, when it said so; 0: not yet
        self.crashed = ""  # what its log says
        self._folder, self._command, self._env, self._sign = folder, command, env, ready
        self._child: Process | None = None
        self._begun = self._excused = 0.0
        self._read = 0
        self._dismissed = 0.0  # when somebody ended it on purpose
        self._disturbed = 0  # faults that keep it from its work

    @property
    def process(self) -> str:
        """The name of the present process: `w1.3`."""
        return f"{self.name}.{self.generation}"

    @property
    def log(self) -> Path:
        """The log of the present process."""
        return self._folder / f"{self.process}.log"

    @property
    def _present(self) -> Process:
        assert self._child is not None, "it was not started yet"
        return self._child

    @property
    def status(self) -> int | None:
        """The exit status of the present process; None while it lives."""
        return self._child.process.poll() if self._child else 0

    def start(self) -> None:
        """Start a (new) process."""
        self.generation += 1
        self.ready, self.crashed, self._read, self._dismissed = 0.0, "", 0, 0.0
        self._begun = time.monotonic()
        words = [word.replace("{}", self.process) for word in self._command]
        command = [sys.executable, "-m", *words]
        self._child = Process(command, log=self.log, env=environment(**self._env), cwd=ROOT)

    def children(self) -> list[int]:
        """The pids of its own children."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return self._present.children()
        return []

    def signal(self, what: Signals, *, everybody: bool = True) -> None:
        """Send a signal to the process, and to all its children unless told otherwise."""
        with contextlib.suppress(ProcessLookupError):
            (self._present.signal_all if everybody else self._present.signal)(what)

    def dismiss(self, what: Signals, *, everybody: bool = True) -> None:
        """End the process on purpose: nobody is to wonder why it is gone."""
        self._dismissed = time.monotonic()
        self.signal(what, everybody=everybody)

    def disturb(self) -> None:
        """Say that it cannot be expected to work, until it is pardoned as often."""
        self._disturbed += 1

    def pardon(self, seconds: float) -> None:
        """Say that it can be expected to work again, after so many seconds."""
        self._disturbed -= 1
        self._excused = time.monotonic() + seconds

    def tell_why(self) -> None:
        """Let a worker that hangs, and its children, write to its log where (`worker`)."""
        self.signal(SIGUSR2)
        time.sleep(_A_MOMENT)

    def end(self) -> None:
        """End the process and its children at once, and see them gone."""
        if self._child is not None:
            self._child.kill()

    def complaint(self) -> str | None:
        """Why another process is needed: a cause, '' if somebody ended it, None if it is well."""
        self._look()
        now = time.monotonic()
        if self.status is not None:
            return "" if self._dismissed else self.crashed or f"ended by itself ({self.status})"
        if self._dismissed:
            return f"took more than {_LEAVE:g} s to end" if now - self._dismissed > _LEAVE else None
        if self.crashed:
            return self.crashed
        if not self.ready:
            return "did not start" if now - max(self._begun, self._excused) > _START else None
        return None

    def silent(self, since: float) -> bool:
        """True if it should have done something after *since* (monotonic), and long ago."""
        newest = max(since, self.ready, self._excused)
        return bool(self.ready) and not self._disturbed and time.monotonic() - newest > DEAF

    def _look(self) -> None:
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
            # The last line may be half written: it is read again.
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            if not self.ready and self._sign in text:
                self.ready = time.monotonic()
            for line in whole.splitlines():
                if _CRASH in line:
                    self.crashed = line[line.index(_CRASH) :].decode(errors="replace")[:120]


class Fleet:
    """All places, and the thread that sees to them."""

    def __init__(
        self, places: Sequence[Place], probe: Callable[[Place], None], folder: Path
    ) -> None:
        """*probe* sends a worker its probe, and may raise OSError."""
        self.places = {place.name: place for place in places}
        self.replaced: list[Replaced] = []
        self.trouble: list[str] = []  # what the thread itself stumbled over
        self._probe, self._folder = probe, folder
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._tend, self._probe_all)
        ]

    def start(self) -> None:
        """Start every process, and look after them from now on."""
        for place in self.places.values():
            place.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look after nothing any more, and end whatever runs."""
        self._over.set()
        for thread in self._threads:
            thread.join(15)
        for place in self.places.values():
            place.end()

    def retire(self, *names: str) -> None:
        """End these places for good."""
        with self._lock:
            for name in names:
                self.places.pop(name).end()

    def probed(self, place: Place) -> float:
        """When the newest probe came through (monotonic); 0 if none did."""
        with contextlib.suppress(FileNotFoundError):
            told = (self._folder / f"{place.process}.probed").stat().st_mtime
            return time.monotonic() - (time.time() - told)
        return 0.0

    def workers(self) -> list[Place]:
        """The places of workers."""
        return [place for place in list(self.places.values()) if place.name.startswith("w")]

    def _tend(self) -> None:
        while not self._over.wait(_TICK):
            for place in list(self.places.values()):
                try:
                    with self._lock:
                        self._see_to(place)
                except OSError as error:
                    self.trouble.append(f"{place.process}: {error!r}")

    def _see_to(self, place: Place) -> None:
        cause = place.complaint()
        if cause is None and place.name.startswith("w") and place.silent(self.probed(place)):
            cause = "deaf"
        if cause is None or place.name not in self.places:
            return
        if cause:
            self.replaced.append(Replaced(place.name, cause))
            place.tell_why()
        place.end()
        place.start()

    def _probe_all(self) -> None:
        while not self._over.wait(_TICK * _PROBES):
            for place in self.workers():
                try:
                    self._probe(place)
                except OSError:
                    continue  # the broker is away; soon there is another one
                except Exception as error:  # noqa: BLE001 -- it is told, and fails the run
                    self.trouble.append(f"a probe of {place.process}: {error!r}")
