"""Two applications on one broker, each with a namespace of its own.

Owns: that neither takes the other's ticks and errbacks, nor waits for it.  Refuses to know: what a
queue is on each transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.workers.queue_name import own_queue
from tests.redis_server import RedisServer
from tests.workers import load
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two of them over one Redis."""
    with RedisServer(tmp_path / "redis") as redis:
        worlds = []
        try:
            for name in ("shop", "bank"):
                (tmp_path / name).mkdir()
                conf = {"saga_namespace": name, "task_default_queue": f"{name}-tasks"}
                worlds.append(World(tmp_path / name, redis, conf=conf))
            yield worlds[0], worlds[1]
        finally:
            for world in worlds:
                world.close()


def test_neither_takes_the_others_messages(both: tuple[World, World]) -> None:
    """One has runs, a beat and no worker: its ticks wait for it, and the other goes on."""
    shop, bank = both
    assert [own_queue(world.kit.app) for world in both] == ["celeriac.shop", "celeriac.bank"]
    shop.beat()
    stuck = shop.kit.trip.start(Trip(), id="r-0")
    bank.worker()
    bank.beat()
    runs = load.start(bank, "r", range(10))  # the same id as in the other
    load.all_rest(bank, runs)
    assert load.statuses(runs) == load.expected(runs)
    with shop.redis.client() as redis:
        shop.until(lambda: redis.llen("celeriac.shop") >= 5, "its ticks wait for it")
        assert redis.llen("celeriac") == 0
    assert stuck.status == "running"
    shop.worker()
    assert shop.rest(stuck).status == "completed"
