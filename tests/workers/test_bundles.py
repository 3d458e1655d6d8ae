"""Messages that bring the attempts of several runs: each is what it would be by itself.

Owns: a herd of runs at a real worker: who takes their attempts up, and what one that fails or dies
does to the others.  Refuses to know: which attempts share a message (`test_publishing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from celeriac.workers.bundles import FEWEST, MOST
from tests.redis_server import RedisServer
from tests.workers.histories import bodies, claims, effects
from tests.workers.kit import Trip
from tests.workers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac import RunHandle, Saga
    from tests.processes import Process

COUNT = 1 + FEWEST + 2  # the first goes by itself
MESSAGES = 1 + FEWEST // MOST + 1
Runs = list["RunHandle[Any]"]
Scripts = dict[int, dict[str, list[str]]]


class Place(NamedTuple):
    """A world without a beat, and its worker, which has one child."""

    world: World
    worker: Process

    def herd(self, name: str, saga: Saga[Trip, Any], scripts: Scripts | None = None) -> Runs:
        """Start runs all of whose messages are lost, and send them together."""
        world, scripts = self.world, scripts or {}
        ids = [f"{name}-{number}" for number in range(COUNT)]
        with world.fault("drop"):
            runs: Runs = [
                saga.start(Trip(script=scripts.get(number, {})), id=each)
                for number, each in enumerate(ids)
            ]
        runtime = world.kit.sagas.runtime
        with runtime.dispatcher.together():
            for run in runs:
                runtime.engine.dispatch_due(run.id, runtime.dispatcher)
        return runs

    def sent(self, name: str) -> list[str]:
        """The ids of the messages of a herd's attempts, in order."""
        return [line.split()[-1] for line in self.world.published(f" {name}-")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One world for all tests, with a worker that runs steps ahead."""
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch, RedisServer(folder / "redis") as redis:
        patch.setenv("KIT_AHEAD", "5")
        world = World(folder, redis)
        try:
            words = ("-I", "tests.workers.patient_worker")
            yield Place(world, world.worker(children=1, args=words))
        finally:
            world.close()


def test_a_herd_takes_few_messages(place: Place) -> None:
    """One that fails, or is tried again, is what it would be by itself, and the others are too."""
    odd = {5: {"pay": ["raise"]}, 7: {"send": ["abort-clean"]}}
    runs = place.herd("known", place.world.kit.trip, odd)
    assert len(place.sent("known")) == MESSAGES
    for number, run in enumerate(runs):
        undone = number == 7
        assert place.world.rest(run).status == ("compensated" if undone else "completed")
        assert claims(run, "pay") == ([1, 2] if number == 5 else [1])
        place.world.check(run)
    assert bodies(place.world, runs[6]) == {"book": 1, "pay": 1, "send": 1}
    assert effects(place.world, runs[7])[-2:] == ["undo pay", "undo book"]
    heads = {"known-0:book:1", "known-1:book:1", "known-21:book:1", "known-41:book:1"}
    # A retry is a message of its own, under the id that its task has, and brings nobody else.
    assert sorted(place.sent("known")) == sorted([*heads, "known-5:pay:1"])


def test_nobody_waits_for_a_long_attempt(place: Place) -> None:
    """Where attempts of a task are not known to be short, each gets a message, and none is lost."""
    runs = place.herd("long", place.world.kit.replying)
    assert len(place.sent("long")) == MESSAGES
    for run in runs:
        assert place.world.rest(run).status == "completed"
        assert claims(run, "first") == [1]
    assert len([each for each in place.sent("long") if each.endswith(":first:1")]) == COUNT


def test_a_death_costs_the_others_a_grace(place: Place) -> None:
    """What is lost is the attempt that ran; those behind it are sent again, and claimed once."""
    place.world.beat()
    runs = place.herd("dying", place.world.kit.trip, {4: {"pay": ["kill-after"]}})
    for number, run in enumerate(runs):
        assert place.world.rest(run).status == "completed"
        assert claims(run, "pay") == ([1, 2] if number == 4 else [1])
        assert claims(run, "book") == claims(run, "send") == [1]
