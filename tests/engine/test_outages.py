"""A store that is away: nothing is lost, nothing is undone for it, and no lease is held against it.

Owns: what happens while it is away and in the seconds after (L5).  Refuses to know: single calls
that fail (`test_faults`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.errors import StoreUnavailable
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.store import Pulse
from celeriac.testing.clock import NOON
from tests.engine.driver import LEASE, Shop
from tests.machine.story import budget, saga, step

if TYPE_CHECKING:
    from celeriac.store import Change

MINUTE = 60_000


def shop() -> Shop:
    """Two steps, under a deadline of five minutes."""
    first = step("reserve", retry=budget(attempts=1))
    return Shop(saga(first, "charge", deadline=5 * MINUTE))


def go_away(at: Shop, ms: int) -> None:
    """The store is away for *ms*, and then back; nobody has noticed yet."""
    at.store.away_until = at.clock.now + ms
    while at.clock.now < at.store.away_until:
        at.clock.now += 1_000
        at.sweep()


def test_a_lease_is_not_held_against_a_worker_that_was_cut_off() -> None:
    """All leases ran out while nobody could renew: workers get the time to say they live (L5)."""
    at = shop()
    attempt = at.start_and_claim()
    go_away(at, 4 * LEASE)
    for _ in range(3):
        at.sweep()
        at.clock.now += 1_000
    assert at.run().step("reserve").do.state is PhaseStatus.RUNNING

    at.show_life(outage_ms=4 * LEASE)
    at.pass_time(2 * LEASE)
    assert at.run().step("reserve").do.state is PhaseStatus.RUNNING
    at.finish(attempt)
    assert at.settle_down().status is RunStatus.COMPLETED
    assert at.events(EventKind.LOST) == []


def test_one_worker_that_is_back_does_not_speak_for_the_others() -> None:
    """Each gets the time to renew: the first sign of life after a silence judges nobody."""
    at = Shop(saga("reserve"))
    at.start("order-1")
    at.start("order-2")
    early, late = at.next_attempt(), at.next_attempt()
    go_away(at, 4 * LEASE)
    at.at_work.remove(late)
    at.show_life(outage_ms=4 * LEASE)
    at.clock.now += LEASE // 3
    at.show_life()
    at.sweep()
    at.at_work.append(late)
    at.show_life(outage_ms=4 * LEASE)
    at.pass_time(2 * LEASE)
    for attempt in (early, late):
        assert at.run(attempt.run.id).step("reserve").do.state is PhaseStatus.RUNNING


def test_a_worker_that_died_in_the_outage_is_found_after_it() -> None:
    """Once signs of life come again, a lease that nobody renews has run out (L1)."""
    at = Shop(saga("reserve"))
    dead = at.start_and_claim()
    at.die(dead)
    go_away(at, 4 * LEASE)
    at.pass_time(LEASE)
    assert [event.attempt for event in at.events(EventKind.LOST)] == [1]
    assert at.settle_down().status is RunStatus.COMPLETED


@pytest.mark.parametrize("first", ["sweep", "worker"])
def test_an_outage_is_credited_to_the_deadline(first: str) -> None:
    """Whoever comes back first, the sweep or the worker that tells of the outage (L5)."""
    at = shop()
    attempt = at.start_and_claim()
    at.finish(attempt)
    at.post.waiting.clear()
    go_away(at, 5 * MINUTE)
    if first == "sweep":
        at.sweep()
        at.clock.now += 500
    at.show_life(outage_ms=at.clock.now - NOON)
    at.pass_time(LEASE)

    assert at.run().status is RunStatus.RUNNING
    assert at.settle_down().status is RunStatus.COMPLETED


def test_the_credit_is_used_up() -> None:
    """A deadline that passes with the outage added is a deadline all the same."""
    at = shop()
    at.start()
    at.post.waiting.clear()
    at.post.losing = True
    go_away(at, 5 * MINUTE)
    at.show_life(outage_ms=5 * MINUTE)
    at.pass_time(5 * MINUTE - LEASE)
    assert at.run().status is RunStatus.RUNNING
    at.pass_time(2 * LEASE)
    assert at.run().why == "deadline"
    assert at.run().credited == 5 * MINUTE


def test_an_outage_from_before_the_start_is_no_credit() -> None:
    """A run is credited only with the time it has itself lived through."""
    at = shop()
    go_away(at, 5 * MINUTE)
    at.show_life(outage_ms=5 * MINUTE)
    at.start()
    at.post.waiting.clear()
    at.post.losing = True
    at.pass_time(5 * MINUTE + 2_000)
    assert at.run().why == "deadline"


def test_a_limit_that_passed_in_the_outage() -> None:
    """A step that finished while the store was away may say so before it is given up."""
    at = Shop(saga(step("reserve", timeout=30_000, retry=budget(attempts=1)), "charge"))
    attempt = at.start_and_claim()
    go_away(at, 2 * MINUTE)
    at.sweep()
    at.finish(attempt)
    assert at.settle_down().status is RunStatus.COMPLETED


def test_a_result_waits_for_the_store() -> None:
    """The effect has happened: a worker insists for a minute to have it on record."""
    at = shop()
    attempt = at.start_and_claim()
    at.store.away_until = at.clock.now + 50_000
    at.finish(attempt)
    assert at.run().step("reserve").do.state is PhaseStatus.DONE
    assert at.tasks == ["reserve"]


def test_a_claim_gives_up_after_a_lease() -> None:
    """No attempt is used up, and the sweep sends the message again."""
    at = shop()
    at.start()
    at.store.away_until = at.clock.now + 2 * LEASE
    before = at.clock.now
    with pytest.raises(StoreUnavailable):
        at.claim()
    assert LEASE <= at.clock.now - before < LEASE + 1_000
    at.clock.now = at.store.away_until
    assert at.run().step("reserve").do.attempt == 0
    assert at.settle_down().status is RunStatus.COMPLETED
    assert at.tasks == ["reserve", "charge"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_claim_of_which_nobody_heard_is_kept(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store goes away as it takes a claim: whoever made it runs the step when it is back."""
    at = shop()
    at.start()
    take = at.store.commit

    def leave(change: Change) -> bool:
        monkeypatch.undo()
        if when == "after":
            take(change)
        at.store.away_until = at.clock.now + 3 * LEASE
        raise StoreUnavailable(f"connection lost {when} the call")

    monkeypatch.setattr(at.store, "commit", leave)
    attempt = at.claim()
    assert attempt is not None
    at.finish(attempt)
    assert at.settle_down().status is RunStatus.COMPLETED
    assert at.run().step("reserve").do.attempt == 1
    assert at.tasks == ["reserve", "charge"]


def test_a_start_gives_up_soon() -> None:
    """A web handler is not kept waiting for longer than two seconds, and nothing was accepted."""
    at = shop()
    at.store.away_until = at.clock.now + MINUTE
    before = at.clock.now
    with pytest.raises(StoreUnavailable):
        at.start()
    assert at.clock.now - before <= 3_000
    at.clock.now = at.store.away_until
    assert at.store.history("order-42") == []


def test_a_short_outage_is_not_noticed_by_callers() -> None:
    """A start goes through when the store is back within two seconds."""
    at = shop()
    at.store.away_until = at.clock.now + 1_500
    at.start()
    assert at.run().status is RunStatus.RUNNING


def test_without_workers_nothing_is_judged() -> None:
    """Where nobody gives a sign of life nobody could undo anything either."""
    at = shop()
    at.store._last = at.store._since = 0  # no worker was ever up
    at.start()
    at.clock.now += 6 * MINUTE
    at.sweep()
    assert at.run().status is RunStatus.RUNNING
    assert at.store.due(0, 1).pulse == Pulse(0, 0, ())

    at.pass_time(LEASE)
    assert at.run().why == "deadline"
