"""How soon all runs are done after every worker was killed and started again.

Owns: killing the worker with its children while runs are in flight, and counting what was repeated.
Refuses to know: how it is noticed.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from bench.app import LEFT, SAGAS, redis
from bench.memory import await_rest, live_runs
from bench.site import QUEUES

if TYPE_CHECKING:
    from bench.site import Site

_DONE_BEFORE = 4  # one run in so many has ended when the worker is killed


def after_kill(site: Site, runs: int, rounds: int) -> dict[str, Any]:
    """Kill the worker with *runs* in flight, *rounds* times; seconds are from the kill."""
    found = [_killed_once(site, runs) for _ in range(rounds)]
    seconds = [each["seconds"] for each in found]
    return {
        "in_flight": min(each["in_flight"] for each in found),
        "seconds": statistics.median(seconds),
        "resumed": statistics.median([each["resumed"] for each in found]),
        "repeated": max(each["repeated"] for each in found),
        "rounds": found,
    }


def _killed_once(site: Site, runs: int) -> dict[str, Any]:
    count = runs + runs // _DONE_BEFORE
    with site.worker() as worker:
        site.expect(count)
        with site.held():
            started = [SAGAS[3].start() for _ in range(count)]
        while int(redis().get(LEFT) or 0) > runs:
            time.sleep(0.001)
        worker.kill()
        killed = time.perf_counter()
    in_flight = live_runs()
    again = site.launch_worker("main", QUEUES, site.children)
    try:
        await_rest(120, most=in_flight - 1)
        resumed = time.perf_counter()
        await_rest(120)
        done = time.perf_counter()
    finally:
        again.stop(30)
    steps = [step for run in started for step in run.state().steps]
    return {
        "in_flight": in_flight,
        "seconds": done - killed,
        "resumed": resumed - killed,
        "repeated": sum(step.attempts - 1 for step in steps),
    }
