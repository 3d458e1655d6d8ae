"""Whoever follows a tick of a schedule is killed on the way; the next sweep carries it out.

Owns: the points of a tick, in a real process at a real Redis.  Refuses to know: what is decided of
a tick (`tests/scheduling`).
"""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from signal import SIGKILL
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import Flow, Sagas, Schedule
from tests.house.sources import ROOT
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

BY_HAND = "nightly-by-hand"
DYING = """
import os, signal, sys
from celeriac import points
from tests.crash.test_ticks import BY_HAND, nightly

def die(name, about):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

points.arm(die)
nightly(sys.argv[1])[1].trigger(id=BY_HAND)
"""


def nightly(url: str) -> tuple[Sagas, Schedule]:
    """An app with a schedule that nothing ticks by itself for now."""
    sagas = Sagas(Celery("books", broker=url, set_as_current=False))

    @sagas.step(name="books.close")
    def close() -> None:
        pass

    @sagas.saga
    def close_books(flow: Flow) -> None:
        flow.step(close)

    return sagas, sagas.schedule("nightly", close_books, every=timedelta(days=1))


@pytest.mark.parametrize("point", ["tick.decided", "tick.started"])
def test_a_tick_whose_follower_is_killed(tmp_path: Path, point: str) -> None:
    """There is one run of it, and its schedule knows."""
    with RedisServer(tmp_path) as server:
        sagas, schedule = nightly(server.url)
        sagas.sweep()  # from now on it is known
        words = [sys.executable, "-c", DYING, server.url, point]
        dead = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert dead.returncode == -SIGKILL, dead.stderr
        assert [run.id for run in sagas.runs()] == ([BY_HAND] if point == "tick.started" else [])
        for _ in range(2):
            sagas.sweep()
        assert [run.id for run in sagas.runs()] == [BY_HAND]
        assert schedule.trigger(id=BY_HAND) == BY_HAND, "and its schedule knows"
        assert len(sagas.runs()) == 1
