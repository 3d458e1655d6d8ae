"""Figures that take a moment: nobody waits for them but the first, and they cost little.

Owns: when they are gathered.  Refuses to know: which figures they are.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from celeriac.errors import StoreUnavailable
from celeriac.web.kept_figures import SHORTEST, KeptFigures
from tests.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def counting(clock: Clock, takes: float = 0.0) -> Callable[[], int]:
    """Figures that take so long, and say how often they were gathered."""
    calls: list[None] = []

    def gather() -> int:
        calls.append(None)
        clock.now += takes
        return len(calls)

    return gather


def test_figures_are_kept_and_then_gathered_behind_whoever_looks() -> None:
    """What is old is shown once more, and new figures soon after."""
    figures = KeptFigures(clock := Clock())
    gather = counting(clock)
    assert [figures.of("a", gather) for _ in range(3)] == [1, 1, 1]
    clock.now += SHORTEST - 0.1
    assert figures.of("a", gather) == 1
    assert figures.of("b", counting(clock)) == 1
    clock.now += 0.1
    assert figures.of("a", gather) == 1
    until(lambda: figures.of("a", gather) == 2)
    assert figures.of("a", gather) == 2


def test_what_takes_long_is_gathered_seldom() -> None:
    """A hundredth of a core, whatever it takes."""
    figures = KeptFigures(clock := Clock())
    gather = counting(clock, takes=2.0)
    figures.of("a", gather)
    clock.now += 199.0
    assert figures.of("a", gather) == 1
    clock.now += 1.0
    until(lambda: figures.of("a", gather) == 2)


def test_many_who_look_gather_once() -> None:
    """The first of all, and those who come while it is at it."""
    figures, begun, told = KeptFigures(), threading.Event(), threading.Event()
    calls: list[None] = []

    def gather() -> str:
        calls.append(None)
        begun.set()
        assert told.wait(30)
        return "found"

    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(figures.of("a", gather))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    told.set()
    for thread in threads:
        thread.join(30)
    assert found == ["found"] * 5
    assert len(calls) == 1


def test_while_the_store_is_away_old_figures_are_shown() -> None:
    """The next who looks tries again; only the first of all is told."""
    figures = KeptFigures(clock := Clock())
    gather, tried = counting(clock), threading.Event()

    def away() -> int:
        tried.set()
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        figures.of("a", away)
    assert figures.of("a", gather) == 1
    tried.clear()
    clock.now += SHORTEST
    assert figures.of("a", away) == 1
    assert tried.wait(30)
    until(lambda: figures.of("a", gather) == 2)


def test_nobody_waits_for_what_takes_seconds() -> None:
    """It is there a while later, gathered seldom; whoever asks for it gets it anew."""
    figures = KeptFigures(clock := Clock())
    gather = counting(clock)
    assert figures.seen("a", gather, 300.0) is None
    until(lambda: figures.seen("a", gather, 300.0) == 1)
    clock.now += 299.0
    assert figures.seen("a", gather, 300.0) == 1
    assert figures.anew("a", gather, 300.0) == 2
    clock.now += 299.0
    assert figures.seen("a", gather, 300.0) == 2
    clock.now += 1.0
    until(lambda: figures.seen("a", gather, 300.0) == 3)


def test_what_nobody_waits_for_is_not_tried_at_each_look() -> None:
    """Where it fails, it is tried again as seldom as it is gathered."""
    figures = KeptFigures(clock := Clock())
    gather, tried = counting(clock), list[None]()

    def away() -> int:
        tried.append(None)
        raise StoreUnavailable("away")

    assert figures.seen("a", away, 300.0) is None
    until(lambda: "a" in figures._kept and "a" not in figures._busy)
    assert [figures.seen("a", away, 300.0) for _ in range(5)] == [None] * 5
    assert len(tried) == 1
    clock.now += 300.0
    until(lambda: figures.seen("a", gather, 300.0) == 1)
