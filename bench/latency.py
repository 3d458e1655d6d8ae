"""How soon one run is through, with nothing else to do: from its start to its last body.

Owns: timing single chains and sagas in turns.  Refuses to know: what is good enough.

Start and last body are timed by one clock, which all processes of a machine share.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from bench.app import SAGAS, bare_chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.site import Site

_PAUSE = 0.02  # seconds; the worker has put the last message away by then, and is idle


def unloaded(site: Site, count: int) -> dict[str, dict[str, float]]:
    """Time *count* chains and as many sagas of three steps; milliseconds."""
    sides = {"chain": bare_chain(3).apply_async, "saga": SAGAS[3].start}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(count):
        for side, start in sides.items():
            site.expect(1)
            time.sleep(_PAUSE)
            began = time.perf_counter()
            start()
            times[side].append((site.await_end(1) - began) * 1000)
    return {side: percentiles(each) for side, each in times.items()}


def percentiles(times: Sequence[float]) -> dict[str, float]:
    """Return the 50th, 95th and 99th percentile of some times."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}
