"""Many at one gate, at one moment: workers that share nothing but what is kept of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.engine.gates import GateWork, HasToWait, Passing, _Way
from celeriac.gating import Record, dump, load
from celeriac.machine import InLine, Place, Rule
from celeriac.store import GateChange
from celeriac.store.gates import PLACES_READ, MemoryGates

SPAN, MOST = 1_000, PLACES_READ + 5
RATE = Rule(kind="rate", most=MOST, per=SPAN)
BREAKER = Rule(kind="breaker", most=3, per=60_000, open_for=30_000)


class World:
    """A gate, and a clock that stands still."""

    def __init__(self, rule: Rule) -> None:
        self.now, self.rule = 100_000, rule
        self.gates = MemoryGates(lambda: self.now, lambda _: 0)

    def worker(self) -> GateWork:
        """A process that has just started."""
        commander: Any = SimpleNamespace(
            store=SimpleNamespace(gates=self.gates, read_all=lambda _: {}),  # all runs are gone
            terms=SimpleNamespace(lease=15_000),
            observers=SimpleNamespace(tell=lambda _: None),
            wait=lambda _: None,
        )
        made = GateWork(commander)
        made.know({"bank": self.rule})
        return made

    def passes(self, work: GateWork, number: int) -> bool:
        """Whether a run passes the gate."""
        place = Place("bank", f"run-{number:03}", 0, "charge", "do", 1, "one")
        turn = InLine("bank", place.run, 0, "charge", "do", self.now)
        try:
            work._pass(Passing(), _Way("bank", self.rule, place, turn, of_run=False))
        except HasToWait:
            return False
        return True

    def keep(self, **record: int) -> None:
        """Keep a record of the gate."""
        text = dump(Record(version=1, rule=self.rule, **record))
        assert self.gates.commit(GateChange("bank", "", text, look_at=self.now + 1))


def test_who_was_held_up_behind_a_rate_is_judged_anew() -> None:
    """So many places are over that his own is not among those that are read."""
    world = World(RATE)
    work = world.worker()
    assert all(world.passes(work, number) for number in range(MOST))
    assert not world.passes(work, MOST)
    world.now += SPAN
    kept: Any = world.gates._kept["bank"]
    kept.line.clear()
    kept.places |= dict.fromkeys(list(kept.places)[:2], world.now + SPAN)  # came again
    kept.places |= {f"other {n}": world.now + SPAN for n in range(MOST - 2)}
    assert not world.passes(work, MOST - 1)


def test_one_of_a_hundred_tries_a_breaker_that_is_half_open() -> None:
    """All in the same millisecond, at 32 workers, none of which knows of another."""
    world = World(BREAKER)
    world.keep(opened=world.now - 40_000, until=world.now)
    several = [world.worker() for _ in range(32)]
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda n: world.passes(several[n % 32], n), range(100)))
    assert found.count(True) == 1
    assert world.gates.read("bank").waiting == 99


@pytest.mark.parametrize("until", [0, 110_000])
def test_workers_that_start_change_nothing(until: int) -> None:
    """A breaker that is open stays so, also one that an operator has opened."""
    world = World(BREAKER)
    world.keep(opened=world.now - 10_000, until=until)
    assert not any(world.passes(world.worker(), number) for number in range(32))
    found = load("bank", world.gates.read("bank").record)
    assert (found.state(world.now), found.opened, found.until) == ("open", 90_000, until)
