"""Workers of this version and of the one before, on the same runs at the same time.

Owns: a rolling deploy, and the way back.  Refuses to know: what an older version has left
(`test_upgrade`).

The older one is taken out of the history of the repository, into a folder of the test; where the
history does not reach so far back, as in a shallow clone, there is nothing to compare with.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.house.sources import ROOT
from tests.redis_server import RedisServer
from tests.workers import load
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac import RunHandle, Saga
    from tests.processes import Process

#: The version before this one; after a release, the commit of that release.
BEFORE = "9fe4db5c08"
AHEAD = {"KIT_AHEAD": "10"}  # workers run ahead, as they do by default

pytestmark = pytest.mark.skipif(
    os.environ.get("PROVE") != "1", reason="three deploys, one after the other; PROVE=1 runs it"
)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The older version in a folder, with the tests that it had."""
    found = subprocess.run(
        ["git", "archive", BEFORE, "worker", "tests"],  # noqa: S607 -- whichever git there is
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if found.returncode:
        pytest.skip(f"the history of this clone does not hold {BEFORE}, the version before")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as files:
        files.extractall(tmp_path / "before", filter="data")
    return tmp_path / "before"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of its own."""
    with RedisServer(tmp_path / "redis") as redis:
        made = World(tmp_path, redis)
        try:
            yield made
        finally:
            made.close()


def start_older(world: World, name: str, before: Path) -> Process:
    """Start a worker of the older version, and wait until it is ready."""
    path = os.pathsep.join([str(before / "worker"), str(before)])
    # Without the folder it is started in: that has this version's tests.
    env = {**world.environment(**AHEAD), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    told = [sys.executable, "-c", "import celeriac; print(celeriac.__file__)"]
    found = subprocess.run(told, env=env, cwd=before, capture_output=True, check=True, text=True)
    assert found.stdout.startswith(str(before))
    words = ["--workdir", str(before), "-A", world.processes.app, "worker", "-c", "2"]
    options = ["-n", f"{name}@test", "-l", "INFO", "--without-mingle", "--without-gossip"]
    command = [sys.executable, "-m", "celery", *words, *options]
    worker = world.processes.start(name, command, env)
    worker.await_text(" ready.", 60)
    return worker


def test_what_only_the_new_one_knows_is_left_to_it(world: World, before: Path) -> None:
    """An old worker, which also sweeps, harms no run that it cannot read, and goes on with others.

    Such a run may stand still until the deploy is over: whose message an old worker takes is lost.
    """
    old = start_older(world, "old", before)
    world.beat()
    new, kit = world.worker("new", env=AHEAD), world.kit
    rewound: list[RunHandle[Any]] = [kit.trip.start(Trip(), id=f"rewound-{n}") for n in range(3)]
    world.until(lambda: all(run.status == "completed" for run in rewound), "they are done", 90)
    for run in rewound:
        assert run.rewind(to="pay", reason="the wrong card")
    script = {"first.goes": ["manual"], "decide.goes": ["entry"]}
    sagas: list[Saga[Trip, Any]] = [kit.rounds, kit.stamped, kit.bundle]
    others = [
        saga.start(Trip(script=script), id=f"other-{number}") for number, saga in enumerate(sagas)
    ]
    runs = load.start(world, "beside", range(10))
    load.all_rest(world, runs, 90)
    assert load.statuses(runs) == load.expected(runs)
    assert pids(world) & set(old.children())
    assert pids(world) & set(new.children())
    assert not old.ended
    old.kill()
    for run in (*rewound, *others):
        world.until(lambda run=run: run.status == "completed", f"{run.id} is done", 90)  # type: ignore[misc]
    for run in rewound:
        assert run.state().rewinds == 1
        assert world.ledger.live(run.id) == {"book"}
        assert world.ledger.live(f"{run.id}~2") == {"pay", "send"}


def pids(world: World) -> set[int]:
    """The processes in which bodies began."""
    return {row.pid for row in world.ledger.rows(kind="begin")}


def test_a_rolling_deploy_and_the_way_back(world: World, before: Path) -> None:
    """Runs begun by either are carried on by the other, and come to the end they should."""
    old = start_older(world, "old", before)
    world.beat()
    runs = load.start(world, "old", range(20))
    world.until(lambda: any(run.status.at_rest for run in runs), "the old one is at work")
    new = world.worker("new", env=AHEAD)
    runs += load.start(world, "both", range(40))
    ours = {"old": set(old.children()), "new": set(new.children())}
    load.all_rest(world, runs, 90)
    assert all(pids(world) & each for each in ours.values())  # both had their part

    runs += load.start(world, "deployed", range(20))
    old.kill()  # in the middle of whatever it is at
    load.all_rest(world, runs, 90)

    runs += load.start(world, "back", range(20))
    again = start_older(world, "old-again", before)
    new.kill()
    load.all_rest(world, runs, 90)
    runs += load.start(world, "old-again", range(10))
    load.all_rest(world, runs, 90)
    assert pids(world) & set(again.children())
    assert load.statuses(runs) == load.expected(runs)
