"""A run that waits names who could take its message, with real workers to ask.

Owns: what is said of the workers that answer.  Refuses to know: how it is printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.app import find_hindrances, hindrances
from celeriac.doctor import examine
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that waits at all is asked about."""
    monkeypatch.setattr(hindrances, "_PATIENCE", 0)


def told(world: World, run: RunHandle[Any]) -> tuple[str, str]:
    """What is said of its queue after how long it has waited, and the command that helps."""
    found = find_hindrances(world.kit.sagas.runtime, *run.look())
    (last,) = [each for each in found if each.text.startswith("book waits ")]
    return last.text.partition(" s in ")[2], last.command


def test_workers_that_take_from_other_queues(world: World) -> None:
    """They answer, and none takes from this one: it has to be served."""
    world.worker(args=("-Q", "other"))
    run = world.kit.trip.start(Trip(), id="alone")
    assert told(world, run) == ("queue celery; nobody takes from it", "worker -Q celery")
    findings = examine(world.kit.sagas.runtime, only=("queues",)).findings
    unserved = (
        "celery",
        "elsewhere",
        "nowhere",
        "slow",
    )  # these three are what sagas say of a step
    for found, queue in zip(findings, unserved, strict=True):
        assert found.text == f"nobody takes messages from the queue {queue!r}"
        assert f"celery -A app worker -Q {queue}" in found.advice


def test_a_worker_that_is_busy(world: World) -> None:
    """It takes from the queue, so the run waits for its turn, and nothing need be started."""
    world.worker(children=1)
    first = world.kit.trip.start(Trip(script={"book": ["gate"]}), id="first")
    world.reached(first, "book")
    world.kit.trip.start(Trip(), id="second")  # it is in the worker already
    world.until(lambda: world.kit.sagas.stats().queues[1].messages == 0, "the worker has it")
    third = world.kit.trip.start(Trip(), id="third")
    assert told(world, third) == ("queue celery with 1 message; w1@test takes from it", "")
    world.open(first, "book")
    world.rest(third)


def test_how_much_waits_and_for_how_long(world: World) -> None:
    """Each queue that sagas use, with the wait of its oldest message."""
    assert [tuple(each.model_dump().values()) for each in world.kit.sagas.stats().queues] == [
        ("celeriac", 0, 0.0),
        ("celery", 0, 0.0),
        ("elsewhere", 0, 0.0),
        ("nowhere", 0, 0.0),
        ("slow", 0, 0.0),
    ]
    run = world.kit.trip.start(Trip(), id="one")
    world.kit.trip.start(Trip(), id="two")
    begun = run.history()[0].at
    own, steps, other, *_ = world.kit.sagas.stats().queues
    now = world.kit.sagas.runtime.engine.store.read("one").now
    assert (own.messages, steps.messages, other.messages) == (0, 2, 0)
    assert steps.wait is not None
    assert 0 <= steps.wait <= (now - begun) / 1000

    with world.redis.client() as redis:
        redis.rpush("celery", "this is no message")
    assert world.kit.sagas.stats().queues[1].wait is None
