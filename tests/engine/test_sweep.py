"""The sweep over many runs: one that is broken stops no other, and what has ended is removed.

Owns: batches, shards, retention, and entries that cannot be handled.  Refuses to know: what a
single run needs (`test_losses`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine import sweep
from celeriac.engine.sweep import Sweep
from celeriac.errors import Abort, RunNotFound, StoreUnavailable
from celeriac.machine.awaited import Wait
from celeriac.machine.commands import Pause, Terminate, Waive
from celeriac.machine.events import EventKind
from celeriac.machine.plans import Node
from celeriac.machine.runs import RunStatus
from celeriac.machine.step_states import Steps
from celeriac.store import Lease
from tests.engine.driver import GRACE, RETENTION, TERMS, Shop
from tests.machine.story import saga

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.store import DueBatch

SWEEP = 1_000


def many(runs: int, **values: Any) -> Shop:
    """Runs that were started, and whose messages were all lost."""
    at = Shop(saga("reserve", "charge", **values))
    at.post.losing = True
    for number in range(runs):
        at.start(f"order-{number}")
    at.post.losing = False
    at.clock.now += GRACE
    return at


def break_plan(at: Shop) -> None:
    """The plan of a run is gone."""
    other = saga("reserve", version=2)
    at.start_with(other, "order-bad")
    at.store._plans.pop(other.fingerprint)  # as if somebody had deleted it


def break_head(at: Shop) -> None:
    """The head of a run makes no sense."""
    at.start("order-bad")
    at.store._records["order-bad"].head = "nonsense"


def break_run(at: Shop) -> None:
    """A run holds a step that its plan does not have."""
    at.start("order-bad")
    run = at.run("order-bad")
    at.store.forge(replace(run, steps=Steps({"nothing": run.steps["reserve"]})))


def break_dispatcher(at: Shop) -> None:
    """Sending the message of a run raises what nobody expected."""
    at.start("order-bad")
    at.post.chokes_on = "order-bad"


@pytest.mark.parametrize("spoil", [break_plan, break_head, break_run, break_dispatcher])
def test_a_broken_run_does_not_stop_the_others(spoil: Callable[[Shop], None]) -> None:
    """It is left for a minute, whatever is wrong with it, and all others go on."""
    at = many(0)
    at.post.losing = True
    spoil(at)
    for number in range(30):
        at.start(f"order-{number}")
    at.post.losing = False
    at.clock.now += GRACE
    at.sweep()

    assert len({m.run_id for m in at.post.waiting} - {"order-bad"}) == 30
    looked_again = at.store.wakes("order-bad")
    assert looked_again is not None
    assert looked_again > at.clock.now


def test_a_sweep_takes_all_that_is_due() -> None:
    """More than a batch, over all shards, in one go."""
    at = many(5 * TERMS.batch)
    assert at.sweep() == 5 * TERMS.batch
    assert len(at.post.waiting) == 5 * TERMS.batch
    at.settle_down_all()


def test_a_sweep_ends_in_time() -> None:
    """What is not done in its seconds is left to the next; each shard gets a batch at least."""
    at = many(5 * TERMS.batch)
    assert Sweep(at.engine, at.post).run(0.0) == at.store.shards * TERMS.batch
    at.settle_down_all()
    assert at.tasks.count("reserve") == 5 * TERMS.batch


def test_shards_take_turns() -> None:
    """A shard with much to see to keeps the sweep from no other: each batch is another shard's."""
    at = many(5 * TERMS.batch)
    Sweep(at.engine, at.post).run()
    shards = [at.store.shard_of(message.run_id) for message in at.post.sent]
    first, later = shards[: len(shards) // 2], shards[len(shards) // 2 :]
    assert set(first) == set(later) == set(range(at.store.shards))


def test_a_sweep_sends_no_more_than_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts a run does not wait behind all that came due at once; it goes on all the same.

    A batch of each shard is sent in any case, or what is due might wait for ever.
    """
    monkeypatch.setattr(sweep, "_ENOUGH", TERMS.batch)
    at = many(0)
    many_at_once(at, 5 * TERMS.batch)
    assert at.sweep() == len(at.post.waiting) <= at.store.shards * TERMS.batch
    assert len(at.post.waiting) < 5 * TERMS.batch
    while at.post.waiting:
        at.work()
        at.sweep()
    assert {at.run(f"order-{n}").status for n in range(5 * TERMS.batch)} == {RunStatus.COMPLETED}


def many_at_once(at: Shop, runs: int) -> None:
    """Runs that sleep until the same moment, which is now."""
    wait = Wait(timeout=60_000, on_timeout="continue")
    plan = saga(Node(name="nap", task="", wait=wait), "reserve")
    for number in range(runs):
        at.start_with(plan, f"order-{number}")
    at.post.waiting.clear()
    at.clock.now += 60_000
    at.show_life()


def test_runs_are_read_together() -> None:
    """A round trip reads all of a batch; one by one they would take most of a sweep."""
    at = many(0)
    many_at_once(at, 3 * TERMS.batch)
    together: list[int] = []
    read_all = at.store.read_all

    def counted(wanted: Any) -> Any:
        together.append(len(wanted))
        return read_all(wanted)

    at.store.read_all = counted  # type: ignore[assignment, method-assign]
    at.store.calls.clear()
    at.sweep()
    assert sum(together) == at.store.calls.count("read") == 3 * TERMS.batch
    assert max(together) == TERMS.batch


@pytest.mark.timeout(20)  # it would be decided again for ever
def test_a_run_that_has_moved_since_it_was_read_is_read_again() -> None:
    """What was read for all of a batch decides nothing once somebody else has committed."""
    at = many(0)
    many_at_once(at, 1)
    read_all = at.store.read_all

    def moved(wanted: Any) -> Any:
        found = read_all(wanted)
        if wanted:
            at.command(Pause("the bank is down"), "order-0")
        return found

    at.store.read_all = moved  # type: ignore[assignment, method-assign]
    assert at.sweep() == 1
    assert at.run("order-0").paused
    assert at.post.waiting == []


def test_a_sweep_with_nothing_to_do_is_cheap() -> None:
    """It asks each shard once, and reads no run."""
    at = many(0)
    at.start()
    at.settle_down()
    at.store.calls.clear()
    assert at.sweep() == 0
    assert at.store.calls == ["due"] * at.store.shards


def test_an_entry_whose_run_is_gone() -> None:
    """The wake index may hold what a restored backup has lost: it is looked at once an hour."""
    at = many(1)
    del at.store._records["order-0"]
    at.sweep()
    assert not at.post.waiting
    assert at.store.wakes("order-0") == at.clock.now + 3_600_000


def test_a_lease_without_an_attempt() -> None:
    """One that was left behind loses nothing, and is looked at once an hour."""
    at = many(0)
    at.start()
    stray = Lease("order-42", "reserve", "do", 7)
    at.store._wake[stray] = at.clock.now
    at.show_life()
    at.sweep()
    assert at.store._wake[stray] == at.clock.now + 3_600_000
    assert at.events(EventKind.LOST) == []
    assert at.fields("err:reserve") == {}, "nor is it told that anything was lost"


# --- retention ---------------------------------------------------------------------------------


def owe(at: Shop) -> None:
    """Leave an undo that failed."""

    def broken(**_: Any) -> None:
        raise Abort("closed")

    at.bodies["shop.charge"] = broken
    at.bodies["shop.undo_charge"] = broken


def test_an_ended_run_is_removed_after_its_retention() -> None:
    """With its history and its payloads, and not before (promise 7)."""
    at = many(0)
    at.start()
    at.settle_down()
    at.clock.now += RETENTION - 1
    at.sweep()
    assert at.run().status is RunStatus.COMPLETED
    at.clock.now += 1
    at.sweep()
    with pytest.raises(RunNotFound):
        at.command(Terminate("too late"))
    assert at.store.history("order-42") == []


def test_a_saga_may_have_a_retention_of_its_own() -> None:
    """What the plan says comes before the setting."""
    at = many(0, retention=1_000)
    at.start()
    at.settle_down()
    at.pass_time(2_000)
    assert at.store.history("order-42") == []


def test_what_is_owed_is_never_removed() -> None:
    """A failed run waits for an operator for ever; settled, it is kept like any other."""
    at = many(0)
    owe(at)
    at.start()
    assert at.settle_down().status is RunStatus.FAILED
    at.clock.now += 1_000 * RETENTION
    at.sweep()
    assert at.run().owed == ("charge",)

    at.command(Waive("charge", "by hand"))
    assert at.run().status is RunStatus.COMPENSATED
    at.clock.now += RETENTION
    at.sweep()
    assert at.store.history("order-42") == []


def test_a_run_that_is_undone_after_its_end_is_kept() -> None:
    """A completed run that was cancelled has its whole retention after that."""
    at = many(0)
    owe(at)
    del at.bodies["shop.charge"]
    at.start()
    at.settle_down()
    at.clock.now += RETENTION - 1
    at.cancel()
    assert at.settle_down().status is RunStatus.FAILED
    at.clock.now += 10 * RETENTION
    at.sweep()
    assert at.run().owed == ("charge",)


def test_live_state_never_expires() -> None:
    """A run that waits for years is still there."""
    at = many(0)
    at.post.losing = True
    at.start()
    at.clock.now += 10_000 * RETENTION
    at.sweep()
    assert at.run().status is RunStatus.RUNNING


def test_a_zombie_of_a_run_that_is_gone() -> None:
    """It is told so, and does not bring the run back."""
    at = many(0)
    zombie = at.start_and_claim()
    at.command(Terminate("enough"))
    at.clock.now += RETENTION
    at.sweep()
    with pytest.raises(RunNotFound):
        at.complete(zombie, "late")
    assert at.store.history("order-42") == []


def test_a_run_is_read_with_the_plan_it_was_started_with() -> None:
    """Another plan under the same name does not reach a run under way (I14)."""
    at = many(0)
    at.start()
    newer = saga("reserve", "charge", "ship", version=2)
    at.start_with(newer, "order-43")
    at.settle_down_all()
    assert at.tasks.count("charge") == 2
    assert at.tasks.count("ship") == 1
    assert at.run("order-42").plan == at.plan.fingerprint
    assert at.run("order-43").plan == newer.fingerprint


@pytest.mark.parametrize("gone", [{0}, {0, 3, 7}, set(range(8))])
def test_a_shard_that_is_away_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, gone: set[int]
) -> None:
    """Where shards are at several servers, all that can be reached are swept; then it is told."""
    at = many(20)
    at.store.apart = True
    due = at.store.due

    def reached(shard: int, limit: int) -> DueBatch:
        if shard in gone:
            raise StoreUnavailable("this shard is away")
        return due(shard, limit)

    monkeypatch.setattr(at.store, "due", reached)
    with pytest.raises(StoreUnavailable, match="this shard is away"):
        Sweep(at.engine, at.post).run()
    sent = {message.run_id for message in at.post.waiting}
    shards = {at.store.shard_of(run_id) for run_id in sent}
    assert shards == set(range(at.store.shards)) - gone
    assert at.store.last_sweep() is None, "it did not get through every shard"
    gone.clear()
    at.post.waiting.clear()  # or what was not sent would be taken for waiting behind it
    Sweep(at.engine, at.post).run()
    assert len(sent | {message.run_id for message in at.post.waiting}) == 20
    assert at.store.last_sweep() is not None
