"""A matrix of pools and ways to end: in each pool, each way is an outcome, and leases are kept.

Owns: two workers of each of Celery's pools, and what a body may do in them.  Refuses to know:
faults from outside.  All tests of a pool share its workers, since starting them takes longest; they
are two, since nobody loses a lease while no worker at all gives a sign of life.
"""

from __future__ import annotations

import time
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.redis_server import RedisServer
from tests.workers import edge_case_steps
from tests.workers.histories import bodies, effects, events
from tests.workers.kit import GRACE, LEASE, SWEEP, Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac import RunHandle
    from tests.processes import Process
    from tests.workers.edge_case_steps import Odd

#: Those that run several bodies at once.  A solo worker runs one, hears nothing meanwhile, has no
#: time limits, and what waits in it for another run may wait for itself.
BESIDE = ("prefork", "threads", "gevent", "eventlet")
POOLS = (*BESIDE, "solo")
STEPS = ("book", "pay", "send")
#: What the body of `pay` does, and how often it then begins; the run is completed.
TRIED_AGAIN = {
    "ok": 1,
    "raise": 2,
    "raise-after": 2,
    "cancelled": 2,
    "generator": 2,
    "interrupt": 2,
    "own": 2,
    "exit": 2,
}
#: A time-out of the pool's own library strikes; its greenlet is killed.
GREEN = {"gevent": ("gevent", "killed"), "eventlet": ("eventlet", "killed")}
#: After these, it is not tried again; the run is compensated.
REFUSED = ("abort", "surrogate", "unspeakable")


class Place(NamedTuple):
    """A world, and the name of its workers' pool."""

    world: World
    pool: str
    odd: Odd

    @property
    def workers(self) -> list[Process]:
        """The workers that have not ended."""
        started = self.world.processes.started
        return [each for each in started if each.says(" ready.") and not each.ended]

    def at_work_on(self, run: RunHandle[Any], step: str) -> Process:
        """Return the worker that began the newest body of a step, itself or in a child."""
        pid = self.world.ledger.rows(f"{run.id}:{step}", "begin")[-1].pid
        return next(each for each in self.workers if pid in (each.pid, *each.children()))


@pytest.fixture(scope="module", params=POOLS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """One world for all tests of a pool, with two workers and a beat."""
    folder = tmp_path_factory.mktemp(request.param)
    with RedisServer(folder / "redis") as redis:
        world = World(folder, redis)
        try:
            made = Place(world, request.param, edge_case_steps.extend(world.kit))
            for name in ("w1", "w2"):
                options = ("--pool", request.param, "-I", "tests.workers.extra_tasks")
                world.worker(name, children=4, args=options)
            world.beat()
            yield made
        finally:
            world.close()


def test_however_a_body_ends_it_is_an_outcome(place: Place) -> None:
    """No class of exception, no text of one and no way to leave keeps a run waiting."""
    world, pool = place.world, place.pool
    expected = {**TRIED_AGAIN, **dict.fromkeys(GREEN.get(pool, ()), 2)}
    runs = {
        word: world.kit.trip.start(Trip(script={"pay": [word]}), id=word)
        for word in (*expected, *REFUSED)
    }
    ends = {word: str(world.rest(run).status) for word, run in runs.items()}
    assert ends == {**dict.fromkeys(expected, "completed"), **dict.fromkeys(REFUSED, "compensated")}
    began = {word: bodies(world, run) for word, run in runs.items()}
    undone = {"book": 1, "pay": 1, "pay.undo": 1, "book.undo": 1}
    assert began == {
        **{word: {"book": 1, "pay": times, "send": 1} for word, times in expected.items()},
        **dict.fromkeys(REFUSED, undone),
    }
    lost = {word for word, run in runs.items() if events(run, "lost")}
    assert lost == ({"exit", "interrupt"} if pool == "prefork" else set())


def test_a_body_that_always_leaves_uses_its_attempts_up(place: Place) -> None:
    """`sys.exit()` has an unknown outcome each time; in the end the step is undone."""
    run = place.world.kit.trip.start(Trip(script={"send": ["exit"] * 3}), id="leaves")
    assert place.world.rest(run).status == "compensated"
    undone = dict.fromkeys(("send.undo", "pay.undo", "book.undo"), 1)
    assert bodies(place.world, run) == {"book": 1, "pay": 1, "send": 3, **undone}


def _outlast_its_lease(world: World, run: RunHandle[Any]) -> None:
    """Wait until a sweep would have taken `pay` over, had its lease never been renewed."""
    [claim] = events(run, "claimed", "pay")
    taken_over = claim.at / 1000 + LEASE + 2 * GRACE + 2 * SWEEP
    world.until(lambda: time.time() > taken_over, "its lease would be over")


def test_a_step_may_take_longer_than_its_lease(place: Place) -> None:
    """What is at work keeps its lease: nobody takes the step over, and its body runs once."""
    world = place.world
    run = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="long")
    world.reached(run, "pay")
    _outlast_its_lease(world, run)
    world.open(run, "pay")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == dict.fromkeys(STEPS, 1)
    assert effects(world, run) == [f"do {step}" for step in STEPS]
    assert not events(run, "lost")


@pytest.mark.parametrize("place", BESIDE, indirect=True)
def test_a_step_that_takes_too_long_has_an_unknown_outcome(place: Place) -> None:
    """Whoever ends it, a signal, a greenlet's time-out or the state, it is no error of its own."""
    world = place.world
    run = world.kit.hasty.start(Trip(script={"rush": ["gate-after"]}), id="slow")
    try:
        assert world.rest(run).status == "completed"
    finally:
        world.open(run, "rush")  # what cannot be interrupted ends too
    assert bodies(world, run) == {"book": 1, "rush": 2}
    [ended] = [*events(run, "failed", "rush"), *events(run, "lost", "rush")]
    assert (ended.attempt, ended.data["why"]) == (1, "timeout")
    interrupted = {"prefork": "SoftTimeLimitExceeded", "gevent": "TimeLimitExceeded"}
    assert ended.data.get("error") == interrupted.get(place.pool)
    assert any(each.says("took longer than its timeout of 1 s") for each in place.workers)


@pytest.mark.parametrize("place", BESIDE, indirect=True)
@pytest.mark.parametrize("how", ["result", "await"])
def test_a_body_may_wait_for_another_run(place: Place, how: str) -> None:
    """Waiting holds up neither the pool nor the worker: the awaited run is done beside it."""
    run = place.odd.asking.start(Trip(script={how: []}), id=f"asks-{how}")
    assert place.world.rest(run).status == "completed"
    assert run.result(5).number == f"send-asks-{how}-inner"
    assert bodies(place.world, run) == {"ask": 1}


def test_a_worker_that_is_to_end_finishes_what_it_is_at(place: Place) -> None:
    """Warm shutdown waits for the body, which keeps its lease: the other worker repeats nothing."""
    world = place.world
    run = world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id="deploy")
    world.reached(run, "pay")
    leaving = place.at_work_on(run, "pay")
    leaving.signal(SIGTERM)
    leaving.await_text("Warm shutdown")
    _outlast_its_lease(world, run)
    world.open(run, "pay")
    assert leaving.wait(20) == 0
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == dict.fromkeys(STEPS, 1)
    assert not events(run, "lost")
