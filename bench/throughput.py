"""How much a worker gets done, and the CPU time it takes: chains and sagas in turns.

Owns: what is queued on both sides, and which of several rounds counts.  Refuses to know: how a
batch is run (`site`), and what is good enough (`rows`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.app import SAGAS, bare_chain, bare_failing, failing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.site import Batch, Site

_FEWEST = 4  # chains or sagas of a batch, however long they are


def by_length(site: Site, runs: int, rounds: int, lengths: Sequence[int]) -> dict[str, Any]:
    """Measure no-op steps for each of *lengths*; *runs* is how many of three steps are queued."""
    return {
        str(length): in_turns(
            site,
            rounds,
            max(_FEWEST, 3 * runs // length),
            length,
            {"chain": bare_chain(length).apply_async, "saga": SAGAS[length].start},
        )
        for length in lengths
    }


def with_failure(site: Site, runs: int, rounds: int) -> dict[str, Any]:
    """Measure three steps, the last of which refuses, so that the other two are undone."""
    sides = {"chain": bare_failing().apply_async, "saga": failing.start}
    return in_turns(site, rounds, max(_FEWEST, runs // 2), 5, sides)


def in_turns(
    site: Site, rounds: int, count: int, length: int, sides: Mapping[str, Callable[[], object]]
) -> dict[str, Any]:
    """Measure *rounds* batches of each side, one of each in turn, and take the best of each.

    What disturbs a machine only ever makes it slower.
    """
    batches: dict[str, list[Batch]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, start in sides.items():
            batches[side].append(site.batch(count, start))
    return {side: _best(batches[side], length) for side in sides}


def _best(batches: Sequence[Batch], length: int) -> dict[str, Any]:
    steps = batches[0].size * length
    seconds = min(batch.seconds for batch in batches)
    cpu = {name: min(getattr(b.cpu, name) for b in batches) for name in _CPU}
    cpu["client"] = min(batch.client for batch in batches)
    return {
        "count": batches[0].size,
        "per_second": batches[0].size / seconds,
        "ms_a_step": seconds * 1000 / steps,
        "cpu_ms_a_step": {name: used * 1000 / steps for name, used in cpu.items()},
        "rounds_per_second": [batch.size / batch.seconds for batch in batches],
    }


_CPU = ("celery", "main", "children", "beat", "redis")
