"""Messages and runs behind sentinels: the primary dies under load, and everything goes on.

Owns: real workers that follow a failover, with passwords for servers and sentinels.  Refuses to
know: how much a failover may lose (`tests/durability`), and how URLs are read (`test_redis_url`).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

import pytest

from tests.sentinels import Watched
from tests.workers import load
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.redis_server import RedisServer

RUNS = 200 if os.environ.get("PROVE") == "1" else 40
PASSWORD, STATE_PASSWORD = "fort-for-sentinels", "fort-for-servers"


class _Behind:
    """Stands where a world expects a server: its URL is the sentinels'."""

    def __init__(self, watched: Watched) -> None:
        self.url = watched.broker


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Servers and sentinels, each kind with a password of its own."""
    with Watched(tmp_path / "s", password=PASSWORD, state_password=STATE_PASSWORD) as found:
        yield found


@pytest.fixture
def world(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose broker and state are behind them: `saga_redis_url` is not set."""
    monkeypatch.setenv("KIT_TRANSPORT", json.dumps(watched.transport_options))
    made = World(tmp_path, cast("RedisServer", _Behind(watched)))
    try:
        yield made
    finally:
        made.close()


def test_the_primary_is_killed_under_load(world: World, watched: Watched) -> None:
    """Workers, beat and clients find the new one by themselves; every run comes to its end."""
    workers = [world.worker(f"w{n}", children=4, args=("--pool", "threads")) for n in range(2)]
    world.beat()
    held = world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id="held")
    world.reached(held, "pay")
    runs = load.start(world, "load", range(RUNS // 2))
    world.until(lambda: len(world.ledger.rows("load-%", "begin")) >= 10, "the load is under way")
    first = watched.primary
    first.kill()
    world.until(lambda: watched.moved_from(first.port), "the sentinels name another")
    world.supervise()
    # What was acknowledged in the last moment may be gone: whoever is not sure starts it again.
    runs = load.start(world, "load", range(RUNS))
    world.open(held, "pay")
    load.all_rest(world, [*runs, held])
    lost = load.happened([*runs, held], "lost")
    spared = [run for run in runs if run.id not in lost]
    assert load.statuses(spared) == load.expected(spared)
    assert len(spared) > RUNS // 2, lost
    said = "".join(worker.text() for worker in workers)
    assert "celeriac is ready" in said
    assert PASSWORD not in said
    assert STATE_PASSWORD not in said
