"""How much of Redis a finished run takes, as long as it is kept.

Owns: what all keys of many runs take together.  Refuses to know: which keys those are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.app import SAGAS, redis, sagas

if TYPE_CHECKING:
    from bench.site import Site


def bytes_a_run(site: Site, runs: int, length: int) -> float:
    """Run sagas of *length* steps to their end, and return how much each of them left."""
    count = max(20, 2 * runs // length)
    SAGAS[length].start(id=f"first-{length}").wait(60)  # what all runs share is there from now on
    await_rest()
    before = _bytes()
    site.expect(count)
    for number in range(count):
        SAGAS[length].start(id=f"order-{length}-{number:06d}")
    site.await_end(count)
    await_rest()
    return (_bytes() - before) / count


def _bytes() -> float:
    """What all keys take, without the buffers of clients and of the append-only file."""
    stats = redis().memory_stats()
    tables = sum(each["overhead.hashtable.main"] for name, each in stats.items() if "db." in name)
    return float(stats["dataset.bytes"] + tables)


def live_runs() -> int:
    """Return how many runs are not at rest."""
    return sum(count for (_, status), count in sagas.counts().items() if not status.at_rest)


def await_rest(seconds: float = 60, *, most: int = 0) -> None:
    """Wait until no more than *most* runs are live any more."""
    give_up = time.monotonic() + seconds
    while (live := live_runs()) > most:
        if time.monotonic() > give_up:
            raise SystemExit(f"{live} runs did not end within {seconds:g} s")
        time.sleep(0.02)
