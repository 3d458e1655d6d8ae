"""Every way to run a worker: its pool, and the queues it takes from.

Owns: worker options of Celery's that a run must not notice.  Refuses to know: faults, and how a
body may end in each pool (`test_endings`).
"""

from __future__ import annotations

import json
import os
from signal import SIGQUIT
from typing import TYPE_CHECKING

import pytest

from celeriac.store.keys import CUT
from tests.workers.histories import bodies, effects, events, step_of
from tests.workers.kit import LEASE, Trip

if TYPE_CHECKING:
    from tests.workers.world import World

STEPS = ("book", "pay", "send")
ONCE = dict.fromkeys(STEPS, 1)
PROVING = pytest.mark.skipif(os.environ.get("PROVE") != "1", reason="PROVE=1 runs it")
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


@pytest.mark.parametrize("pool", ["gevent", "eventlet", pytest.param("threads", marks=PROVING)])
def test_steps_longer_than_the_lease_run_once(world: World, pool: str) -> None:
    """Twelve of them wait side by side for two leases and more, and nobody repeats any."""
    world.worker(children=16, args=("--pool", pool))
    world.beat()
    runs = [world.kit.trip.start(Trip(script={"pay": ["gate"]}), id=f"r-{n}") for n in range(12)]
    for run in runs:
        world.reached(run, "pay")
    first = leases(world)
    assert len(first) == 12
    longer = 2 * int(LEASE * 1000)
    world.until(
        lambda: all(at >= first[who] + longer for who, at in leases(world).items()),
        "every lease was renewed for twice its length",
    )
    assert leases(world).keys() == first.keys()
    for run in runs:
        world.open(run, "pay")
    for run in runs:
        assert world.rest(run).status == "completed"
    assert [bodies(world, run) for run in runs] == [ONCE] * 12


def leases(world: World) -> dict[str, float]:
    """When the lease of each attempt at work runs out, in ms, by what the wake index calls it."""
    found: dict[str, float] = {}
    with world.redis.client() as redis:
        for key in redis.scan_iter("celeriac:{*}:wake"):
            found |= {
                who: at for who, at in redis.zrange(key, 0, -1, withscores=True) if CUT in who
            }
    return found


def test_a_soft_shutdown_lets_steps_end(world: World) -> None:
    """Asked to end, a worker takes nothing new, and records what it is at; another goes on."""
    old = world.worker("old", env={"KIT_CONF": json.dumps({"worker_soft_shutdown_timeout": 10})})
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="soft")
    world.reached(run, "pay")
    world.worker("new")
    old.signal(SIGQUIT)
    old.await_text("Initiating Soft Shutdown")  # Celery sleeps for that long, whatever ends
    world.open(run, "pay")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == ONCE
    assert not events(run, "lost")
    world.until(lambda: old.ended, "the old worker has ended", 60)


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
