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
from typing import TYPE_CHECKING

import pytest

from tests.house.sources import ROOT
from tests.redis_server import RedisServer
from tests.workers import load
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
