"""Many runs wait in a queue: no storm of messages, and all end when somebody works on them.

Owns: queues that are long, and queues that are gone.  Refuses to know: single lost messages
(`test_messages`).

Times are scaled: the grace is 0.7 s here and 5 s in production, so that 10 s here are more than a
minute there; a sweep takes 25 runs of a shard at a time, so that 300 are more than one batch.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine.dispatching import Backlog, Unreachable
from tests.chaos.proxy import Fault, Proxy
from tests.redis_server import RedisServer
from tests.workers.kit import GRACE, Trip, build
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac import RunHandle

A_MINUTE = 60 / 5 * GRACE
SWEEPER = ("-Q", "celeriac")
BOOK = "tests.workers.kit.book"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose sweeps take little at a time."""
    with RedisServer(tmp_path / "redis") as redis:
        made = World(tmp_path, redis, conf={"saga_sweep_batch": 25})
        try:
            yield made
        finally:
            made.close()


def started(world: World, count: int) -> list[RunHandle[Any]]:
    """Start many runs, all fine."""
    return [world.kit.trip.start(Trip(), id=f"many-{n}") for n in range(count)]


def waits(world: World) -> int:
    """How many messages wait for a worker."""
    with world.redis.client() as redis:
        return int(redis.llen("celery"))


def sent(world: World) -> int:
    """How many messages were sent for the steps of the runs."""
    return len(world.published(" many-"))


def let_pass(world: World, seconds: float) -> int:
    """Let time pass; return how many messages waited at most."""
    over, most = time.monotonic() + seconds, [0]

    def passed() -> bool:
        most.append(waits(world))
        return time.monotonic() > over

    world.until(passed, "time has passed", seconds + 5)
    return max(most)


def looked_at(world: World, runs: list[RunHandle[Any]]) -> bool:
    """True if a sweep has seen every run: then it is to look again later than at first."""
    first = runs[-1].history()[0].at + 2 * GRACE * 1000
    with world.redis.client() as redis:
        indexes = [redis.zrange(key, 0, 0, withscores=True) for key in redis.scan_iter("*:wake")]
    return all(entry[0][1] >= first for entry in indexes)


def all_completed(world: World, runs: list[RunHandle[Any]], timeout: float = 100) -> None:
    """Wait until all have completed, by the indexes."""
    counts = world.kit.sagas.counts
    world.until(lambda: counts() == {("trip", "completed"): len(runs)}, "all completed", timeout)


@pytest.mark.parametrize(
    ("count", "sweeper", "seconds"),
    [(300, True, 1.5 * A_MINUTE), (100, False, A_MINUTE)],
    ids=["swept", "not"],
)
def test_a_backlog_causes_no_storm(world: World, count: int, sweeper: bool, seconds: float) -> None:
    """Runs that wait for a worker longer than any patience are not sent twice."""
    most = count * 102 // 100
    if sweeper:
        world.worker("sweeper", children=1, args=SWEEPER)
    world.beat()
    runs = started(world, count)
    assert let_pass(world, seconds) <= most
    assert looked_at(world, runs) is sweeper
    assert waits(world) >= count
    assert sent(world) <= most
    assert world.ledger.rows() == []
    world.worker("w1")
    all_completed(world, runs)
    assert sent(world) <= 3 * most
    bodies = world.ledger.rows("many-%", "begin")
    assert len(bodies) == 3 * count
    assert {row.attempt for row in bodies} == {1}
    for run in runs[:: count // 20]:
        world.check(run)


def test_a_queue_that_was_deleted(world: World) -> None:
    """Messages that are gone are sent again: not before the grace, and not on top of others."""
    world.worker("sweeper", children=1, args=SWEEPER)
    world.beat()
    runs = started(world, 150)
    with world.redis.client() as redis:
        assert redis.delete("celery") == 1
    world.until(lambda: waits(world), "some were sent again", 60)
    assert let_pass(world, A_MINUTE) <= 153
    assert sent(world) <= 150 + 153
    world.worker("w1")
    all_completed(world, runs)
    assert sent(world) <= 150 + 3 * 153
    assert len(world.ledger.rows("many-%", "begin")) == 450
    for run in runs[::30]:
        world.check(run)
        again = next(event for event in run.history() if event.kind == "dispatched")
        assert again.at - run.history()[0].at >= GRACE * 1000


# --- a broker that cannot count ------------------------------------------------------------------


@pytest.mark.parametrize("toward", ["server", "client"])
def test_a_connection_that_breaks_while_it_is_asked(world: World, toward: Any) -> None:
    """A broker that is gone between two words has not said how much waits, and that is all."""
    with Proxy(world.redis.port) as proxy:
        asker = build(f"redis://127.0.0.1:{proxy.port}/0", world.folder, (), world.redis.url)
        backlog = asker.sagas.runtime.dispatcher.backlog
        world.kit.trip.start(Trip(), id="run")
        assert backlog(BOOK) == Backlog("celery", 1)
        proxy.begin(Fault("cut", toward=toward))
        found = backlog(BOOK)
        assert found is not None
        assert isinstance(found, Unreachable)
        proxy.heal()
        assert backlog(BOOK) == Backlog("celery", 1)
        asker.sagas.runtime.close()


def test_a_broker_that_is_full(split_world: World) -> None:
    """A sweep that cannot ask a full broker looks again soon: the run is not what is wrong."""
    world = split_world
    with world.fault("drop"):
        run = world.kit.trip.start(Trip(), id="run")
    overdue = run.history()[0].at / 1000 + 2 * GRACE
    world.until(lambda: time.time() > overdue, "its message is overdue")
    with world.redis.client() as broker:
        broker.config_set("maxmemory", broker.info("memory")["used_memory"] // 2)
        assert world.kit.sagas.sweep() == 1
        broker.config_set("maxmemory", 0)
    world.worker()
    world.beat()
    assert world.rest(run).status == "completed"
