"""Every way to run a worker: its pool, and the queues it takes from.

Owns: worker options of Celery's that a run must not notice.  Refuses to know: faults, and how a
body may end in each pool (`test_endings`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.workers.histories import bodies, effects, step_of
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World

STEPS = ("book", "pay", "send")
ONCE = dict.fromkeys(STEPS, 1)
FORTH = [f"do {step}" for step in STEPS]


@pytest.mark.parametrize(
    "options",
    [
        ("--pool", "threads"),
        ("--pool", "solo"),
        ("--pool", "gevent"),
        ("--pool", "eventlet"),
        ("--max-tasks-per-child", "1"),
        ("--autoscale", "3,1"),
        ("-O", "fair", "--prefetch-multiplier", "8"),
    ],
    ids=" ".join,
)
def test_each_pool_runs_and_undoes_sagas(world: World, options: tuple[str, ...]) -> None:
    """Forward, retries, failures and undoing are the same with every pool."""
    worker = world.worker(args=options)
    world.beat()
    scripts: dict[str, dict[str, list[str]]] = {
        "fine": {},
        "flaky": {"pay": ["raise", "raise-after"]},
        "refused": {"send": ["abort-clean"], "pay.undo": ["raise-after"]},
        "used-up": {"pay": ["raise-after"] * 3},
        "owed": {"pay": ["abort"], "book.undo": ["raise"] * 3},
    }
    runs = {name: world.kit.trip.start(Trip(script=s), id=name) for name, s in scripts.items()}
    states = {name: world.rest(run) for name, run in runs.items()}
    assert {name: str(state.status) for name, state in states.items()} == {
        "fine": "completed",
        "flaky": "completed",
        "refused": "compensated",
        "used-up": "compensated",
        "owed": "failed",
    }
    assert {name: effects(world, run) for name, run in runs.items()} == {
        "fine": FORTH,
        "flaky": ["do book", "do pay", "again pay", "do send"],
        "refused": ["do book", "do pay", "undo pay", "undone pay", "undo book"],
        "used-up": ["do book", "do pay", "again pay", "again pay", "undo pay", "undo book"],
        "owed": ["do book", "undone pay"],
    }
    assert {name: bodies(world, run) for name, run in runs.items()} == {
        "fine": ONCE,
        "flaky": {**ONCE, "pay": 3},
        "refused": {**ONCE, "pay.undo": 2, "book.undo": 1},
        "used-up": {"book": 1, "pay": 3, "pay.undo": 1, "book.undo": 1},
        "owed": {"book": 1, "pay": 1, "pay.undo": 1, "book.undo": 3},
    }
    assert not worker.says("lost with their pool child")


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_body_that_holds_up_all_greenlets_keeps_its_lease(world: World, pool: str) -> None:
    """While one computes, no greenlet of its worker runs; nobody repeats it beside itself."""
    world.worker("green", args=("--pool", pool, "-Q", "celery", "-X", "celeriac"))
    world.worker("sweeper", children=1, args=("-Q", "celeriac"))
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["hog"]}), id="busy")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == ONCE
    assert not [event for event in run.history() if event.kind in ("lost", "late")]


def test_a_worker_of_one_queue_sweeps_too(world: World) -> None:
    """A worker told to take from `celery` alone sweeps and compensates all the same."""
    world.worker(args=("-Q", "celery"))
    world.beat()
    with world.fault("drop"):
        lost = world.kit.trip.start(Trip(script={"send": ["abort-clean"]}), id="lost")
    assert world.rest(lost).status == "compensated"
    assert bodies(world, lost) == {**ONCE, "pay.undo": 1, "book.undo": 1}


def test_a_worker_may_be_kept_from_sweeping(world: World) -> None:
    """With `-X celeriac` a worker runs steps only; one with `-Q celeriac` does the rest."""
    steps = world.worker("steps", args=("-X", "celeriac"))
    world.beat()
    fine = world.kit.trip.start(Trip(), id="fine")
    assert world.rest(fine).status == "completed"
    failing = world.kit.trip.start(Trip(script={"send": ["abort"]}), id="failing")
    with world.redis.client() as redis:
        # Ticks and the errback pile up: nobody takes them.
        world.until(lambda: redis.llen("celeriac") >= 5, "nobody takes from the queue")
        world.until(lambda: failing.status == "compensating", "the run has turned round")
        assert bodies(world, failing) == ONCE
        assert step_of(failing, "send").status == "compensating"
        sweeper = world.worker("sweeper", args=("-Q", "celeriac"))
        assert world.rest(failing).status == "compensated"
        world.until(lambda: redis.llen("celeriac") == 0, "the ticks are taken")
    assert bodies(world, failing) == {**ONCE, "send.undo": 1, "pay.undo": 1, "book.undo": 1}
    ran = {row.pid for row in world.ledger.rows(kind="begin")}
    assert ran <= set(steps.children())
    assert ran.isdisjoint(sweeper.children())
