"""Waits among real processes: signals from many at once, and sleeps that outlive everybody.

Owns: that nothing is lost, doubled or late, whoever is killed.  Refuses to know: what is decided
(`tests/machine/test_waits.py`).
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import CommandRefused
from celeriac.machine import EventKind
from tests.workers.histories import bodies
from tests.workers.kit import Ticket, Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World

SENDERS = 50


def waiting(world: World, run: RunHandle[Any]) -> None:
    """Wait until nothing but its wait is open."""
    world.until(lambda: run.status == "waiting", f"{run.id} waits: {run.status}")


def test_whoever_signals_sends_what_follows(world: World) -> None:
    """No sweep is needed; the payload is the result of the wait, and in no message."""
    world.worker()
    run = world.kit.approving.start(Trip(), id="a-1")
    waiting(world, run)
    assert world.kit.sagas.signal("a-1", "approved", {"number": "7"}) == "taken"
    state = world.rest(run)
    assert (state.status, run.result()) == ("completed", Ticket(number="7"))
    assert bodies(world, run) == {"book": 1, "send": 1}


def test_an_early_signal_is_taken_when_its_wait_comes(world: World) -> None:
    """By the worker that settles what stands before it, which sends what stands behind."""
    run = world.kit.approving.start(Trip(), id="a-2")
    assert run.signal("approved", {"number": "7"}) == "kept"
    world.worker()
    assert world.rest(run).status == "completed"
    assert run.result() == Ticket(number="7")


def test_many_senders_at_once(world: World) -> None:
    """One is taken; the others are kept if they came before, and refused if after."""
    run = world.kit.approving.start(Trip(), id="a-3")

    def send(number: int) -> str:
        try:
            return run.signal("approved", {"number": str(number)}, id=f"click-{number // 2}")
        except CommandRefused as refused:
            return refused.reason

    with ThreadPoolExecutor(SENDERS) as pool:
        answers = pool.map(send, range(SENDERS))
        world.worker()
        told = Counter(answers)
    assert world.rest(run).status == "completed"
    assert set(told) <= {"taken", "kept", "no_wait"}
    kinds = Counter(event.kind for event in run.history())
    assert kinds[EventKind.SIGNALLED] <= SENDERS // 2, "the same id counts once"
    ends = [event for event in run.history() if event.step == "approved"]
    assert [event.kind for event in ends] == [EventKind.COMPLETED]


def test_a_signal_beside_the_end_of_its_wait(world: World) -> None:
    """In the same moment: the run goes on, or is undone, and never both."""
    world.worker()
    world.beat()
    runs = [world.kit.hurried.start(Trip(), id=f"h-{number}") for number in range(12)]
    for run in runs:
        waiting(world, run)

    def send(run: RunHandle[Any]) -> str:
        until = run.state().step("approved").waits_until
        assert until is not None
        world.until(lambda: datetime.now(UTC) >= until, "the wait is over")
        try:
            return run.signal("approved", {"number": run.id}, id="the one")
        except CommandRefused as refused:
            return refused.reason

    with ThreadPoolExecutor(len(runs)) as pool:
        answers = list(pool.map(send, runs))
    for run, answer in zip(runs, answers, strict=True):
        status = world.rest(run).status
        assert status == ("completed" if answer == "taken" else "compensated")
        assert answer in ("taken", "turned", "at_rest")


@pytest.mark.parametrize("who", ["workers", "redis"])
def test_a_sleep_outlives_everybody(world: World, who: str) -> None:
    """It ends at the time that was recorded when it began, not later."""
    worker = world.worker()
    run = world.kit.asleep.start(Trip(), id="s-1")
    waiting(world, run)
    until = run.state().step("sleep").waits_until
    if who == "workers":
        worker.kill()
    else:
        world.redis.restart()
    world.worker("w2")
    world.beat()
    assert world.rest(run).status == "completed"
    assert run.history()[-1].at / 1000 > (until.timestamp() if until else 0)
    assert bodies(world, run) == {"book": 1, "send": 1}
    (ended,) = [event for event in run.history() if event.step == "sleep"]
    assert ended.data == {"why": "time is over"}


def test_a_message_behind_a_wait_that_is_lost(world: World) -> None:
    """The sweep sends it again."""
    world.worker()
    world.beat()
    run = world.kit.approving.start(Trip(), id="a-4")
    waiting(world, run)
    with world.fault("drop", "a-4:send:1"):
        run.signal("approved", {"number": "7"})
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {"book": 1, "send": 1}
