"""`python -m bench.waiters 400`: many who wait for results in one process.

Owns: a Redis for the length of the benchmark, threads or coroutines that wait, and telling how many
connections and how much time that takes.  Refuses to know: what is good enough.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery

from celeriac import Flow, RunTerminated, SagaError, Sagas
from celeriac.testing.servers import LocalRedis

if TYPE_CHECKING:
    from celeriac import RunHandle

PATIENCE = 60.0  # seconds


class Crowd:
    """Runs that somebody waits for, and when each of them was ended and told."""

    def __init__(self, url: str, count: int) -> None:
        app = Celery("bench", broker="memory://")
        app.conf.saga_redis_url = url
        self.sagas = Sagas(app)
        step = self.sagas.step(name="bench.wait")(_wait)

        def waits(flow: Flow) -> None:
            flow.step(step)

        saga = self.sagas.saga(waits)
        self.runs: list[RunHandle[Any]] = [saga.start(id=f"run-{n}") for n in range(count)]
        self.ended: dict[str, float] = {}
        self.told: dict[str, float] = {}
        self.wrong: list[str] = []

    def wait(self, run: RunHandle[Any]) -> None:
        """Wait as a thread."""
        try:
            run.result(PATIENCE)
        except SagaError as error:
            self._note(run, error)

    async def await_(self, run: RunHandle[Any]) -> None:
        """Wait as a coroutine."""
        try:
            await run.aresult(PATIENCE)
        except SagaError as error:
            self._note(run, error)

    def _note(self, run: RunHandle[Any], error: SagaError) -> None:
        self.told[run.id] = time.perf_counter()
        if not isinstance(error, RunTerminated):
            self.wrong.append(str(error))

    def end(self, server: LocalRedis) -> None:
        """End all runs, a while after everybody has begun to wait."""
        time.sleep(2.0)
        with server.client() as client:
            print(f"connections while waiting: {len(client.client_list()) - 1}")
        print(f"threads while waiting:     {threading.active_count()}")
        for run in self.runs:
            run.terminate("measured")
            self.ended[run.id] = time.perf_counter()

    def report(self) -> None:
        """Print how long it took from the end of a run until whoever waited knew."""
        late = sorted(1000 * (at - self.ended[run_id]) for run_id, at in self.told.items())
        print(f"told: {len(late)} of {len(self.runs)}, wrongly: {len(self.wrong)}")
        median, p95 = (late[int(part * len(late))] for part in (0.5, 0.95))
        print(f"from the end until told: median {median:.1f} ms, p95 {p95:.1f} ms")
        for words in sorted({each[:100] for each in self.wrong}):
            print(f"  {words}")


def _wait() -> None:
    """Be a step that nobody ever takes up."""


def main() -> None:
    """Let threads wait, or coroutines, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.waiters", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=400)
    parser.add_argument("--asyncio", action="store_true", help="coroutines instead of threads")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalRedis(Path(folder, "redis")) as server:
        crowd = Crowd(server.url, given.count)
        if given.asyncio:
            asyncio.run(_coroutines(crowd, server))
        else:
            _threads(crowd, server)
        crowd.report()
        crowd.sagas.runtime.close()


def _threads(crowd: Crowd, server: LocalRedis) -> None:
    waiting = [threading.Thread(target=crowd.wait, args=(run,)) for run in crowd.runs]
    for thread in waiting:
        thread.start()
    crowd.end(server)
    for thread in waiting:
        thread.join()


async def _coroutines(crowd: Crowd, server: LocalRedis) -> None:
    ending = asyncio.to_thread(crowd.end, server)
    await asyncio.gather(ending, *(crowd.await_(run) for run in crowd.runs))


if __name__ == "__main__":
    main()
