"""A seed stands for a schedule: the same one every time, with every kind of fault in it.

Owns: what can be said of a schedule without letting anything happen.  Refuses to know: what the
faults do.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.chaos import clock
from tests.chaos.faults import DO
from tests.chaos.schedule import KINDS, schedule
from tests.house.sources import ROOT

SHORT = 48.0  # seconds
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "worker"), str(ROOT)])}
NAMES = {kind.name for kind in KINDS}


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_strikes(seed: int) -> None:
    """However short it is, every kind of fault strikes, in its share, and within the time."""
    plan = schedule(seed, SHORT)
    kinds = [planned.kind for planned in plan]
    assert all(kinds.count(kind.name) == kind.share for kind in KINDS)
    assert all(0 < planned.at < SHORT for planned in plan)
    assert list(plan) == sorted(plan)


def test_the_same_seed_is_the_same_schedule() -> None:
    """A seed and a length give a schedule, to the digit, in any process; another one another."""
    words = [sys.executable, "-m", "tests.chaos", "--seed", "7", "--minutes", "0.8", "--schedule"]
    told = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT, env=ENV)
    heading, *lines = told.stdout.splitlines()
    assert heading == "seed 7, 48 s"
    assert lines == [str(planned) for planned in schedule(7, SHORT, clocks=clock.possible())]
    assert schedule(7, SHORT) != schedule(8, SHORT)


def test_more_time_brings_more_faults() -> None:
    """In a long run faults go on to strike, every two seconds or so, in another order each time."""
    plan = schedule(1, 600)
    assert 290 <= len(plan) <= 300
    first, second = (
        [planned.kind for planned in plan[at : at + len(KINDS)]] for at in (0, len(KINDS))
    )
    assert first != second


def test_what_may_strike_can_be_chosen() -> None:
    """Only these kinds, or only what can be done without clocks of one's own."""
    assert {planned.kind for planned in schedule(1, SHORT, ["cut", "hold"])} == {"cut", "hold"}
    able = {planned.kind for planned in schedule(1, SHORT, clocks=False)}
    assert NAMES - able == {"set-state-clock", "set-worker-clock"}


def test_every_kind_can_be_done() -> None:
    """What a schedule may name is what the faults know."""
    assert set(DO) == NAMES
