"""That long runs starve nobody: how long short runs take, with and without long ones beside them.

Owns: a load of so many live runs, whatever ends being replaced by its like.  Refuses to know: what
a worker does to be fair.

Steps sleep for 20 ms.  A tenth of the runs takes a detour over a slow queue, which has a worker of
its own; in the second phase a fifth of them has 100 steps.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bench.app import ENDED, SLOW, detour, long, redis, short
from bench.latency import percentiles
from bench.memory import await_rest
from bench.site import PATIENCE
from celeriac import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.site import Site
    from celeriac import RunHandle

_SAGAS = {"short": short, "detour": detour, "long": long}


def mixed_load(site: Site, live: int) -> dict[str, Any]:
    """Keep *live* runs alive, first without long ones, then with them; seconds of a short run."""
    slow, steps = max(1, live // 10), max(1, live // 5)
    with site.worker(), site.another_worker("slow", SLOW, 1):
        alone = _loaded(site, {"short": live - slow, "detour": slow}, live)
        beside = _loaded(site, {"short": live - slow - steps, "detour": slow, "long": steps}, live)
    return {"live": live, "long": steps, "slow": slow, "alone": alone, "beside": beside}


def _loaded(site: Site, shares: Mapping[str, int], live: int) -> dict[str, float]:
    """Run a load until enough short runs have ended, and see it end."""
    site.expect(0)
    runs: list[RunHandle[Any]] = []
    for name, count in shares.items():
        runs += [_SAGAS[name].start(time.perf_counter()) for _ in range(count)]
    times: list[float] = []
    settled, wanted = shares["short"], shares["short"] + 3 * live // 2
    while len(times) < wanted:  # those that were started together are not counted
        told = redis().blpop([ENDED], timeout=PATIENCE)
        if told is None:
            raise SystemExit(f"nothing ended within {PATIENCE} s under the mixed load")
        ended, seconds = str(told[1]).split()
        if ended == "short":
            times.append(float(seconds))
        runs.append(_SAGAS[ended].start(time.perf_counter()))
    for run in runs:
        with suppress(CommandRefused):  # it has ended
            run.terminate("the benchmark is over")
    await_rest()
    return percentiles(times[settled:])
