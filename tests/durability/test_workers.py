"""Real workers, and a state that goes back in time under their hands (D2, D3)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.durability.test_cuts import growing
from tests.redis_server import RedisServer
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNS = 12


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Messages in one Redis, runs in another, which loses its newest writes."""
    with (
        RedisServer(tmp_path / "broker") as broker,
        RedisServer(tmp_path / "state", options={"appendfsync": "always"}) as state,
    ):
        made = World(tmp_path, broker, state)
        try:
            yield made
        finally:
            made.close()


def test_workers_go_on_from_an_older_state(world: World) -> None:
    """A third of the AOF is lost: asked again, all runs come to rest, and nothing is doubled.

    What the workers had done in the lost time is done again under the same keys.
    """
    state = world.state
    assert state is not None
    if state.version < (7, 0):
        pytest.skip("the AOF is one file before Redis 7")
    world.worker(args=("--pool", "threads"), children=4)
    world.beat()
    trip = world.kit.trip
    scripts = [{"pay": ["gate-after"]} if n % 6 == 0 else {} for n in range(RUNS)]
    runs = [trip.start(Trip(script=script), id=f"t-{n}") for n, script in enumerate(scripts)]
    for n, run in enumerate(runs):
        if n % 6 == 0:
            world.reached(run, "pay")
        else:
            world.rest(run)
    before = len(world.ledger.rows("t-%", "do"))
    state.kill()
    file = growing(state.folder)
    os.truncate(file, file.stat().st_size * 2 // 3)
    state.start()
    assert world.kit.sagas.repair(dry_run=True).faults == ()
    lost = {run.id for run in runs} - {h.id for h in world.kit.sagas.runs(limit=200).runs}
    again = [trip.start(Trip(script=script), id=f"t-{n}") for n, script in enumerate(scripts)]
    for run in again:
        world.open(run, "pay")
    for run in again:
        assert world.rest(run).status == "completed"
    assert len({row.key for row in world.ledger.rows("t-%", "do")}) == 3 * RUNS
    assert len(world.ledger.rows("t-%", "do")) == 3 * RUNS, "an effect was made twice (I2)"
    assert len(world.ledger.rows("t-%", "again")) > 0, "nothing of what was lost had been done"
    assert before > 2 * RUNS
    assert len(lost) < RUNS
    assert world.kit.sagas.repair(dry_run=True).faults == ()
