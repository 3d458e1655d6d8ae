"""A worker that died is told from all that only looks like it; what it held is taken up at once.

Owns: the rule, fault by fault, and what a sweep does about a death.  Refuses to know: real
processes and connections, which `tests/workers/test_deaths.py` kills, stops and cuts.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from celeriac.engine.deaths import AFTERMATH, CHANCE, MEMORY, RENEWAL, find_deaths
from celeriac.engine.processes import this_process
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.store import Worker
from tests.engine.driver import GRACE, LEASE, Shop
from tests.machine.story import saga

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.store import Presence

ANNA, OTTO = (Worker(name, "", 7, 8, LEASE) for name in ("Anna_1", "Otto_2"))


class TwoWorkers(Shop):
    """A shop with two workers, Anna and Otto, who were both heard of just now."""

    def __init__(self, *steps: str, **values: int) -> None:
        super().__init__(saga(*(steps or ("reserve", "charge")), **values))
        self.presences = self.store.presences
        self.living = [ANNA, OTTO]
        self.worker_id = ANNA.id
        for _ in range(2 * CHANCE // RENEWAL):
            self.tick()

    def tick(self, *, sweeping: bool = False) -> None:
        """A second passes: who lives says so."""
        self.clock.now += RENEWAL
        self.show_life()
        for worker in self.living:
            self.presences.announce(worker)
        if sweeping:
            self.sweep()

    def link(self, worker: Worker = ANNA) -> int:
        """The number of a worker's connection."""
        return self.presence(worker).link

    def presence(self, worker: Worker = ANNA) -> Presence:
        """What is known of a worker."""
        return next(each for each in self.presences.known()[1] if each.worker.id == worker.id)

    def fall_silent(self, worker: Worker = ANNA) -> None:
        """A worker says nothing more; whether its connection stands is another question."""
        self.living.remove(worker)

    def die(self, worker: Worker = ANNA) -> None:  # type: ignore[override]  # a worker, all of it
        """A worker's process ends, and its connection with it."""
        self.fall_silent(worker)
        self.presences.links.discard(self.link(worker))
        self.at_work.clear()

    def found(self) -> list[str]:
        """Who is found dead now."""
        return [each.worker.id for each in find_deaths(self.presences).fresh]

    def lost(self) -> list[str]:
        """Why attempts were given up."""
        return [event.data["why"] for event in self.events(EventKind.LOST)]


# --- the rule ----------------------------------------------------------------------------------


