"""What structure costs: branches beside a chain of as many steps, and maps by their length.

Owns: which flows are compared, and what one of 1,000 elements takes in Redis.  Refuses to know:
how a batch is run (`site`), and what is good enough (`rows`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.app import FAN, SAGAS, fan, mapping, redis, unmapping
from bench.memory import await_rest
from bench.throughput import in_turns

if TYPE_CHECKING:
    from bench.site import Site

#: The lengths of lists that are compared.
FEW, MANY = 10, 1_000


def branches(site: Site, runs: int, rounds: int) -> dict[str, Any]:
    """Measure a block of branches beside a chain of as many steps, none of them run ahead."""
    sides = {"chain": SAGAS[FAN].start, "branches": fan.start}
    return in_turns(site, rounds, max(4, 3 * runs // FAN), FAN, sides)


def maps(site: Site, runs: int, rounds: int) -> dict[str, Any]:
    """Measure maps over few and over many elements, as many in all; forward, and undone."""
    large = max(1, runs // MANY)
    found: dict[str, Any] = {}
    for name, saga in (("forward", mapping), ("undone", unmapping)):
        found[name] = {}
        for length in (FEW, MANY):
            items, count = list(range(length)), large * MANY // length
            start = {"saga": lambda items=items, saga=saga: saga.start(items)}
            found[name][str(length)] = in_turns(site, rounds, count, length, start)["saga"]
    return found


def bytes_of_many() -> float:
    """What all keys of one run of many elements take, finished and kept."""
    run = mapping.start(list(range(MANY)), id="many")
    run.wait(60)
    await_rest()
    keys = [key for key in redis().scan_iter(count=1000) if key.endswith(f":{run.id}")]
    return float(sum(redis().memory_usage(key, samples=0) or 0 for key in keys))
