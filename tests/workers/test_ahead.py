"""Running ahead with real workers: a step without a message is what it would be with one.

Owns: each condition under which a worker takes up what follows, and each promise to the steps that
it runs so: identity, hooks, events, leases, limits.  Refuses to know: what the commit leaves
(`tests/engine/test_ahead.py`).
"""

from __future__ import annotations

import time
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from celeriac.store import IndexedRun, Lease
from tests.redis_server import RedisServer
from tests.workers import ahead_steps, edge_case_steps
from tests.workers.histories import bodies, claimed_after, claims, events
from tests.workers.kit import LEASE, Trip
from tests.workers.monitors import Events
from tests.workers.unmodified import told
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac import RunHandle
    from tests.processes import Process
    from tests.workers.ahead_steps import AheadSagas
    from tests.workers.edge_case_steps import Odd

SPIN = ["spin"] * 3


class Place(NamedTuple):
    """A world, its worker, and the sagas beside the kit's."""

    world: World
    worker: Process
    sagas: AheadSagas
    odd: Odd

    def sent(self, run: RunHandle[Any]) -> list[str]:
        """The steps of a run that messages were sent for, in order; undos as `step:undo`."""
        ids = [line.split()[-1] for line in self.world.published(f" {run.id}:")]
        return [each.split(":", 1)[1].rsplit(":", 1)[0] for each in ids]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One world for all tests, with a worker that runs up to five steps ahead."""
    folder = tmp_path_factory.mktemp("ahead")
    with pytest.MonkeyPatch.context() as patch, RedisServer(folder / "redis") as redis:
        patch.setenv("KIT_AHEAD", "5")
        world = World(folder, redis)
        try:
            sagas, odd = ahead_steps.extend(world.kit), edge_case_steps.extend(world.kit)
            words = ("-I", "tests.workers.ahead_worker", "-Q", "celery,other")
            worker = world.worker(children=4, args=words)
            world.beat()
            yield Place(world, worker, sagas, odd)
        finally:
            world.close()


def test_a_run_takes_one_message_both_ways(place: Place) -> None:
    """Three steps, and the undo of two, in one child; each with its own task in every event."""
    world = place.world
    with Events(world.kit.app) as seen:
        fine = world.kit.trip.start(Trip(), id="fine")
        assert world.rest(fine).status == "completed"
        undone = world.kit.trip.start(Trip(script={"send": ["abort-clean"]}), id="undone")
        assert world.rest(undone).status == "compensated"
        last = "undone:book:undo:1"
        world.until(lambda: "succeeded" in seen.of_task(last), "the last event")
    for run in (fine, undone):
        assert place.sent(run) == ["book"]
        assert len({row.pid for row in world.ledger.rows(f"{run.id}:%")}) == 1
    for step in ("book", "pay", "send"):
        expected = ["sent"] * (step == "book") + ["received", "started", "succeeded"]
        assert sorted(seen.of_task(f"fine:{step}:1")) == sorted(expected)
    assert seen.of_task("undone:send:1") == ["received", "started", "failed"]
    assert seen.of_task("undone:pay:undo:1") == ["received", "started", "succeeded"]
    parents = {e["uuid"]: e["parent_id"] for e in seen.of_run("fine") if "parent_id" in e}
    assert parents["fine:pay:1"] == "fine:book:1"
    assert parents["fine:send:1"] == "fine:pay:1"
    roots = {e["root_id"] for e in seen.of_run("undone") if e["type"] == "task-received"}
    assert roots == {"undone:book:1"}


@pytest.mark.parametrize("odd", ["elsewhere", "throttled", "urgent", "refusing"])
def test_what_would_come_to_another_place_is_sent(place: Place, odd: str) -> None:
    """Another queue, a rate limit, another priority, or a step that refuses: a message each."""
    run = getattr(place.sagas, odd).start(Trip(), id=odd)
    assert place.world.rest(run).status == "completed"
    assert place.sent(run) == ["start", "then"]
    run.cancel("no more")
    place.world.until(lambda: run.status == "compensated", "it is undone")
    ways = [each for each in place.sent(run) if each.endswith("undo")]
    assert ways == (["then:undo", "start:undo"] if odd == "refusing" else ["then:undo"])


def test_others_get_their_turn(place: Place) -> None:
    """After five steps, or a second, the next is sent as a message."""
    world = place.world
    run = world.kit.march.start(Trip(), id="march")
    assert world.rest(run).status == "completed"
    assert place.sent(run) == ["hop", "hop-7"]
    slow = world.kit.trip.start(Trip(script={"book": ["slow"], "pay": ["slow"]}), id="slow")
    assert world.rest(slow).status == "completed"
    assert place.sent(slow) == ["book", "send"]


def test_a_pause_is_obeyed(place: Place) -> None:
    """A run that is paused while a step is at work goes no further, until it is resumed."""
    world = place.world
    run = world.kit.trip.start(Trip(script={"book": ["gate"]}), id="paused")
    world.reached(run, "book")
    run.pause("hold on")
    world.open(run, "book")
    world.until(lambda: events(run, "completed", "book"), "the step has ended")
    assert not claims(run, "pay")
    run.resume()
    assert world.rest(run).status == "completed"


def test_a_step_sees_what_it_would_see_alone(place: Place) -> None:
    """Hooks, signals, request and errors of adopted tasks, each under its own id."""
    world, plain = place.world, place.sagas.plain
    run = place.sagas.adopted.start(7, id="adopted")
    for name in ("fine", "broken"):
        plain.tasks[name].apply_async((7,), task_id=f"alone-{name}")
    ids = {"fine": "alone-fine", "fine-2": "alone-fine", "broken": "alone-broken"}
    for step, alone in ids.items():
        seen, expected = _whole_story(world, f"adopted:{step}:1"), _whole_story(world, alone)
        assert seen == expected, step
    assert place.sent(run) == ["fine"]


def _whole_story(world: World, task_id: str) -> list[tuple[str, ...]]:
    def over() -> bool:
        return any(hook.startswith("postrun") for hook, *_ in _story(world, task_id))

    world.until(over, f"{task_id} is over")
    return _story(world, task_id)


def _story(world: World, task_id: str) -> list[tuple[str, ...]]:
    keys = ("hook", "args", "kwargs", "value")
    return [
        tuple(line[key].replace(line["id"], "ID") for key in keys)
        for line in told(world.kit, task_id)
    ]


def test_a_lease_of_its_own_is_kept(place: Place) -> None:
    """A step run ahead may take longer than its lease; the one before holds none any more.

    Flower shows it while it runs.
    """
    world = place.world
    with Events(world.kit.app) as seen:
        run = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="leased")
        world.reached(run, "pay")
        began = time.monotonic()
        world.until(lambda: time.monotonic() - began > 1.5 * LEASE, "longer than a lease")
        assert seen.of_task("leased:pay:1") == ["received", "started"]  # while it runs
    store = world.kit.sagas.runtime.engine.store
    found = [
        set(each.leases)
        for each in store.indexed_runs(store.shard_of(run.id))
        if isinstance(each, IndexedRun) and each.run.id == run.id
    ]
    assert found == [{Lease(run.id, "pay", "do", 1)}]
    with Events(world.kit.app) as seen:
        world.open(run, "pay")
        assert world.rest(run).status == "completed"
        world.until(lambda: "succeeded" in seen.of_task("leased:pay:1"), "Flower has heard")
    assert "received" not in seen.of_task("leased:pay:1")  # nothing is told twice
    assert claims(run, "pay") == [1]


def test_a_child_that_dies_ahead_is_noticed(place: Place) -> None:
    """What is lost is the step that ran, at once and not when its lease runs out; Flower too."""
    world = place.world
    with Events(world.kit.app) as seen:
        run = world.kit.trip.start(Trip(script={"pay": ["kill-after"]}), id="killed")
        world.until(lambda: events(run, "lost", "pay"), "it is lost")
        moment = events(run, "claimed", "pay")[0].at / 1000
        assert world.rest(run).status == "completed"
        world.until(lambda: "failed" in seen.of_task("killed:pay:1"), "Flower has heard")
    assert claimed_after(run, "pay", moment) < LEASE
    assert bodies(world, run) == {"book": 1, "pay": 2, "send": 1}
    assert "failed" not in seen.of_task("killed:book:1")


def test_a_message_is_acknowledged_when_its_child_dies_ahead(place: Place) -> None:
    """It was to be acknowledged late; the step that was lost would have been so early."""
    world = place.world
    run = place.sagas.late.start(Trip(script={"then": ["kill-after"]}), id="late")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {"start": 1, "then": 2}

    def is_acknowledged() -> bool:
        return not any("late:start:1" in each for each in world.redis.client().hvals("unacked"))

    world.until(is_acknowledged, "Celery has noticed as well")


def test_a_step_ahead_is_terminated_under_its_own_id(place: Place) -> None:
    """The red button in Flower ends the child that is at it, and the step is tried again."""
    world = place.world
    with Events(world.kit.app) as seen:
        run = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="ended")
        world.reached(run, "pay")

        def is_lost() -> bool:
            if not events(run, "lost", "pay"):
                world.kit.app.control.revoke("ended:pay:1", terminate=True, signal="SIGKILL")
            return bool(events(run, "lost", "pay"))

        world.until(is_lost, "it was found")
        assert world.rest(run).status == "completed"
        world.until(lambda: "revoked" in seen.of_task("ended:pay:1"), "Flower has heard")
    assert claims(run, "pay") == [1, 2]
    assert "revoked" not in seen.of_task("ended:book:1")


def test_each_attempt_has_its_own_limits(place: Place) -> None:
    """The limit of the first does not strike the second; that of the second does, soft and hard."""
    world = place.world
    calm = place.sagas.first_limited.start(Trip(script={"then": ["gate"]}), id="calm")
    soft = place.sagas.both_limited.start(Trip(script={"then": SPIN}), id="soft")
    world.reached(calm, "then")
    assert world.rest(soft).status == "compensated"
    assert place.sent(soft)[:2] == ["start", "then"]  # the second attempt of it is a message
    ended = events(soft, "failed", "then")
    assert {event.data["error"] for event in ended} <= {"SoftTimeLimitExceeded"}
    assert ended[0].attempt == 1  # the one that was run ahead, and not only those with a message
    world.open(calm, "then")
    assert world.rest(calm).status == "completed"
    assert bodies(world, calm) == {"start": 1, "then": 1}
    (timers,) = world.kit.app.control.broadcast("far_timers", reply=True, timeout=5)
    assert list(timers.values()) == [0]  # each would stay in memory until then


def test_a_step_that_ignores_its_soft_limit_is_killed(place: Place) -> None:
    """By the main process, which the child has told until when; each attempt anew."""
    world = place.world
    run = place.odd.stubborn.start(Trip(script={"insist": []}), id="stubborn")
    assert world.rest(run).status == "compensated"
    killed = {row.pid for row in world.ledger.rows("stubborn:insist", "begin")}
    assert len(killed) == 3
    world.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in killed), "all are gone")


def test_a_direct_call_has_its_own_limits(place: Place) -> None:
    """The child sees to the limits of attempts only; those of a direct call are the pool's."""
    assert place.sagas.plain.tasks["hurried"].delay(7).get(timeout=20) == [7, "in time"]


