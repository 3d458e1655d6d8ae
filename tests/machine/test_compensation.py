"""A run on its way back: what is undone, in which order, and what happens when an undo fails.

Owns: everything between the turn and the rest.  Refuses to know: why the run turned round, and
reports that come too late.
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine.events import EventKind
from celeriac.machine.steps import PhaseStatus, StepStatus
from tests.machine.story import GRACE, NOON, Story, budget, refused, started, step

ORDERS = {
    "reverse": ["ship", "charge", "reserve"],
    "forward": ["reserve", "charge", "ship"],
}


def turned_back(**values: Any) -> Story:
    """A run of three steps, cancelled when all of them had completed."""
    story = started("reserve", "charge", "ship", **values).do("reserve", "charge", "ship")
    story.cancel()
    return story


# --- order -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_steps_are_undone_one_after_the_other(order: Any) -> None:
    """In reverse order of start, or forward if the saga says so, each after the one before."""
    story = turned_back(compensation_order=order)
    for name in ORDERS[order]:
        waiting = [n for n, state in story.states("undo").items() if state is PhaseStatus.SCHEDULED]
        assert waiting == [name]
        story.undo(name)
    assert story.status == "compensated"
    assert story.happened(EventKind.COMPLETED, "undo") == ORDERS[order]
    story.check_history()


def test_steps_may_be_undone_all_at_once() -> None:
    """With `parallel` every compensation is sent when the run turns round."""
    story = turned_back(compensation_order="parallel")
    assert set(story.states("undo").values()) == {PhaseStatus.SCHEDULED}
    story.claim("charge", "undo")
    story.undo("reserve", "ship")
    assert story.status == "compensating"
    story.complete("charge", "undo")
    assert story.status == "compensated"


def test_branches_are_undone_in_reverse_order_of_start() -> None:
    """What ran beside each other is undone one by one, the last to start first."""
    story = started("order", step("pay", after=("order",)), step("pack", after=("order",)))
    story.do("order", "pack", "pay")
    story.cancel()
    story.undo("pay", "pack", "order")
    assert story.status == "compensated"


def test_the_undo_of_a_step_waits_for_its_turn() -> None:
    """A compensation whose message overtook another does nothing yet (I8)."""
    story = turned_back()
    with refused("not_due"):
        story.claim("reserve", "undo")


# --- what is undone ----------------------------------------------------------------------------


def test_only_what_may_have_happened_is_undone() -> None:
    """Steps that never started are not undone, and those without an undo are passed over."""
    story = started("reserve", step("notify", undo=None), "charge", "ship")
    story.do("reserve", "notify", "charge")
    story.cancel()
    story.undo("charge", "reserve")

    assert story.status == "compensated"
    assert story["ship"].status is StepStatus.PENDING
    assert story["notify"].status is StepStatus.COMPLETED


def test_a_run_with_nothing_to_undo_is_compensated_at_once() -> None:
    """A run that is cancelled before anything ran comes to rest in the same transition."""
    story = started("reserve", "charge")
    story.cancel()
    assert story.kinds() == ["started", "compensation_started", "finished"]
    assert story.status == "compensated"
    assert story["reserve"].status is StepStatus.PENDING


def test_the_message_of_a_step_that_was_scheduled_finds_nothing() -> None:
    """What has not started when the run turns round never will (I8)."""
    story = started("reserve", "charge").do("reserve")
    story.cancel()
    with refused("not_due"):
        story.claim("charge")


@pytest.mark.parametrize("sent", [False, True])
def test_a_step_that_waits_for_its_retry_is_not_tried_again(sent: bool) -> None:
    """A step between two attempts is stopped, and undone if an attempt may have had an effect."""
    story = started(step("reserve", retry=budget(delay=10_000)), "charge")
    story.claim("reserve")
    story.fail("reserve")
    if sent:
        story.advance(10_000).wake()
        assert story["reserve"].do.state is PhaseStatus.SCHEDULED
    story.cancel()
    assert story["reserve"].do.state is PhaseStatus.UNKNOWN
    assert story["reserve"].undo.state is PhaseStatus.SCHEDULED
    with refused("not_due"):
        story.claim("reserve")


@pytest.mark.parametrize("sent", [False, True])
def test_a_step_whose_attempts_had_no_effect_is_left_alone(sent: bool) -> None:
    """Between two attempts that prove they did nothing there is nothing to undo."""
    story = started(step("reserve", retry=budget(delay=10_000)), "charge")
    story.claim("reserve")
    story.fail("reserve", effect=False)
    if sent:
        story.advance(10_000).wake()
    story.cancel()
    assert story["reserve"].status is StepStatus.FAILED
    assert story.status == "compensated"


# --- beside a live attempt ---------------------------------------------------------------------


def test_nothing_is_undone_beside_a_live_attempt() -> None:
    """A step that runs when its run turns round is waited for, and then undone (I7)."""
    story = started("reserve", "charge").do("reserve")
    story.claim("charge")
    story.cancel()
    assert set(story.states("undo").values()) == {PhaseStatus.IDLE}

    story.complete("charge")
    assert story.states("undo") == {"reserve": PhaseStatus.IDLE, "charge": PhaseStatus.SCHEDULED}
    story.undo("charge", "reserve")
    assert story.status == "compensated"


def test_a_live_attempt_that_fails_after_the_turn_is_not_tried_again() -> None:
    """With attempts left all the same: the run goes back now."""
    story = started("reserve")
    story.claim("reserve")
    story.cancel()
    story.fail("reserve")
    assert story["reserve"].do.state is PhaseStatus.FAILED
    story.undo("reserve")
    assert story.status == "compensated"


def test_the_undo_of_a_lost_attempt_waits_for_a_grace() -> None:
    """A request of a dead worker may still be on its way: its effect is given time to land."""
    story = started("reserve")
    story.claim("reserve")
    story.cancel()
    done = story.expire("reserve")
    assert story["reserve"].do.state is PhaseStatus.UNKNOWN, "it is not tried again"
    assert not done.dispatches
    assert done.wake_at == NOON + GRACE

    story.advance(GRACE - 1)
    assert not story.wake().events
    with refused("not_due"):
        story.claim("reserve", "undo")
    story.advance(1)
    assert [d.phase for d in story.wake().dispatches] == ["undo"]
    story.undo("reserve")
    assert story.status == "compensated"


def test_the_undo_of_a_step_that_was_cut_off_waits_too() -> None:
    """A step that reports its own timeout was stopped in the middle of something."""
    story = started(step("reserve", retry=budget(attempts=1)))
    story.claim("reserve")
    story.fail("reserve", kind="timeout")
    with refused("not_due"):
        story.claim("reserve", "undo")
    story.advance(GRACE)
    story.wake()
    story.undo("reserve")
    assert story.status == "compensated"


def test_a_grace_that_has_passed_costs_nothing() -> None:
    """A run that turns round long after an attempt was lost is undone at once."""
    story = started("reserve", "charge").lose("reserve").do("reserve")
    story.advance(GRACE).give_up("charge", effect=False)
    assert story["reserve"].undo.sent


# --- an undo that fails ------------------------------------------------------------------------


def test_an_undo_has_a_retry_policy_of_its_own() -> None:
    """A compensation that fails is tried again, under the same key, until its budget is used up."""
    story = turned_back()
    story.claim("ship", "undo")
    story.fail("ship", "undo")
    assert story["ship"].status is StepStatus.COMPENSATING
    story.undo("ship")
    assert story["ship"].undo.attempt == 2
    assert story["ship"].generation == 0


@pytest.mark.parametrize("how", ["abort", "error", "timeout", "lost"])
def test_a_failed_undo_does_not_stop_the_others(how: Any) -> None:
    """It is recorded as owed, the rest goes on, and the run rests in `failed` (promise 4)."""
    story = turned_back()
    while story["ship"].undo.state is not PhaseStatus.FAILED:
        story.claim("ship", "undo")
        if how == "lost":
            story.expire("ship", "undo")
        else:
            story.fail("ship", "undo", kind=how)
    assert story["ship"].status is StepStatus.COMPENSATION_FAILED
    assert story["ship"].undo.attempt == (1 if how == "abort" else 2)

    story.undo("charge", "reserve")
    assert story.status == "failed"
    assert story.run.owed == ("ship",)
    story.check_history()


def test_several_undos_may_be_owed() -> None:
    """Each that failed is listed, whatever became of the others."""
    story = turned_back().give_up("ship", "undo").undo("charge").give_up("reserve", "undo")
    assert story.status == "failed"
    assert story.run.owed == ("reserve", "ship")


def test_an_undo_is_claimed_and_settled_like_a_step() -> None:
    """Claims and reports of a compensation may come twice, and stale ones are refused (I11)."""
    story = turned_back()
    story.claim("ship", "undo", holder="me")
    assert not story.claim("ship", "undo", attempt=1, holder="me").events
    with refused("not_due"):
        story.claim("ship", "undo", attempt=1, holder="other")
    assert not story.heartbeat("ship", "undo").events
    story.complete("ship", "undo")
    assert not story.complete("ship", "undo").events
    with refused("completed"):
        story.claim("ship", "undo", attempt=1, holder="other")


def test_a_run_without_a_pivot_reached_is_undone_whole() -> None:
    """A pivot that has not completed stops nothing: all of it is undone."""
    story = started("reserve", step("charge", pivot=True), "ship").do("reserve")
    story.cancel()
    story.undo("reserve")
    assert story.status == "compensated"


def test_a_saga_without_any_undo_has_nothing_to_compensate() -> None:
    """It comes to rest as soon as it turns round, with its steps as they are."""
    story = started(step("notify", undo=None)).do("notify")
    story.cancel()
    assert story.status == "compensated"
    assert story["notify"].status is StepStatus.COMPLETED
