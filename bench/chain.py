"""`make bench`: sagas beside bare Celery chains, on the same Redis and the same worker.

Owns: starting a Redis and a worker of its own, timing, and printing.  Refuses to know: what is
good enough; it prints what it measures, with the aims beside.

Both sides are measured in turns, and the best of each is taken: what disturbs a machine only ever
makes it slower.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celeriac.testing.servers import LocalRedis

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=1500, help="chains and sagas of each batch")
    parser.add_argument("--rounds", type=int, default=3, help="batches of each kind")
    parser.add_argument("--children", type=int, default=2, help="processes of the worker")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="celeriac-bench-") as name,
        LocalRedis(Path(name) / "redis") as server,
    ):
        os.environ["BENCH_URL"] = server.url
        print(f"{os.cpu_count()} cores, one worker with {options.children} processes")
        with _worker(server.url, options.children, Path(name)):
            _throughput(options.runs, options.rounds)
            _latency()
            _bytes_per_run()
            _by_length(options.rounds)
        _round_trips()


@contextmanager
def _worker(url: str, children: int, folder: Path) -> Iterator[None]:
    log = folder / "worker.log"
    path = os.pathsep.join([str(ROOT / "worker"), str(ROOT)])
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "bench.app", "worker", "-l", "WARNING"]
            + ["-c", str(children), "--without-mingle", "--without-gossip"]
            + ["--beat", "--schedule", str(folder / "beat")],  # the sweep is part of the price
            cwd=ROOT,
            env={**os.environ, "BENCH_URL": url, "PYTHONPATH": path},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        from bench.app import app

        give_up = time.monotonic() + 30
        while not app.control.ping(timeout=0.5):
            if time.monotonic() > give_up or child.poll() is not None:
                raise SystemExit(f"the worker did not start:\n{log.read_text()[-2000:]}")
        yield
    finally:
        child.terminate()
        child.wait(30)


def _batch(count: int, start: Callable[[int], Any]) -> float:
    """Start *count* of something and return how many ended in a second.

    They are queued first: what is measured is the worker, not the client.
    """
    from bench.app import DONE, READY, TARGET, app, redis

    redis.delete(DONE, READY)
    redis.set(TARGET, count)
    app.control.cancel_consumer("celery", reply=True)
    for number in range(count):
        start(number)
    begin = time.perf_counter()
    app.control.add_consumer("celery", reply=True)
    if redis.blpop([READY], timeout=300) is None:
        raise SystemExit(f"only {redis.get(DONE)!r} of {count} ended within 300 s")
    return count / (time.perf_counter() - begin)


def _best(rounds: int, count: int, length: int) -> tuple[float, float]:
    from bench.app import SAGAS, bare_chain

    bare, saga = [], []
    for _ in range(rounds):
        made = bare_chain(length)
        bare.append(_batch(count, lambda _, made=made: made.apply_async()))
        saga.append(_batch(count, lambda _: SAGAS[length].start()))
    return max(bare), max(saga)


def _throughput(count: int, rounds: int) -> None:
    bare, saga = _best(rounds, count, 3)
    print(f"\n3 no-op steps, {count} queued, best of {rounds}")
    print(f"  bare Celery chain  {bare:8.0f} /s")
    print(f"  saga               {saga:8.0f} /s")
    print(f"  ratio              {saga / bare:8.2f}      (aim: at least 0.90)")


def _latency(count: int = 200) -> None:
    from bench.app import SAGAS

    times = []
    for _ in range(count):
        begin = time.perf_counter()
        SAGAS[3].start().result(timeout=30)
        times.append((time.perf_counter() - begin) * 1000)
    cuts = statistics.quantiles(times, n=100)
    print(f"\none unloaded run of 3 steps, start to result, {count} runs")
    print(f"  p50 {cuts[49]:.1f} ms   p95 {cuts[94]:.1f} ms   p99 {cuts[98]:.1f} ms")


def _bytes_per_run(count: int = 1000) -> None:
    from bench.app import SAGAS, redis

    before = redis.info("memory")["used_memory"]
    for number in range(count):
        SAGAS[3].start(id=f"order-{number:06d}")
    SAGAS[3].start(id="order-last").result(timeout=300)
    _wait_until_idle(count)
    after = redis.info("memory")["used_memory"]
    print(f"\nRedis memory for each finished run of 3 steps, {count} runs")
    print(f"  {(after - before) / (count + 1):.0f} bytes      (aim: at most 2048)")


def _wait_until_idle(count: int) -> None:
    from bench.app import sagas

    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        if all(status == "completed" for (_, status), n in sagas.counts().items() if n):
            return
        time.sleep(0.05)
    raise SystemExit(f"{count} runs did not end")


def _by_length(rounds: int) -> None:
    from bench.app import LENGTHS

    print("\ncost of a step by the length of the saga (worker throughput, ms a step)")
    for length in LENGTHS:
        bare, saga = _best(min(rounds, 2), max(10, 1500 // length), length)
        print(
            f"  {length:4d} steps   saga {1000 / (saga * length):6.2f}"
            f"   bare {1000 / (bare * length):6.2f}   ratio {saga / bare:.2f}"
        )


def _round_trips() -> None:
    """Count what one step sends to Redis, from the outside of the client."""
    from bench.trips import trips_per_step

    print(f"\nround trips to Redis for each step  {trips_per_step():.1f}      (aim: at most 3)")


if __name__ == "__main__":
    main()
