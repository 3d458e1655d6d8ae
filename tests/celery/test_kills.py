"""Processes die, and every accepted run still ends as it must.

Owns: kills of pool children, workers, beat and clients.  Refuses to know: lost messages and
outages of Redis, which have files of their own.
"""

from __future__ import annotations

from tests.celery.world import World
from tests.celery.kit import Trip


def test_an_ordinary_run_completes(world: World) -> None:
    """Without any fault a run completes, each step once."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(), id="plain")
    assert run.result(timeout=20).number == "send-plain"
    world.check(run)
    assert [world.ledger.bodies("plain", step) for step in ("book", "pay", "send")] == [1, 1, 1]


def test_a_child_killed_in_a_step(world: World) -> None:
    """A pool child that dies in a step loses one attempt; the next one completes."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["kill-after"]}), id="child")
    state = world.rest(run)
    assert state.status == "completed"
    assert world.ledger.bodies("child", "pay") == 2
