"""One run of chaos from its beginning to its report.

Owns: the order of things.  Refuses to know: each of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.chaos import clock
from tests.chaos.environment import Installation
from tests.chaos.figures import StoreStats, judge
from tests.chaos.nemesis import Nemesis
from tests.chaos.schedule import schedule
from tests.chaos.settle import settle
from tests.proof import sometimes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

_READY = 60.0  # seconds until all work for the first time


def chaos(
    folder: Path,
    seed: int,
    seconds: float,
    *,
    only: Collection[str] = (),
    bug: str = "",
    cluster: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> StoreStats:
    """Let faults strike for so many seconds, heal, wait, check, and return what came of it.

    All that is left of it is in *folder*: logs, journals, the ledger, the AOF of the Redis.  With
    *cluster*, the state is in one of three primaries; clocks are left alone then.
    """
    clocks = clock.possible() and not cluster
    plan = schedule(seed, seconds, only, clocks=clocks)
    if not clocks:
        tell("clocks cannot be set here: they are left alone")
    with Installation(folder, seed, bug, cluster=cluster) as installation:
        _wait_until_ready(installation)
        nemesis = Nemesis(installation, plan, tell)
        nemesis.rage(seconds)
        tell("healing")
        end = settle(installation)
        figures = judge(installation, seed, seconds, plan, nemesis, end)
    figures.bug = bug
    _note(figures)
    return figures


def _note(figures: StoreStats) -> None:
    """Tell whoever wants to know that accidents happened (`sometimes`)."""
    reports = figures.reports
    sometimes.seen(sometimes.LATE_SUCCESS, reports["late successes"], "chaos")
    sometimes.seen(sometimes.STALE_DELIVERY, reports["stale deliveries"], "chaos")
    sometimes.seen(sometimes.REFUSED_CLAIM, reports["refused claims"], "chaos")
    sometimes.seen(sometimes.NOSCRIPT, reports["scripts that Redis had forgotten"], "chaos")


def _wait_until_ready(installation: Installation) -> None:
    begun = time.monotonic()
    while not installation.well(begun):
        if time.monotonic() - begun > _READY:
            raise RuntimeError(
                f"the workers did not start; their logs are in {installation.folder}"
            )
        time.sleep(0.1)
