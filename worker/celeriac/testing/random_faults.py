"""Anything can go wrong anywhere, as a seed has it: the trouble that nobody would have thought of.

Owns: the odds, and drawing from one generator, so that a seed is the same storm every time.
Refuses to know: what the runs are about, and what must hold all the same.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from celeriac.errors import Abort, StoreUnavailable
from celeriac.testing.scripted_faults import LabFailure, Script, where

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.engine import Delivery
    from celeriac.testing.broker import Message
    from celeriac.testing.fault_points import Point
    from celeriac.testing.process import Process
    from celeriac.testing.simulation import World

# A process that is stopped is a call inside of which the others go on: only so many at once.
_DEEPEST = 5
_NOT_OF_THE_STORE = ("body", "send")


@dataclass(frozen=True, slots=True)
class Odds:
    """How probable each kind of trouble is, from 0 to 1."""

    kill: float = 0.02  # at a contact: the process dies there
    stop: float = 0.02  # it is stopped, up to three leases long
    cut: float = 0.03  # a call of the store fails, before or after it was done
    outage: float = 0.003  # the store is away from then on, up to two leases long
    aside: float = 0.2  # something else happens in between
    lose: float = 0.06  # a message is lost
    double: float = 0.06  # it comes twice, perhaps much later
    delay: float = 0.06  # it comes late, when it was given up
    fail: float = 0.15  # a body fails, before or after its effect
    abort: float = 0.05  # it gives up for good
    late: float = 0.05  # its worker dies, and its request arrives all the same
    slow: float = 0.05  # it takes long


class Storm:
    """Lets go wrong what the generator says, until it is over; then only what was armed."""

    def __init__(self, seed: int, world: World, script: Script, until: int, odds: Odds) -> None:
        self.seed, self.until, self.odds = seed, until, odds
        self.happened: Counter[str] = Counter()
        self.dice = Random(f"celeriac {seed}")  # noqa: S311 -- no secret depends on it
        self._world, self._script = world, script

    @property
    def over(self) -> bool:
        """True when nothing goes wrong by itself any more."""
        return self._world.clock.now >= self.until

    def at(self, process: Process, point: Point) -> None:
        """A process is at a contact: perhaps it dies, stops, or finds the store away."""
        self._script.at(process, point)
        of_the_store = point.contact not in _NOT_OF_THE_STORE
        if of_the_store and self._world.clock.now < self._world.away_until:
            raise StoreUnavailable("the store is away")
        if self.over:
            return
        if of_the_store:
            self._trouble_the_store(process, point)
        if self._draws("kill"):
            self._die(process, point)
        if len(self._world.at_work) < _DEEPEST:
            if self._draws("stop"):
                self._world.stop(process, self._ms(3), where(point))
            elif self._draws("aside"):
                self._world.one_more()

    def _trouble_the_store(self, process: Process, point: Point) -> None:
        if self._draws("outage"):
            self._world.lose_the_store(self._ms(2))
            raise StoreUnavailable("the store is away")
        if self._draws("cut"):
            self._world.cut(process, where(point))

    def _die(self, process: Process, point: Point) -> None:
        if process.lease is not None and self.dice.random() < 0.5:  # noqa: PLR2004 -- heads or tails
            # Only the pool child died: its parent has noticed.
            self.happened["child"] += 1
            self._world.store.lapse([process.lease])
        self._world.kill(process, where(point))

    def fate(self, who: str, delivery: Delivery) -> Sequence[int]:
        """A message is sent: perhaps it is lost, comes twice, or late."""
        copies = self._script.fate(who, delivery)
        if self.over:
            return copies
        if self._draws("lose"):
            return ()
        if self._draws("double"):
            return (*copies, self.dice.choice((0, self._ms(6))))
        return (self._ms(3),) if self._draws("delay") else copies

    def body(self, process: Process, call: Callable[[], Any]) -> Any:
        """A body runs: perhaps it fails, takes long, or its request comes late."""
        return self._script.body(process, lambda: self._work(process, call))

    def _work(self, process: Process, call: Callable[[], Any]) -> Any:
        if self.over:
            return call()
        after = self.dice.random() < 0.5  # noqa: PLR2004 -- heads or tails
        if not after:
            self._fail()
        if self._draws("late"):
            self._world.come_late(process, self._ms(5))
        result = call()
        if len(self._world.at_work) < _DEEPEST and self._draws("slow"):
            self._world.labour(process, self._ms(3))
        if after:
            self._fail()
        return result

    def _fail(self) -> None:
        if self._draws("fail"):
            raise LabFailure("the storm had it so")
        if self._draws("abort"):
            raise Abort("the storm had it so")

    def pick(self, ready: Sequence[Message]) -> Message:
        """Any of the messages comes next."""
        return self.dice.choice(ready)

    def _draws(self, kind: str) -> bool:
        if self.dice.random() >= getattr(self.odds, kind):
            return False
        self.happened[kind] += 1
        return True

    def _ms(self, leases: int) -> int:
        """Up to so many leases, in ms; short times are as probable as long ones."""
        longest = leases * self._world.settings.lease_ms
        return round(math.pow(longest, self.dice.random()))
