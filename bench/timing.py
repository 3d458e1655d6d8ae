"""What is timed: sagas and bare chains in turns, on the worker that `bench.chain` has started.

Owns: timing and printing.  Refuses to know: processes.  Imported only once BENCH_URL is set.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from bench.app import DONE, LENGTHS, READY, SAGAS, TARGET, app, bare_chain, redis, sagas
from bench.round_trips import trips_per_step

if TYPE_CHECKING:
    from collections.abc import Callable


def measure(count: int, rounds: int) -> None:
    """Measure everything, *rounds* batches of *count* where it is throughput, and print it."""
    _throughput(count, rounds)
    _latency()
    _bytes_per_run()
    _by_length(rounds)
    _round_trips()


def worker_answers() -> bool:
    """True once the worker takes tasks."""
    return bool(app.control.ping(timeout=0.5))


def _batch(count: int, start: Callable[[], Any]) -> float:
    """Start *count* of something and return how many ended in a second.

    They are queued first: what is measured is the worker, not the client.
    """
    redis.delete(DONE, READY)
    redis.set(TARGET, count)
    app.control.cancel_consumer("celery", reply=True)
    for _ in range(count):
        start()
    begin = time.perf_counter()
    app.control.add_consumer("celery", reply=True)
    if redis.blpop([READY], timeout=300) is None:
        raise SystemExit(f"only {redis.get(DONE)!r} of {count} ended within 300 s")
    return count / (time.perf_counter() - begin)


def _best(rounds: int, count: int, length: int) -> tuple[float, float]:
    bare, saga = [], []
    for _ in range(rounds):
        bare.append(_batch(count, bare_chain(length).apply_async))
        saga.append(_batch(count, SAGAS[length].start))
    return max(bare), max(saga)


def _throughput(count: int, rounds: int) -> None:
    bare, saga = _best(rounds, count, 3)
    print(f"\n3 no-op steps, {count} queued, best of {rounds}")
    print(f"  bare Celery chain  {bare:8.0f} /s")
    print(f"  saga               {saga:8.0f} /s")
    print(f"  ratio              {saga / bare:8.2f}      (aim: at least 0.90)")


def _latency(count: int = 200) -> None:
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        SAGAS[3].start().result(timeout=30)
        times.append((time.perf_counter() - begin) * 1000)
    cuts = statistics.quantiles(times, n=100)
    print(f"\none unloaded run of 3 steps, start to result, {count} runs")
    print(f"  p50 {cuts[49]:.1f} ms   p95 {cuts[94]:.1f} ms   p99 {cuts[98]:.1f} ms")


def _bytes_per_run(count: int = 1000) -> None:
    before = redis.info("memory")["used_memory"]
    for number in range(count):
        SAGAS[3].start(id=f"order-{number:06d}")
    SAGAS[3].start(id="order-last").result(timeout=300)
    _wait_until_idle(count)
    after = redis.info("memory")["used_memory"]
    print(f"\nRedis memory for each finished run of 3 steps, {count} runs")
    print(f"  {(after - before) / (count + 1):.0f} bytes      (aim: at most 2048)")


def _wait_until_idle(count: int) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        if all(status == "completed" for (_, status), n in sagas.counts().items() if n):
            return
        time.sleep(0.05)
    raise SystemExit(f"{count} runs did not end")


def _by_length(rounds: int) -> None:
    print("\ncost of a step by the length of the saga (worker throughput, ms a step)")
    for length in LENGTHS:
        bare, saga = _best(min(rounds, 2), max(10, 1500 // length), length)
        print(
            f"  {length:4d} steps   saga {1000 / (saga * length):6.2f}"
            f"   bare {1000 / (bare * length):6.2f}   ratio {saga / bare:.2f}"
        )


def _round_trips() -> None:
    print(f"\nround trips to Redis for each step  {trips_per_step():.1f}      (aim: at most 3)")
