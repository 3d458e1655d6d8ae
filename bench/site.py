"""Where it is measured: a Redis, a beat and workers, started for the length of a benchmark.

Owns: starting and ending them, holding messages back, and the CPU time each has used.  Refuses to
know: what is measured.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from bench.app import ENDED, LEFT, app, redis
from celeriac.testing.servers import Child, LocalRedis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
QUEUES = "celery,celeriac"
PATIENCE = 300  # seconds that a batch may take, and the longer the more runs it has
_SLOWEST = 50  # of them in a second
_TICKS = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """CPU seconds, by whose they are."""

    main: float
    children: float
    beat: float
    redis: float

    @property
    def celery(self) -> float:
        """All of Celery's processes: worker, its children, and beat."""
        return self.main + self.children + self.beat

    def since(self, before: Cpu) -> Cpu:
        """Return what was used since *before*."""
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))


class Batch(NamedTuple):
    """What it took to do many of the same."""

    size: int
    seconds: float  # from the first message taken to the last body called
    cpu: Cpu
    client: float  # CPU seconds of who started them


class Site:
    """A Redis and a beat, as `with` gives them, and the worker that `worker` starts."""

    def __init__(self, folder: Path, children: int) -> None:
        self.folder, self.children = folder, children
        self.redis = LocalRedis(folder / "redis")  # its append-only file is written every second
        self._beat: Child | None = None
        self._worker: Child | None = None
        self._env: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.redis.start()
        os.environ["CELERY_BROKER_URL"] = self.redis.url  # before this process uses the app
        path = os.pathsep.join([str(ROOT / "worker"), str(ROOT)])
        self._env = {**os.environ, "PYTHONPATH": path}
        self._beat = self._celery("beat", "beat", "-s", str(self.folder / "schedule"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._beat is not None:
            self._beat.stop()
        self.redis.stop()

    @contextmanager
    def worker(self, env: dict[str, str] | None = None) -> Iterator[Child]:
        """Run the worker that is measured; *env* is added to its environment."""
        with self.another_worker("main", QUEUES, self.children, env) as worker:
            self._worker = worker
            yield worker
        self._worker = None

    @contextmanager
    def another_worker(
        self, name: str, queues: str, children: int, env: dict[str, str] | None = None
    ) -> Iterator[Child]:
        """Run a worker for some *queues*, from when it takes tasks until it has ended."""
        worker = self.launch_worker(name, queues, children, env)
        try:
            self.await_worker(name, worker)
            yield worker
        finally:
            worker.stop(60)  # the pool may be slow to end

    def launch_worker(
        self, name: str, queues: str, children: int, env: dict[str, str] | None = None
    ) -> Child:
        """Start a worker, without waiting for it."""
        words = ["-c", str(children), "-n", f"{name}@bench", "-Q", queues]
        quiet = ["--without-mingle", "--without-gossip"]
        return self._celery(name, "worker", *words, *quiet, env=env)

    def await_worker(self, name: str, worker: Child) -> None:
        """Wait until a worker takes tasks."""
        give_up = time.monotonic() + 60
        ping = {"reply": True, "timeout": 0.5, "limit": 1, "destination": [f"{name}@bench"]}
        while not app.control.broadcast("ping", **ping):
            if time.monotonic() > give_up or not worker.alive:
                raise SystemExit(f"the worker did not start:\n{worker.last_words(30)}")

    def batch(self, count: int, start: Callable[[], object]) -> Batch:
        """Start *count* of something, and measure the worker at them.

        They are queued first: what is measured is the worker, not the client.
        """
        self.expect(count)
        began = time.process_time()
        with self.held():
            for _ in range(count):
                start()
            client = time.process_time() - began
            queued, before = redis().llen("celery"), self.cpu()
        # It may be a second before the worker asks for a queue that was added.
        while redis().llen("celery") == queued:
            time.sleep(0.0005)
        begin = time.perf_counter()
        end = self.await_end(count)
        return Batch(count, end - begin, self.cpu().since(before), client)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the worker take nothing from its queue meanwhile."""
        app.control.cancel_consumer("celery", reply=True, limit=1)
        yield
        app.control.add_consumer("celery", reply=True, limit=1)

    @staticmethod
    def expect(count: int) -> None:
        """Expect *count* ends."""
        redis().delete(ENDED)
        redis().set(LEFT, count)

    def await_end(self, count: int) -> float:
        """Wait until the last body was called, and return when that was."""
        patience = PATIENCE + count // _SLOWEST
        told = redis().blpop([ENDED], timeout=patience)
        if told is None:
            words = self._worker.last_words(30) if self._worker else ""
            left = redis().get(LEFT)
            raise SystemExit(f"of {count}, {left!r} did not end within {patience} s\n{words}")
        return float(told[1])

    def cpu(self) -> Cpu:
        """Return the CPU seconds that each process has used so far."""
        worker = self._worker.pid if self._worker else 0
        return Cpu(
            main=cpu_seconds(worker),
            children=sum(cpu_seconds(pid) for pid in _children(worker)),
            beat=cpu_seconds(self._beat.pid if self._beat else 0),
            redis=cpu_seconds(self.redis.pid),
        )

    def _celery(self, name: str, *words: str, env: dict[str, str] | None = None) -> Child:
        command = [sys.executable, "-m", "celery", "-A", "bench.app", *words, "-l", "WARNING"]
        env = {**self._env, **(env or {})}
        return Child(command, log=self.folder / f"{name}.log", env=env, cwd=ROOT)


def cpu_seconds(pid: int) -> float:
    """The user and system time of a process, without that of its children; 0 for none."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _children(pid: int) -> list[int]:
    if not pid:
        return []
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
