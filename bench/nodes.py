"""How the work of runs is shared by the primaries of a cluster: commands per node, counted.

Owns: the same runs on clusters of one, two and three primaries, and what each node was asked.
Refuses to know: time, which tells nothing where all nodes share a machine.

``python -m bench.nodes`` prints a line for each cluster.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.store.redis import RedisStore
from tests.cluster import Cluster
from tests.store.runs import a_run, ending, lease, moving, starting, write

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNS = 400
SHARDS = 64


def asked_of_nodes(folder: Path, primaries: int, runs: int = RUNS) -> Mapping[int, int]:
    """Bring runs through a step and to rest; return the commands of each primary, by port."""
    with Cluster(folder, primaries=primaries, replicas=False) as cluster:
        store = RedisStore(cluster.url, shards=SHARDS)
        store.counts()  # to be connected
        before = cluster.commands()
        for n in range(runs):
            run = write(store, starting(a_run(f"order-{n}")))
            store.read(run.id)
            run = write(store, moving(run, 1, leases={lease(run): 60_000}))
            store.read(run.id)
            write(store, ending(run, released=[lease(run)]))
        store.close()
        return {port: count - before[port] for port, count in cluster.commands().items()}


def main() -> None:
    """Print what each node was asked."""
    for primaries in (1, 2, 3):
        with tempfile.TemporaryDirectory() as folder:
            found = sorted(asked_of_nodes(Path(folder), primaries).values(), reverse=True)
        total = sum(found)
        told = " + ".join(f"{count / RUNS:.1f}" for count in found)
        busiest = f"the busiest has {found[0] / total:.0%}"
        print(f"{primaries} primaries: {told} commands per run and node; {busiest}")


if __name__ == "__main__":
    main()
