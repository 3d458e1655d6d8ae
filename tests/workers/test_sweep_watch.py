"""A beat that nobody has started is missed by the workers.

Owns: what they say, and when.  Refuses to know: the sweep.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from celeriac.store.memory import MemoryStore
from celeriac.workers.sweep_watch import SweepWatch

if TYPE_CHECKING:
    import pytest

    from tests.workers.world import World

NOON = 1_700_000_000_000


class Watched:
    """A watch, and the time of both its clocks."""

    def __init__(self, caplog: pytest.LogCaptureFixture, interval: float = 1.0) -> None:
        self.seconds = 0.0
        self.store = MemoryStore(lambda: NOON + int(self.seconds * 1000))
        self._watch = SweepWatch(self.store, interval, lambda: self.seconds)
        self._logs = caplog
        caplog.set_level(logging.INFO, "celeriac")

    def after(self, seconds: int, *, swept: bool = False) -> list[str]:
        """Let time pass, looking every five seconds; return what was said meanwhile."""
        self._logs.clear()
        for _ in range(0, seconds, 5):
            self.seconds += 5
            if swept:
                self.store.swept(0, 1)
            self._watch.look()
        return [record.getMessage() for record in self._logs.records]


def test_no_sweep_for_thirty_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, with what to do; again after ten minutes; and when there is one again."""
    at = Watched(caplog)
    assert at.after(30) == [], "a beat may be started a little later"
    (told,) = at.after(60)
    assert told.startswith("no sweep came yet: ")
    assert "celery -A … beat" in told
    assert len(at.after(600)) == 1
    assert at.after(5, swept=True) == ["there are sweeps again"]
    assert at.after(600, swept=True) == []
    (told,) = at.after(60)
    assert told.startswith("no sweep came for 35 s: ")


def test_a_rare_sweep_is_not_missed(caplog: pytest.LogCaptureFixture) -> None:
    """Where an application sweeps once a minute, half an hour is a long time."""
    at = Watched(caplog, interval=60.0)
    assert at.after(1_800) == []
    assert len(at.after(60)) == 1


def test_a_worker_looks(world: World) -> None:
    """The thread that renews leases looks every few seconds."""
    world.beat()
    with world.redis.client() as redis:
        world.until(lambda: redis.llen("celeriac"), "beat sends ticks")
        worker = world.worker()
        world.until(lambda: redis.hget("celeriac:{0}:sweep", "at"), "there was a sweep")
    world.processes.started[0].kill()  # beat
    world.until(lambda: worker.says("no sweep came for 3"), "it is missed", 60)