def test_a_death_is_found_before_any_lease_runs_out() -> None:
    """Its connection is gone, it is silent for three seconds, and somebody else was heard of."""
    workers = TwoWorkers()
    workers.die()
    found: list[str] = []
    for _ in range(CHANCE // RENEWAL):
        assert not found
        workers.tick()
        found = workers.found()
    assert found == [ANNA.id]


def stopped(_: TwoWorkers) -> None:
    """Its connection stands: the process was stopped, its machine paused, or its network lost."""


def stopped_then_cut(workers: TwoWorkers) -> None:
    """It was stopped, and its connection was closed later, by whoever had waited long enough."""
    workers.tick()
    workers.tick(sweeping=True)
    workers.presences.links.discard(workers.link())


def restarted(workers: TwoWorkers) -> None:
    """The server was started anew: it knows none of the connections there were."""
    workers.presences.server = "memory-2"
    workers.presences.links.clear()


def all_cut(workers: TwoWorkers) -> None:
    """All connections were cut: whoever speaks again has only just found the way."""
    workers.presences.links.clear()
    workers.living.clear()
    workers.tick()
    workers.tick()
    workers.living.append(OTTO)


def nobody_else(workers: TwoWorkers) -> None:
    """Nobody else is heard of either: perhaps there is no way to speak."""
    workers.presences.links.discard(workers.link())
    workers.living.clear()


@pytest.mark.parametrize("fault", [stopped, stopped_then_cut, restarted, all_cut, nobody_else])
def test_no_other_fault_is_taken_for_a_death(fault: Callable[[TwoWorkers], None]) -> None:
    """Whoever may be stopped, or cut off, keeps its lease: nobody is found dead in its time."""
    workers = TwoWorkers()
    workers.fall_silent()
    fault(workers)
    for _ in range((CHANCE - 1) // RENEWAL):  # as long as the way may only just have been found
        workers.tick()
        assert not workers.found()
    if fault is not all_cut:
        for _ in range(LEASE // RENEWAL):
            workers.tick()
            assert not workers.found()


def test_a_connection_that_is_cut_is_no_death() -> None:
    """Who lives speaks again over another connection, and is never silent for long."""
    workers = TwoWorkers()
    before = workers.link()
    workers.presences.links.clear()
    for _ in range(CHANCE // RENEWAL + 2):
        workers.clock.now += RENEWAL - 1
        assert not workers.found()
        workers.clock.now -= RENEWAL - 1
        workers.tick()
    assert workers.link() != before


def test_a_silence_as_long_as_a_lease_is_the_leases_business() -> None:
    """If no sweep came for so long, an outage may have hidden those who live."""
    workers = TwoWorkers()
    workers.die()
    for _ in range(LEASE // RENEWAL + 1):
        workers.tick()
    assert not workers.found()


def test_a_process_that_ended_here_needs_no_time() -> None:
    """Who can look at the process need not wait, nor ask anybody else; but asks the server."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    workers = TwoWorkers()
    here = this_process()
    dead = Worker("Dead_3", here.place, child.pid, here.born, LEASE)
    alive = Worker("Live_4", here.place, here.pid, here.born, LEASE)
    workers.presences.announce(dead)
    workers.presences.announce(alive)
    assert not workers.found()  # its connection stands: that cannot be, so it was another process
    workers.presences.links.clear()
    assert workers.found() == [dead.id]
    workers.presences.server = "memory-2"
    assert workers.found() == [dead.id]


def test_the_dead_are_forgotten() -> None:
    """A death is remembered as long as anybody is patient; so is one that nobody could tell."""
    workers = TwoWorkers()
    workers.die()
    for _ in range(CHANCE // RENEWAL):
        workers.tick(sweeping=True)
    assert workers.presence().died
    workers.fall_silent(OTTO)
    workers.clock.now += MEMORY
    workers.sweep()
    assert [each.worker.id for each in workers.presences.known()[1]] == [ANNA.id, OTTO.id]
    workers.clock.now += 2 * LEASE + 1
    workers.sweep()
    assert workers.presences.known()[1] == []


# --- what a sweep does about it ----------------------------------------------------------------


def test_what_the_dead_held_is_taken_up() -> None:
    """Attempts of the dead are given up at once, and those of everybody else go on."""
    workers = TwoWorkers()
    workers.start()
    workers.claim()
    workers.start("order-43")
    workers.worker_id = OTTO.id
    other = workers.claim()
    assert other is not None
    workers.die()
    workers.at_work.append(other)
    for _ in range(CHANCE // RENEWAL):
        workers.tick(sweeping=True)
    assert workers.lost() == ["death"]
    assert workers.fields("err:reserve")["err:reserve"]["message"].startswith("its worker died")
    assert workers.run("order-43").step("reserve").do.state is PhaseStatus.RUNNING
    assert workers.work() == 2
    assert workers.run().status is RunStatus.COMPLETED


def test_a_deadline_is_judged_before_anything_is_tried_again() -> None:
    """A step whose worker is dead at the deadline is not tried again, however soon that is seen."""
    workers = TwoWorkers(deadline=CHANCE - RENEWAL)
    workers.start()
    workers.claim()
    workers.store._since = workers.clock.now  # it takes a while until the deadline can be judged
    workers.die()
    for _ in range(2 * LEASE // RENEWAL):
        workers.tick(sweeping=True)
    assert ["retry" in event.data for event in workers.events(EventKind.LOST)] == [False]
    assert workers.run().why == "deadline"
    assert workers.settle_down().status is RunStatus.COMPENSATED


def test_a_death_needs_no_trust_in_old_leases() -> None:
    """Where nobody could have renewed yet, a lease proves nothing; a death does."""
    workers = TwoWorkers()
    workers.start()
    workers.claim()
    workers.store._since = workers.clock.now
    workers.die()
    for _ in range(CHANCE // RENEWAL):
        workers.tick(sweeping=True)
    assert workers.lost() == ["death"]


def test_messages_in_the_hands_of_the_dead_are_sent_again() -> None:
    """With its queue empty a message that was sent before the death waits for no grace."""
    workers = TwoWorkers()
    workers.start()
    workers.post.waiting.clear()  # it was with Anna
    workers.die()
    for _ in range(CHANCE // RENEWAL):
        assert not workers.post.waiting
        workers.tick(sweeping=True)
    assert CHANCE < GRACE
    assert len(workers.post.waiting) == 1
    workers.sweep()
    assert len(workers.post.waiting) == 1  # once


def test_a_backlog_is_not_sent_again_after_a_death() -> None:
    """What waits in a queue is left there, until something that was sent later has arrived."""
    workers = TwoWorkers("reserve")
    for number in range(5):
        workers.start(f"order-{number}")
        workers.clock.now += 300
    lost = workers.post.waiting.pop(1)
    workers.die()
    for _ in range(CHANCE // RENEWAL):
        workers.tick(sweeping=True)
    assert len(workers.post.sent) == 5
    workers.worker_id = OTTO.id
    for _ in range(2):  # the first, and the one that was sent after the lost one
        attempt = workers.claim()
        assert attempt is not None
        workers.complete(attempt)
    assert AFTERMATH > RENEWAL
    workers.tick(sweeping=True)
    assert workers.post.sent[5:] == [lost]


@pytest.mark.parametrize(("after", "sent"), [(CHANCE, 1), (CHANCE + 1, 0)])
def test_what_is_sent_after_a_death_has_its_grace(after: int, sent: int) -> None:
    """Only who was never silent for so long can have had a message, or died before it was sent."""
    workers = TwoWorkers()
    workers.die()
    workers.clock.now += after
    workers.start()
    workers.post.waiting.clear()
    workers.presences.announce(OTTO)
    for _ in range(2):
        workers.sweep()
        assert workers.presence().died
    workers.clock.now += 1
    workers.sweep()
    assert len(workers.post.waiting) == sent


def test_only_so_many_are_looked_at() -> None:
    """A death beside a large backlog costs a bounded number of looks."""
    workers = TwoWorkers("reserve")
    batch = workers.engine.terms.batch
    names = [f"order-{number}" for number in range(20 * batch)]
    for name in names:
        workers.start(name)
        workers.clock.now += 1
    for worker in workers.living:
        workers.presences.announce(worker)
    workers.die()
    workers.clock.now += CHANCE
    workers.presences.announce(OTTO)
    workers.store.calls.clear()
    workers.sweep()
    assert workers.presence().died
    assert workers.store.calls.count("read") <= batch * workers.store.shards
