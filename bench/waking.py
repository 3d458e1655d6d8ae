"""What waits, and comes due all at once: how soon all of it goes on, and what live runs feel of it.

Owns: runs that sleep until the same moment, and short runs at a steady pace beside them.  Refuses
to know: how the sweep finds what is due.

A run has gone on when the step after its sleep was called.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bench.app import LIVE, passing, redis, sleeping_until
from bench.latency import percentiles
from bench.memory import await_rest
from bench.site import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.site import Site

_PACE = 0.05  # seconds between the starts of two live runs
_FEWEST = 2  # live runs; percentiles take so many
_ALONE = 5.0  # seconds that they are watched with nothing beside them
_MARGIN = 5.0  # seconds between the last start and the moment
_PROBE = 100  # starts that tell how long all of them take


def all_at_once(site: Site, count: int) -> dict[str, Any]:
    """Let *count* runs sleep until one moment; seconds until the last goes on, and of live runs."""
    with live_runs_beside() as alone:
        time.sleep(_ALONE)
    site.expect(count)
    moment = _asleep(count)
    time.sleep(max(0.0, moment - time.time()))
    due, before = time.perf_counter(), site.cpu()
    with live_runs_beside() as beside:
        seconds = site.await_end(count) - due
        cpu = site.cpu().since(before)
    await_rest()
    return {
        "count": count,
        "seconds": seconds,
        "cpu_seconds": sum(cpu),
        "cpu": cpu._asdict(),
        "alone": percentiles(alone),
        "beside": percentiles(beside),
    }


def _asleep(count: int) -> float:
    """Start runs that sleep until the same moment; return that, as seconds since the epoch."""
    far = sleeping_until(datetime.now(UTC) + timedelta(days=1))
    began = time.time()
    probes = [far.start() for _ in range(_PROBE)]
    each = (time.time() - began) / _PROBE
    for probe in probes:
        probe.terminate("measured")
    moment = time.time() + 1.5 * each * count + _MARGIN
    sleeper = sleeping_until(datetime.fromtimestamp(moment, UTC))
    for _ in range(count):
        sleeper.start()
    if time.time() > moment:
        raise SystemExit("this machine was too busy to start all runs before they came due")
    return moment


@contextmanager
def live_runs_beside() -> Iterator[list[float]]:
    """Start a short run again and again meanwhile; in the end, seconds of each are in the list."""
    times: list[float] = []
    enough = threading.Event()
    started: list[object] = []

    def start() -> None:
        while not enough.wait(_PACE) or len(started) < _FEWEST:
            started.append(passing.start(time.perf_counter()))

    thread = threading.Thread(target=start)
    redis().delete(LIVE)
    thread.start()
    try:
        yield times
    finally:
        enough.set()
        thread.join()
    for _ in started:
        told = redis().blpop([LIVE], timeout=PATIENCE)
        if told is None:
            raise SystemExit(f"a live run did not end within {PATIENCE} s")
        times.append(float(told[1]))
