"""A place at a rate that is over is none, however many others are over before it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.engine.gates import GateWork, HasToWait, Passing, _Way
from celeriac.machine import InLine, Place, Rule
from celeriac.store.gates import PLACES_READ, MemoryGates

SPAN, MOST = 1_000, PLACES_READ + 5


class Clock:
    """The clock of the store, in ms."""

    now = 10_000


def test_who_was_held_up_behind_a_rate_is_judged_anew() -> None:
    """So many places are over that his own is not among those that are read."""
    clock = Clock()
    gates = MemoryGates(lambda: clock.now, lambda _: 0)
    commander: Any = SimpleNamespace(
        store=SimpleNamespace(gates=gates),
        terms=SimpleNamespace(lease=15_000),
        observers=SimpleNamespace(tell=lambda _: None),
        wait=lambda _: None,
    )
    work, rule = GateWork(commander), Rule(kind="rate", most=MOST, per=SPAN)

    def come(number: int) -> None:
        place = Place("bank", f"run-{number:03}", 0, "charge", "do", 1, "one")
        turn = InLine("bank", place.run, 0, "charge", "do", clock.now)
        work._pass(Passing(), _Way("bank", rule, place, turn, of_run=False))

    for number in range(MOST):
        come(number)
    with pytest.raises(HasToWait):
        come(MOST)
    clock.now += SPAN
    kept: Any = gates._kept["bank"]
    kept.line.clear()
    kept.places |= dict.fromkeys(list(kept.places)[:2], clock.now + SPAN)  # have come again
    kept.places |= {f"other {n}": clock.now + SPAN for n in range(MOST - 2)}
    with pytest.raises(HasToWait):
        come(MOST - 1)
