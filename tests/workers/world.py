"""A world for one test: workers and beats of its own, over a Redis of its own.

Owns: starting and ending processes (by pid), waiting for conditions, and checking a run against
the ledger.  Refuses to know: what is tested.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGCONT, SIGKILL
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.machine.moves import fold
from celeriac.machine.runs import AT_REST
from tests.workers.kit import RECOVERY, Kit, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from signal import Signals

    from celeriac import RunHandle, RunState
    from tests.redis_server import RedisServer

T = TypeVar("T")
_ROOT = Path(__file__).parents[2]


class Process:
    """A child process, its log, and the signals a test sends it."""

    def __init__(self, folder: Path, name: str, args: list[str], env: dict[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tests.workers.worker_app", *args],
                cwd=_ROOT,
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a group of its own, to end all of it
            )
        self.pid = self._child.pid

    def says(self, text: str) -> bool:
        """True once the log holds *text*."""
        return text in self.log.read_text(errors="replace")

    def children(self) -> list[int]:
        """The pids of its own children."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def signal(self, what: Signals) -> None:
        """Send a signal to this process alone."""
        os.kill(self.pid, what)

    def signal_all(self, what: Signals) -> None:
        """Send a signal to it and all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, what)

    def kill(self) -> None:
        """End it and its children at once, as a machine that loses power does."""
        self.signal_all(SIGCONT)
        self.signal_all(SIGKILL)
        self._child.wait(10)

    @property
    def ended(self) -> bool:
        """True once the process is gone."""
        return self._child.poll() is not None


class World:
    """A Redis, a client, and as many workers and beats as a test wants."""

    def __init__(self, folder: Path, redis: RedisServer, state: RedisServer | None = None) -> None:
        """*redis* is the broker, and holds the runs too unless *state* does."""
        self.folder, self.redis, self.state = folder, redis, state
        self.kit: Kit = build(redis.url, folder, (), state.url if state else None)
        self.ledger = self.kit.ledger
        self._processes: list[Process] = []

    # --- processes -----------------------------------------------------------------------------

    def worker(
        self, name: str = "w1", *, children: int = 2, without: str = "", args: tuple[str, ...] = ()
    ) -> Process:
        """Start a worker and wait until it is ready."""
        options = ["worker", "-c", str(children), "-n", f"{name}@test", "-l", "INFO"]
        quiet = ["--without-mingle", "--without-gossip"]
        process = self._start(name, [*options, *quiet, *args], {"KIT_WITHOUT": without})
        self.until(lambda: process.says(" ready."), f"{name} is ready", 30)
        return process

    def supervise(self) -> list[str]:
        """Replace the workers that have crashed, as whoever runs them does; return their names.

        When a connection with unacknowledged messages is lost, Celery 5.7 may end with
        "Unrecoverable error: AttributeError" instead of connecting again; what is left of such a
        worker takes no message any more.
        """
        found = [p for p in self._processes if not p.ended and p.says("Unrecoverable error")]
        for process in found:
            process.kill()
            self.worker(f"{process.name}-again", children=4)
        return [process.name for process in found]

    def beat(self, name: str = "beat") -> Process:
        """Start a beat and wait until it has started."""
        schedule = str(self.folder / f"{name}.schedule")
        process = self._start(name, ["beat", "-l", "INFO", "-s", schedule], {})
        self.until(lambda: process.says("beat: Starting"), f"{name} has started", 30)
        return process

    def _start(self, name: str, args: list[str], extra: dict[str, str]) -> Process:
        env = {**os.environ, "KIT_BROKER": self.redis.url, "KIT_FOLDER": str(self.folder), **extra}
        env["KIT_STATE"] = self.state.url if self.state else ""
        env["PYTHONPATH"] = os.pathsep.join([str(_ROOT / "worker"), str(_ROOT)])
        process = Process(self.folder, name, args, env)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End whatever still runs."""
        for process in self._processes:
            if not process.ended:
                process.kill()
        self.kit.sagas.runtime.close()

    # --- faults and gates ----------------------------------------------------------------------

    @contextlib.contextmanager
    def fault(self, name: str, only: str = "") -> Iterator[None]:
        """Let messages be dropped, doubled or reordered (see `kit`)."""
        made = self.folder / f"{name}.new"
        made.write_text(only)
        made.rename(self.folder / name)  # at once: nobody reads half of it
        try:
            yield
        finally:
            (self.folder / name).unlink()

    def published(self, called: str, sign: str = "+") -> list[str]:
        """The messages sent (or dropped: `-`) that have *called* in their task's name or id."""
        log = self.folder / "published"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line[2:] for line in lines if line[0] == sign and called in line]

    def reached(self, run: RunHandle[Any], step: str) -> None:
        """Wait until a step waits at its gate."""
        mark = self.folder / f"{run.id}.{step}.reached"
        self.until(mark.exists, f"{run.id} reached its gate in {step}")

    def open(self, run: RunHandle[Any], step: str) -> None:
        """Open the gate of a step."""
        (self.folder / f"{run.id}.{step}.open").touch()

    # --- waiting and checking ------------------------------------------------------------------

    def until(self, true: Callable[[], T], what: str, timeout: float = RECOVERY + 10) -> T:
        """Wait for a condition, and return what it returned."""
        give_up = time.monotonic() + timeout
        while time.monotonic() < give_up:
            found = true()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"not within {timeout:g} s: {what}\n{self.logs()}")

    def rest(self, run: RunHandle[Any], timeout: float = RECOVERY + 20) -> RunState:
        """Wait until a run is at rest, check the invariants, and return its state."""
        self.until(lambda: run.status in AT_REST, f"{run.id} at rest: {_story(run)}", timeout)
        self.check(run)
        return run.state()

    def check(self, run: RunHandle[Any]) -> None:
        """The ledger agrees with the run (I1, I2), and its history folds to its state (I9)."""
        store = self.kit.sagas.runtime.engine.store
        found, history = store.read(run.id).run, run.history()
        while (again := store.read(run.id).run) != found:  # a late report came between the two
            found, history = again, run.history()
        assert found is not None
        plan = store.plan(run.id, found.plan)
        assert fold(plan, run.id, history) == found, _story(run)
        live = self.ledger.live(run.id)
        if found.status == "completed":
            assert live == {node.name for node in plan.nodes}, _story(run)
        if found.status == "compensated":
            assert live == set(), _story(run)
        for row in self.ledger.rows(f"{run.id}:%", "begin"):
            assert row.attempt <= 3, _story(run)

    def logs(self) -> str:
        """The end of every process's log."""
        return "\n".join(
            f"--- {p.name}\n{p.log.read_text(errors='replace')[-3000:]}" for p in self._processes
        )


def _story(run: RunHandle[Any]) -> str:
    return "\n".join(event.dump() for event in run.history())
