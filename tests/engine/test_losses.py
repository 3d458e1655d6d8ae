"""Messages that get lost, doubled or late, and workers that die: the sweep repairs all of it.

Owns: each single loss and how long it costs (L1, L2, L3).  Refuses to know: a store that is away.

The file is long because each single loss is one story, told from start to end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.errors import Abort, CommandRefused
from celeriac.machine.commands import Cancel, Start
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.store import Lease
from celeriac.testing.clock import NOON
from tests.engine.driver import GRACE, LEASE, QUEUE, Shop, message
from tests.machine.story import budget, saga, step

if TYPE_CHECKING:
    from celeriac.machine import Node

SWEEP = 1_000


def shop(*nodes: Node | str, **values: Any) -> Shop:
    """A shop with a saga of these steps."""
    return Shop(saga(*(nodes or ("reserve", "charge", "ship")), **values))


def sold_out(**_: Any) -> None:
    """A body that fails for good, before it did anything."""
    raise Abort("sold out", effect=False)


# --- messages ----------------------------------------------------------------------------------


def test_a_start_whose_message_is_lost() -> None:
    """The client died between commit and publish: the sweep publishes after the grace (L2)."""
    at = shop()
    at.post.losing = True
    at.start()
    at.post.losing = False
    at.pass_time(GRACE - 1)
    assert at.work() == 0
    at.pass_time(SWEEP)
    assert at.work() == 3
    assert at.run().status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("fails", "number"),
    [*((False, number) for number in range(1, 4)), *((True, number) for number in range(1, 6))],
)
def test_any_message_may_be_lost(fails: bool, number: int) -> None:
    """Whichever it is, forward or back: sent again after the grace, and nothing runs twice (L2)."""
    at = shop()
    if fails:
        at.bodies["shop.ship"] = sold_out
    at.post.lost = {number}
    at.start()
    at.settle_down()

    assert at.tasks == ["reserve", "charge", "ship"] + ["undo_charge", "undo_reserve"] * fails
    assert len(at.post.sent) == len(at.tasks) + 1
    assert at.clock.now - NOON <= GRACE + 2 * SWEEP


def test_every_other_message_is_lost() -> None:
    """A broker that loses half of all messages only makes it slow."""
    at = shop()
    at.bodies["shop.ship"] = sold_out
    at.post.lost = range(1, 100, 2)
    at.start()
    assert at.settle_down().status is RunStatus.COMPENSATED
    assert at.tasks == ["reserve", "charge", "ship", "undo_charge", "undo_reserve"]


def test_every_message_twice() -> None:
    """The second copy of each is refused: no step and no undo runs twice (I3)."""
    at = shop()
    at.bodies["shop.ship"] = sold_out
    at.post.copies = 2
    at.start()
    assert at.settle_down().status is RunStatus.COMPENSATED
    assert at.tasks == ["reserve", "charge", "ship", "undo_charge", "undo_reserve"]
    assert at.refused.total() == 5


def test_every_message_ever_sent_arrives_again_at_the_end() -> None:
    """A queue that is restored from long ago finds a run at rest, and changes nothing."""
    at = shop()
    at.bodies["shop.ship"] = sold_out
    at.start()
    at.settle_down()
    version, ran = at.run().version, list(at.tasks)
    at.post.waiting = list(reversed(at.post.sent)) * 2
    at.work()
    assert (at.run().version, at.tasks) == (version, ran)


def test_messages_in_any_order() -> None:
    """Parallel undos are taken as they come."""
    at = shop(compensation_order="parallel")
    at.start()
    at.settle_down()
    at.cancel()
    at.post.waiting.reverse()
    arrived = [f"undo_{waiting.step}" for waiting in at.post.waiting]
    at.settle_down()
    assert at.run().status is RunStatus.COMPENSATED
    assert at.tasks[3:] == arrived


def test_a_link_that_overtakes_the_one_before_it() -> None:
    """It does nothing, and what it was for is sent when its turn comes (I8)."""
    at = shop()
    at.start()
    early = message("charge", plan=at.plan.fingerprint)
    assert at.claim(early) is None
    assert at.settle_down().status is RunStatus.COMPLETED
    assert at.tasks == ["reserve", "charge", "ship"]


def test_a_redelivered_message_heals_a_chain_that_is_late() -> None:
    """It is told that the step has its result only where the next link should have come by now."""
    at = shop()
    at.start()
    first = at.post.waiting[0]
    attempt = at.claim()
    assert attempt is not None
    at.finish(attempt)
    at.post.waiting.clear()
    assert at.claim(first) is None
    at.clock.now += GRACE
    assert at.claim(first) is None
    assert at.refused == {"superseded": 1, "completed": 1}


def test_a_lost_errback() -> None:
    """The run turned round and nobody sent the undo: the sweep does (L2)."""
    at = shop()
    at.start()
    at.bodies["shop.charge"] = sold_out
    for _ in range(2):
        attempt = at.claim()
        assert attempt is not None
        at.finish(attempt)
    at.post.waiting.clear()
    at.pass_time(GRACE + SWEEP)
    assert at.work() == 1
    assert at.run().status is RunStatus.COMPENSATED


def test_an_errback_of_a_step_that_succeeded() -> None:
    """It asks to look at the run, and there is no reason to undo anything (F1, I5)."""
    at = shop()
    attempt = at.start_and_claim()
    at.finish(attempt)
    at.post.waiting.clear()
    at.engine.dispatch_due("order-42", at.post)
    assert at.run().status is RunStatus.RUNNING
    assert [m.step for m in at.post.waiting] == ["charge"]
    assert at.settle_down().status is RunStatus.COMPLETED


def test_an_errback_judges_no_deadline() -> None:
    """It knows nothing of outages, so it leaves the deadline to the sweep (L5)."""
    at = shop(deadline=10_000)
    at.start()
    at.clock.now += 20_000
    at.engine.dispatch_due("order-42", at.post)
    assert at.run().status is RunStatus.RUNNING


# --- workers -----------------------------------------------------------------------------------


def test_a_worker_that_dies_in_a_step() -> None:
    """Its lease runs out, and another worker tries again under the same key (L1)."""
    at = shop()
    dead = at.start_and_claim()
    at.die(dead)
    at.pass_time(LEASE - SWEEP)
    assert at.work() == 0
    at.pass_time(2 * SWEEP)
    again = at.claim()
    assert again is not None
    assert (again.delivery.attempt, again.key) == (2, dead.key)
    at.finish(again)

    assert at.fields("err:reserve")["err:reserve"]["code"] == "lost"
    assert at.settle_down().status is RunStatus.COMPLETED


def test_a_child_that_dies_is_replaced_at_once() -> None:
    """Its parent lets the lease lapse, and the next sweep sends the next attempt."""
    at = shop()
    dead = at.start_and_claim()
    at.die(dead)
    d = dead.delivery
    at.store.lapse([Lease(d.run_id, d.step, d.phase, d.attempt)])
    at.sweep()
    assert at.work() == 3


def test_what_others_settle_does_not_keep_a_dead_worker_alive() -> None:
    """Each attempt has a lease of its own, also among the branches of one run."""
    order = ("order",)
    at = shop("order", step("pay", after=order), step("pack", after=order))
    at.start()
    at.finish(at.next_attempt())
    dead, busy = at.next_attempt(), at.next_attempt()
    at.die(dead)
    at.pass_time(LEASE - SWEEP)
    at.finish(busy)
    at.pass_time(3 * SWEEP)
    assert [event.step for event in at.events(EventKind.LOST)] == [dead.delivery.step]


def test_a_worker_that_lives_keeps_its_step() -> None:
    """As long as its lease is renewed, a step may take hours."""
    at = shop()
    slow = at.start_and_claim()
    at.pass_time(20 * LEASE)
    assert not at.post.waiting
    at.finish(slow)
    assert at.settle_down().status is RunStatus.COMPLETED


def test_a_zombie_comes_back() -> None:
    """The second attempt's result stands; the zombie's is in the history, and leads nowhere."""
    at = shop()
    zombie = at.start_and_claim()
    at.at_work.remove(zombie)
    at.pass_time(LEASE + SWEEP)
    second = at.claim()
    assert second is not None
    at.complete(second, {"by": "second"})
    done = at.complete(zombie, {"by": "zombie"})

    assert not done.dispatches
    assert at.fields("out:reserve") == {"out:reserve": {"by": "second"}}
    assert [e.data["outcome"] for e in at.events(EventKind.LATE)] == ["completed"]
    assert at.settle_down().status is RunStatus.COMPLETED
    assert at.tasks == ["charge", "ship"]


def test_a_zombie_that_comes_first_has_the_say() -> None:
    """While nobody holds the step, its result is as good as any other, and is what counts."""
    at = shop()
    zombie = at.start_and_claim()
    at.at_work.remove(zombie)
    at.pass_time(LEASE + SWEEP)
    at.complete(zombie, {"by": "zombie"})
    assert at.settle_down().status is RunStatus.COMPLETED
    assert at.fields("out:reserve") == {"out:reserve": {"by": "zombie"}}
    assert at.tasks == ["charge", "ship"], "the message of the second attempt did nothing"


def test_a_zombie_that_succeeds_after_the_undo() -> None:
    """Its effect is undone again, whoever brings the news (the hardest race)."""
    at = shop(step("reserve", retry=budget(attempts=1)))
    zombie = at.start_and_claim()
    at.at_work.remove(zombie)
    at.pass_time(LEASE + GRACE + 3 * SWEEP)
    assert at.settle_down().status is RunStatus.COMPENSATED

    at.complete(zombie, {"by": "zombie"})
    assert at.run().status is RunStatus.COMPENSATING
    undo = at.claim()
    assert undo is not None
    assert undo.run.step("reserve").generation == 1
    assert undo.arguments() == {"result": '{"by": "zombie"}'}
    at.finish(undo)
    assert at.run().status is RunStatus.COMPENSATED


def test_a_poison_step_ends() -> None:
    """A step that kills every worker is tried as often as its policy says, and undone (L3)."""
    at = shop("reserve", step("charge", retry=budget(attempts=3)))
    at.start()
    bodies = 0
    for _ in range(200):
        attempt = at.claim() if at.post.waiting else None
        if attempt is None:
            at.pass_time(SWEEP)
        elif attempt.delivery.step == "charge" and attempt.delivery.phase == "do":
            bodies += 1
            at.die(attempt)
        else:
            at.finish(attempt)
    assert bodies == 3
    assert at.run().status is RunStatus.COMPENSATED
    assert at.tasks == ["reserve", "undo_charge", "undo_reserve"]


def test_an_attempt_over_its_limit_is_given_up_by_the_sweep() -> None:
    """Also while its worker shows signs of life; the failure says why."""
    at = shop(step("reserve", timeout=30_000, retry=budget(attempts=1)))
    at.start_and_claim()
    at.pass_time(30_000 + GRACE + SWEEP)
    assert at.run().step("reserve").do.state is PhaseStatus.UNKNOWN
    assert at.fields("err:reserve", "cause")["cause"]["code"] == "timeout"


def test_a_deadline_is_met_by_the_sweep() -> None:
    """What was done is undone, and the cause is on record."""
    at = shop(deadline=30_000)
    attempt = at.start_and_claim()
    at.finish(attempt)
    at.post.waiting.clear()
    at.post.losing = True
    at.pass_time(31_000)
    at.post.losing = False
    assert at.settle_down().status is RunStatus.COMPENSATED
    assert at.fields("cause")["cause"]["code"] == "deadline"
    assert at.tasks == ["reserve", "undo_reserve"]


# --- two causes at once ------------------------------------------------------------------------


def test_a_cancel_while_a_step_is_at_work() -> None:
    """Its success is recorded against the run as it is now, and then undone."""
    at = shop()
    attempt = at.start_and_claim()
    at.cancel()
    done = at.finish(attempt)
    assert [(d.step, d.phase) for d in done.dispatches] == [("reserve", "undo")]
    assert at.settle_down().status is RunStatus.COMPENSATED


def test_messages_from_before_a_restart_are_refused() -> None:
    """They name another epoch: the new run waits for its own."""
    at = shop()
    at.start()
    old = at.post.waiting.pop()
    at.engine.command("order-42", Cancel())
    start = Start("order-42", "{}", "call-2", GRACE, if_exists="restart")
    at.engine.start(at.plan, start, {})
    assert at.claim(old) is None
    assert at.refused == {"stale": 1}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"run_id": "nobody"}, "no run"),
        ({"step": "nothing"}, "stale"),
        ({"attempt": 7}, "stale"),
        ({"epoch": 7}, "stale"),
        ({"phase": "undo"}, "not_due"),
    ],
)
def test_a_forged_message_takes_nothing(values: dict[str, Any], why: str) -> None:
    """Whatever a message says, the state decides; the real one is still good (X1)."""
    at = shop()
    at.start()
    version = at.run().version
    real = at.post.waiting[0]
    assert at.claim(real._replace(**values)) is None
    assert at.refused == {why: 1}
    assert at.run().version == version
    assert at.settle_down().status is RunStatus.COMPLETED


def test_a_message_for_another_plan_takes_nothing() -> None:
    """A run follows the plan it started with, whichever a message names (I14)."""
    at = shop()
    at.start()
    newer = saga("reserve", version=2)
    at.start_with(newer, "order-43")
    assert at.claim(at.post.waiting[0]._replace(plan=newer.fingerprint)) is None
    assert at.refused == {"stale": 1}


def test_a_message_for_another_task_takes_nothing() -> None:
    """A header that was put on the message of another task does not run that task (X1)."""
    at = shop()
    at.start()
    with pytest.raises(CommandRefused, match="is not the task of 'reserve'"):
        at.engine.claim(at.post.waiting[0], "worker", QUEUE, task="shop.ship")
