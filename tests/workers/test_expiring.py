"""Steps that expire, and sleeps whose end is read, among real processes.

Owns: that a step that nobody takes up in its time is never called, however late its message comes.
Refuses to know: what is decided (`tests/machine/test_expiring.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from celeriac.machine import EventKind
from tests.workers.histories import bodies, claims, events
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def test_a_step_that_nobody_takes_up_has_no_effect(world: World) -> None:
    """No worker is at its queue until it has expired; the message it finds then does nothing."""
    world.worker()
    world.beat()
    run = world.kit.timely.start(Trip(), id="t-1")
    state = world.rest(run)
    assert (state.status, state.failed_step) == ("compensated", "send")
    assert state.failure is not None
    assert (state.failure.code, state.failure.effect) == ("expired", False)
    late = world.worker("w2", args=("-Q", "slow"))
    world.until(lambda: late.says("ignored"), "the late message is refused")
    assert bodies(world, run) == {"book": 1, "book.undo": 1}
    assert claims(run, "send") == []
    world.check(run)


def test_a_sleep_until_a_moment_that_is_given(world: World) -> None:
    """It is read when its turn comes, also if only the sweep is left to do so."""
    world.worker()
    world.beat()
    until = datetime.now(UTC) + timedelta(seconds=1.5)
    run = world.kit.dated.start(Trip(), until, id="d-1")
    assert world.rest(run).status == "completed"
    opened, ended = events(run, EventKind.OPENED), events(run, EventKind.COMPLETED, "sleep")
    assert [event.data["until"] for event in opened] == [round(until.timestamp() * 1000)]
    assert [event.at >= until.timestamp() * 1000 for event in ended] == [True]
    assert bodies(world, run) == {"book": 1, "send": 1}
    world.check(run)
