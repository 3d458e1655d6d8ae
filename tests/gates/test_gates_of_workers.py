"""Gates among real workers: killed, in two apps, with a Redis that goes away.

Owns: that a gate holds over processes, and that a place comes back from whoever dies in it.
Refuses to know: the rules (`tests/gating`), and time in detail (`test_gates_in_lab`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import RunStatus
from tests.gates.workers_app import PLACES, Kit, build
from tests.processes import Process, Processes, environment, until
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from celeriac import RunHandle


class Place:
    """A Redis, a folder, and the workers of a test."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.folder, self.redis = folder, redis
        self.processes = Processes(folder, "tests.gates.workers_app")
        self.kits: list[Kit] = []

    def kit(self, name: str = "shop") -> Kit:
        """An app of that name, as a client has it."""
        self.kits.append(build(self.redis.url, self.folder, name))
        return self.kits[-1]

    def env(self, app: str) -> dict[str, str]:
        """What its processes find in their environment."""
        return environment(GATES_URL=self.redis.url, GATES_FOLDER=str(self.folder), GATES_NAME=app)

    def worker(self, name: str, app: str = "shop") -> Process:
        """Start a worker of an app."""
        return self.processes.worker(name, env=self.env(app), children=4)

    def lines(self, what: str) -> list[str]:
        """What the steps have noted."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.startswith(what)]

    def rest(self, runs: Sequence[RunHandle[Any]]) -> None:
        """Wait until all are at rest, as completed."""

        def rested() -> bool:
            self.supervise()
            return all(run.status is RunStatus.COMPLETED for run in runs)

        until(rested, "all runs are completed", 60, more=self.processes.logs)

    def supervise(self) -> None:
        """Replace workers that ended when their Redis did, as whoever runs them does."""
        for each in [p for p in self.processes.started if p.says("Unrecoverable error")]:
            if not each.ended:
                each.kill()
            self.processes.started.remove(each)
            self.worker(f"{each.name}-again")

    def close(self) -> None:
        """End whatever still runs."""
        self.processes.kill()
        for kit in self.kits:
            kit.sagas.runtime.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place of its own for a test."""
    with RedisServer(tmp_path / "redis") as redis:
        found = Place(tmp_path, redis)
        yield found
        found.close()


def most_inside(place: Place, killed_at: float = 0) -> int:
    """How many bodies were at work at a time, at most, by their own notes.

    Events tell when a run was read, which is before its claim came through the gate.  One that was
    killed ended then.
    """
    begun, ended = (
        {who: float(at) for _, who, at in map(str.split, place.lines(what))}
        for what in ("begin", "end")
    )
    moves = [(at, 1) for at in begun.values()]
    moves += [(ended.get(who, max(at, killed_at)), -1) for who, at in begun.items()]
    inside = most = 0
    for _, move in sorted(moves):  # at one moment, who leaves comes first
        inside += move
        most = max(most, inside)
    return most


def test_so_many_at_a_time_whoever_is_killed(place: Place) -> None:
    """Two workers of four children; one is killed with its places; all runs come to rest."""
    kit = place.kit()
    place.processes.beat("beat", place.env("shop"))
    first = place.worker("w1")
    place.worker("w2")
    runs = [kit.limited.start("x", id=f"order-{n}") for n in range(24)]
    until(lambda: len(place.lines("end")) >= 4, "some are done", 30, more=place.processes.logs)
    first.kill()
    killed_at = time.monotonic()
    place.rest(runs)
    assert most_inside(place, killed_at) <= PLACES
    gates = kit.sagas.runtime.engine.store.gates
    until(lambda: gates.known() == [], "nothing is kept of the gate", 20)
    attempts = [run.state().steps[0].attempts for run in runs]
    assert sum(attempts) <= len(runs) + PLACES, "who waits uses up no attempt"


def test_two_apps_share_a_breaker(place: Place) -> None:
    """It opens for both, lets one attempt try, and closes for both when the bank is back."""
    shop, store = place.kit(), place.kit("store")
    place.processes.beat("beat", place.env("shop"))
    place.worker("w1")
    place.worker("w2", "store")
    (place.folder / "down").touch()
    runs = [shop.guarded.start("x", id=f"shop-{n}") for n in range(3)]
    asked = until(lambda: len(place.lines("asked")) >= 3 and len(place.lines("asked")), "3 failed")

    def is_open() -> bool:
        found = shop.sagas.runtime.engine.store.gates.read("bank").record
        return '"opened"' in found

    until(is_open, "the breaker opens", 20, more=place.processes.logs)
    other = store.guarded.start("x", id="store-1")

    def waits() -> bool:
        return str(other.state().steps[0].blocked).startswith("breaker bank is")

    until(waits, "the other app waits too", 20, more=place.processes.logs)
    assert other.state().steps[0].attempts == 0
    assert asked <= 6
    (place.folder / "down").unlink()
    place.rest([*runs, other])
    assert not is_open()


def test_a_redis_that_goes_away(place: Place) -> None:
    """Nobody passes meanwhile; when it is back, all go on, and no place is lost."""
    kit = place.kit()
    place.processes.beat("beat", place.env("shop"))
    place.worker("w1")
    runs = [kit.limited.start("x", id=f"order-{n}") for n in range(12)]
    until(lambda: len(place.lines("end")) >= 2, "some are done", 30, more=place.processes.logs)
    place.redis.restart()
    place.rest(runs)
    assert most_inside(place) <= PLACES
