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
from celeriac.machine.runs import PhaseStatus, RunStatus
from celeriac.store import Worker
from tests.engine.driver import GRACE, LEASE, Shop
from tests.machine.story import saga

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.store import Presence

ANNA, OTTO = (Worker(name, "", 7, 8, LEASE) for name in ("Anna_1", "Otto_2"))


class Crew(Shop):
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
    crew = Crew()
    crew.die()
    found: list[str] = []
    for _ in range(CHANCE // RENEWAL):
        assert not found
        crew.tick()
        found = crew.found()
    assert found == [ANNA.id]


def stopped(_: Crew) -> None:
    """Its connection stands: the process was stopped, its machine paused, or its network lost."""


def stopped_then_cut(crew: Crew) -> None:
    """It was stopped, and its connection was closed later, by whoever had waited long enough."""
    crew.tick()
    crew.tick(sweeping=True)
    crew.presences.links.discard(crew.link())


def restarted(crew: Crew) -> None:
    """The server was started anew: it knows none of the connections there were."""
    crew.presences.server = "memory-2"
    crew.presences.links.clear()


def all_cut(crew: Crew) -> None:
    """All connections were cut: whoever speaks again has only just found the way."""
    crew.presences.links.clear()
    crew.living.clear()
    crew.tick()
    crew.tick()
    crew.living.append(OTTO)


def nobody_else(crew: Crew) -> None:
    """Nobody else is heard of either: perhaps there is no way to speak."""
    crew.presences.links.discard(crew.link())
    crew.living.clear()


@pytest.mark.parametrize("fault", [stopped, stopped_then_cut, restarted, all_cut, nobody_else])
def test_no_other_fault_is_taken_for_a_death(fault: Callable[[Crew], None]) -> None:
    """Whoever may be stopped, or cut off, keeps its lease: nobody is found dead in its time."""
    crew = Crew()
    crew.fall_silent()
    fault(crew)
    for _ in range((CHANCE - 1) // RENEWAL):  # as long as the way may only just have been found
        crew.tick()
        assert not crew.found()
    if fault is not all_cut:
        for _ in range(LEASE // RENEWAL):
            crew.tick()
            assert not crew.found()


def test_a_connection_that_is_cut_is_no_death() -> None:
    """Who lives speaks again over another connection, and is never silent for long."""
    crew = Crew()
    before = crew.link()
    crew.presences.links.clear()
    for _ in range(CHANCE // RENEWAL + 2):
        crew.clock.now += RENEWAL - 1
        assert not crew.found()
        crew.clock.now -= RENEWAL - 1
        crew.tick()
    assert crew.link() != before


def test_a_silence_as_long_as_a_lease_is_the_leases_business() -> None:
    """If no sweep came for so long, an outage may have hidden those who live."""
    crew = Crew()
    crew.die()
    for _ in range(LEASE // RENEWAL + 1):
        crew.tick()
    assert not crew.found()


def test_a_process_that_ended_here_needs_no_time() -> None:
    """Who can look at the process need not wait, nor ask anybody else; but asks the server."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    crew = Crew()
    here = this_process()
    dead = Worker("Dead_3", here.place, child.pid, here.born, LEASE)
    alive = Worker("Live_4", here.place, here.pid, here.born, LEASE)
    crew.presences.announce(dead)
    crew.presences.announce(alive)
    assert not crew.found()  # its connection stands: that cannot be, so it was another process
    crew.presences.links.clear()
    assert crew.found() == [dead.id]
    crew.presences.server = "memory-2"
    assert crew.found() == [dead.id]


def test_the_dead_are_forgotten() -> None:
    """A death is remembered as long as anybody is patient; so is one that nobody could tell."""
    crew = Crew()
    crew.die()
    for _ in range(CHANCE // RENEWAL):
        crew.tick(sweeping=True)
    assert crew.presence().died
    crew.fall_silent(OTTO)
    crew.clock.now += MEMORY
    crew.sweep()
    assert [each.worker.id for each in crew.presences.known()[1]] == [ANNA.id, OTTO.id]
    crew.clock.now += 2 * LEASE + 1
    crew.sweep()
    assert crew.presences.known()[1] == []


# --- what a sweep does about it ----------------------------------------------------------------


def test_what_the_dead_held_is_taken_up() -> None:
    """Attempts of the dead are given up at once, and those of everybody else go on."""
    crew = Crew()
    crew.start()
    crew.claim()
    crew.start("order-43")
    crew.worker_id = OTTO.id
    other = crew.claim()
    assert other is not None
    crew.die()
    crew.at_work.append(other)
    for _ in range(CHANCE // RENEWAL):
        crew.tick(sweeping=True)
    assert crew.lost() == ["death"]
    assert crew.fields("err:reserve")["err:reserve"]["message"].startswith("its worker died")
    assert crew.run("order-43").step("reserve").do.state is PhaseStatus.RUNNING
    assert crew.work() == 2
    assert crew.run().status is RunStatus.COMPLETED


def test_a_deadline_is_judged_before_anything_is_tried_again() -> None:
    """A step whose worker is dead at the deadline is not tried again, however soon that is seen."""
    crew = Crew(deadline=CHANCE - RENEWAL)
    crew.start()
    crew.claim()
    crew.store._since = crew.clock.now  # it takes a while until the deadline can be judged
    crew.die()
    for _ in range(2 * LEASE // RENEWAL):
        crew.tick(sweeping=True)
    assert ["retry" in event.data for event in crew.events(EventKind.LOST)] == [False]
    assert crew.run().why == "deadline"
    assert crew.settle_down().status is RunStatus.COMPENSATED


def test_a_death_needs_no_trust_in_old_leases() -> None:
    """Where nobody could have renewed yet, a lease proves nothing; a death does."""
    crew = Crew()
    crew.start()
    crew.claim()
    crew.store._since = crew.clock.now
    crew.die()
    for _ in range(CHANCE // RENEWAL):
        crew.tick(sweeping=True)
    assert crew.lost() == ["death"]


def test_messages_in_the_hands_of_the_dead_are_sent_again() -> None:
    """With its queue empty a message that was sent before the death waits for no grace."""
    crew = Crew()
    crew.start()
    crew.post.waiting.clear()  # it was with Anna
    crew.die()
    for _ in range(CHANCE // RENEWAL):
        assert not crew.post.waiting
        crew.tick(sweeping=True)
    assert CHANCE < GRACE
    assert len(crew.post.waiting) == 1
    crew.sweep()
    assert len(crew.post.waiting) == 1  # once


def test_a_backlog_is_not_sent_again_after_a_death() -> None:
    """What waits in a queue is left there, until something that was sent later has arrived."""
    crew = Crew("reserve")
    for number in range(5):
        crew.start(f"order-{number}")
        crew.clock.now += 300
    lost = crew.post.waiting.pop(1)
    crew.die()
    for _ in range(CHANCE // RENEWAL):
        crew.tick(sweeping=True)
    assert len(crew.post.sent) == 5
    crew.worker_id = OTTO.id
    for _ in range(2):  # the first, and the one that was sent after the lost one
        attempt = crew.claim()
        assert attempt is not None
        crew.complete(attempt)
    assert AFTERMATH > RENEWAL
    crew.tick(sweeping=True)
    assert crew.post.sent[5:] == [lost]


@pytest.mark.parametrize(("after", "sent"), [(CHANCE, 1), (CHANCE + 1, 0)])
def test_what_is_sent_after_a_death_has_its_grace(after: int, sent: int) -> None:
    """Only who was never silent for so long can have had a message, or died before it was sent."""
    crew = Crew()
    crew.die()
    crew.clock.now += after
    crew.start()
    crew.post.waiting.clear()
    crew.presences.announce(OTTO)
    for _ in range(2):
        crew.sweep()
        assert crew.presence().died
    crew.clock.now += 1
    crew.sweep()
    assert len(crew.post.waiting) == sent


def test_only_so_many_are_looked_at() -> None:
    """A death beside a large backlog costs a bounded number of looks."""
    crew = Crew("reserve")
    batch = crew.engine.terms.batch
    names = [f"order-{number}" for number in range(20 * batch)]
    for name in names:
        crew.start(name)
        crew.clock.now += 1
    for worker in crew.living:
        crew.presences.announce(worker)
    crew.die()
    crew.clock.now += CHANCE
    crew.presences.announce(OTTO)
    crew.store.calls.clear()
    crew.sweep()
    assert crew.presence().died
    assert crew.store.calls.count("read") <= batch * crew.store.shards