def test_what_an_operator_says_of_a_task_counts(place: Place) -> None:
    """A rate limit that is set while the worker runs is obeyed: its children cannot see it."""
    world, control = place.world, place.world.kit.app.control
    assert control.rate_limit("tests.workers.kit.pay", "100/s", reply=True, timeout=5)
    number = iter(range(100))

    def sends() -> bool:
        run = world.kit.trip.start(Trip(), id=f"throttled-{next(number)}")
        assert world.rest(run).status == "completed"
        return "pay" in place.sent(run)

    world.until(sends, "nothing is run ahead")
    assert control.rate_limit("tests.workers.kit.pay", None, reply=True, timeout=5)
    world.until(lambda: not sends(), "it is again")


def test_a_worker_that_is_to_end_takes_up_nothing(place: Place) -> None:
    """A warm shutdown waits for the step that runs, and for no other.  Last: the worker ends."""
    world = place.world
    run = world.kit.trip.start(Trip(script={"book": ["gate"]}), id="ending")
    world.reached(run, "book")
    place.worker.signal(SIGTERM)
    world.until(lambda: place.worker.says("Warm shutdown"), "it has heard")
    world.open(run, "book")
    place.worker.wait(20)
    assert events(run, "completed", "book")
    assert not claims(run, "pay")
    world.worker("other-one")
    assert world.rest(run).status == "completed"


def test_threads_run_ahead_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pool of threads as well, with leases that are kept."""
    monkeypatch.setenv("KIT_AHEAD", "5")
    world.worker(args=("--pool", "threads"))
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="threaded")
    world.reached(run, "pay")
    began = time.monotonic()
    world.until(lambda: time.monotonic() - began > 1.5 * LEASE, "longer than a lease")
    world.open(run, "pay")
    assert world.rest(run).status == "completed"
    assert claims(run, "pay") == [1]
    assert not world.published(" threaded:pay:")
