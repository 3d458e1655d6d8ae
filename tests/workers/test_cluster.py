"""Runs in a Redis Cluster, with real workers: a primary dies and slots move under load.

Owns: that everything comes to its end, and that outages of some shards cost the others nothing.
Refuses to know: which command goes where (`tests/store/test_cluster`).
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from celeriac.errors import StoreUnavailable
from celeriac.machine import EventKind
from celeriac.store.keys import Keys
from celeriac.store.slots import slot_of
from tests.cluster import Cluster
from tests.redis_server import RedisServer
from tests.workers import load
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac import RunHandle

RUNS = 200 if os.environ.get("PROVE") == "1" else 40
WAKES = [keys.wake for keys in Keys("celeriac", 8).shards]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three primaries with a replica each."""
    with Cluster(tmp_path / "cluster") as found:
        yield found


@pytest.fixture
def world(cluster: Cluster, tmp_path: Path) -> Iterator[World]:
    """A world whose messages are in one Redis, and whose runs are in the cluster."""
    with RedisServer(tmp_path / "broker") as broker:
        made = World(tmp_path, broker, cast("RedisServer", cluster))
        try:
            yield made
        finally:
            made.close()


def test_a_primary_dies_and_slots_move_under_load(world: World, cluster: Cluster) -> None:
    """Every run comes to its end; runs at other nodes do not even notice."""
    for n in range(2):
        world.worker(f"w{n}", children=8, args=("--pool", "threads"))
    world.beat()
    held = [
        world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id=f"held-{n}") for n in range(8)
    ]
    for run in held:
        world.reached(run, "pay")
    runs = load.start(world, "load", range(RUNS))
    world.until(lambda: len(world.ledger.rows("load-%", "begin")) >= RUNS // 2, "it is under way")
    victim = cluster.owner(WAKES[0])
    elsewhere = [run for run in held if cluster.owner(_wake_of(run.id)) is not victim]
    assert 0 < len(elsewhere) < len(held)
    cluster.kill(victim)
    for wake in WAKES[:2]:
        owner = cluster.owner(wake)
        cluster.move(slot_of(wake), next(n for n in cluster.primaries() if n is not owner))
    # What was acknowledged in the last moment may be gone: whoever is not sure starts it again.
    again = [world.until(partial(_started, world, n), "it is started") for n in range(RUNS)]
    runs = [run for [run] in again]
    for run in held:
        world.open(run, "pay")
    load.all_rest(world, [*runs, *held])
    assert load.happened(elsewhere, "lost") == {}
    lost = load.happened(runs, "lost")
    spared = [run for run in runs if run.id not in lost]
    assert load.statuses(spared) == load.expected(spared)
    assert len(spared) > RUNS // 2, lost
    assert sum(world.kit.sagas.counts().values()) == RUNS + len(held)
    assert world.kit.sagas.repair(dry_run=True).faults == ()


def test_a_parent_and_its_child_at_different_nodes(world: World, cluster: Cluster) -> None:
    """The node of a child dies while its parent turns round: both hear of it, and once (I22)."""
    for n in range(2):
        world.worker(f"w{n}", children=8, args=("--pool", "threads"))
        world.beat(f"beat{n}")  # two sweeps look at everything, so each word may come twice
    names = [f"f-{n}" for n in range(40)]
    apart = [name for name in names if _owners(cluster, name) > 1][:6]
    family = world.kit.family
    runs = {name: family.start(Trip(script={"pay": ["gate-after"]}), id=name) for name in apart}
    children = {name: world.kit.sagas._handle(f"{name}.trip") for name in apart}
    for child in children.values():
        world.reached(child, "pay")
    cluster.kill(cluster.owner(_wake_of(f"{apart[0]}.trip")))
    turned = dict.fromkeys(apart[::2])
    for name in turned:
        world.until(partial(_cancelled, runs[name]), "its own node takes the word")
    for child in children.values():
        world.open(child, "pay")
    for name, run in runs.items():
        wanted = "compensated" if name in turned else "completed"
        assert world.rest(run).status == wanted
        assert world.rest(children[name]).status == wanted
        claims = [e for e in run.history() if e.step == "trip" and e.kind is EventKind.CLAIMED]
        # A child that ended before its parent's word came is taken back by an undo of its own.
        phases = [event.phase for event in claims]
        assert phases in (["do"], ["do", "undo"]), "one run, whoever has looked for it"
        assert name in turned or phases == ["do"]


def _owners(cluster: Cluster, parent: str) -> int:
    """At how many nodes a family lives."""
    return len({cluster.owner(_wake_of(each)).port for each in (parent, f"{parent}.trip")})


def _cancelled(run: RunHandle[Any]) -> bool:
    try:
        run.cancel("changed my mind")
    except StoreUnavailable:
        return False
    return run.state().why is not None


def _wake_of(run_id: str) -> str:
    return Keys("celeriac", 8).of(run_id).wake


def _started(world: World, number: int) -> list[RunHandle[Any]]:
    """Start a run of the load, or join it; none while that cannot be."""
    try:
        return load.start(world, "load", [number])
    except StoreUnavailable:
        return []
