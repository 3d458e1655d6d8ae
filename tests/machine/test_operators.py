"""What people do to a run: cancel, terminate, retry, waive.

Owns: which of them is possible when, and what it leads to.  Refuses to know: who may do it.
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine.commands import Cancel, RetryOwed, Waive
from celeriac.machine.events import EventKind
from celeriac.machine.steps import PhaseStatus, StepStatus
from tests.machine.story import Story, refused, started, step


def owing(*names: str, **values: Any) -> Story:
    """A cancelled run of three steps at rest in `failed`, with the undo of *names* owed."""
    steps = ("reserve", "charge", "ship")
    story = started(*steps, **values).do(*steps)
    story.cancel()
    order = steps if values.get("compensation_order") == "forward" else reversed(steps)
    for name in order:
        if name in names:
            story.give_up(name, "undo")
        else:
            story.undo(name)
    assert story.status == "failed"
    assert set(story.run.owed) == set(names)
    return story


def stuck() -> Story:
    """A run past its pivot whose last step gave up."""
    return started(step("charge", pivot=True), "ship").do("charge").give_up("ship")


# --- cancel ------------------------------------------------------------------------------------


def test_cancel_stops_forward_work_and_undoes() -> None:
    """The reason is kept with the run, and who gave it in the history."""
    story = started("reserve", "charge").do("reserve")
    story.give(Cancel("customer called", by="ada"))
    assert (story.run.why, story.run.reason) == ("cancelled", "customer called")
    assert story.history[-1].data["by"] == "ada"
    story.undo("reserve")
    assert story.status == "compensated"


def test_cancel_undoes_a_completed_run() -> None:
    """Also long after its end."""
    story = started("reserve", "charge").do("reserve", "charge").advance(86_400_000)
    story.cancel()
    assert story.run.ended_at == 0
    story.undo("charge", "reserve")
    assert story.status == "compensated"


@pytest.mark.parametrize("status", ["compensating", "compensated", "failed"])
def test_cancel_adds_nothing_to_a_run_that_goes_back(status: str) -> None:
    """It is being undone, was, or could not be: a second cancel is no second undo (I11)."""
    if status == "failed":
        story = owing("ship")
    else:
        story = started("reserve").do("reserve")
        story.cancel()
        if status == "compensated":
            story.undo("reserve")
    assert story.status == status
    assert not story.cancel().events


def test_cancel_is_refused_past_the_pivot() -> None:
    """There is no way back, neither for a run under way nor for one that is stuck or done."""
    story = started(step("charge", pivot=True), "ship").do("charge")
    with refused("past_pivot", "'charge' it only goes forward"):
        story.cancel()
    with refused("past_pivot"):
        stuck().cancel()
    story.do("ship")
    with refused("past_pivot"):
        story.cancel()


def test_cancel_is_refused_for_a_terminated_run() -> None:
    """It was abandoned with its effects, on purpose."""
    story = started("reserve").do("reserve")
    story.start(nonce="call-2", if_exists="restart")
    story.terminate()
    with refused("at_rest"):
        story.cancel()


# --- terminate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["running", "compensating", "failed"])
def test_terminate_abandons_without_undo(when: str) -> None:
    """Whatever it was doing, nothing follows any more; twice is once."""
    story = owing("ship") if when == "failed" else started("reserve", "charge").do("reserve")
    if when == "compensating":
        story.cancel()
    assert story.status == when
    done = story.terminate("given up on it")

    assert (story.status, story.run.reason) == ("terminated", "given up on it")
    assert done.wake_at is None
    assert not story.terminate().events
    story.check_history()


def test_terminate_is_refused_for_what_has_ended_well() -> None:
    """There is nothing to abandon."""
    completed = started("reserve").do("reserve")
    with refused("at_rest"):
        completed.terminate()
    completed.cancel()
    completed.undo("reserve")
    with refused("at_rest"):
        completed.terminate()


# --- retry -------------------------------------------------------------------------------------


def test_retry_gives_what_is_owed_a_new_budget() -> None:
    """All attempts of the policy again, with numbers that go on."""
    story = owing("ship")
    done = story.retry()
    assert [(d.step, d.phase, d.attempt) for d in done.dispatches] == [("ship", "undo", 2)]
    assert story.status == "compensating"
    story.claim("ship", "undo")
    story.fail("ship", "undo")
    assert story["ship"].undo.state is PhaseStatus.RETRYING
    story.undo("ship")
    assert story.status == "compensated"
    assert story.run.owed == ()
    story.check_history()


def test_a_retry_may_fail_again() -> None:
    """What fails again is owed again, and can be retried again."""
    story = owing("ship")
    for _ in range(3):
        story.retry("ship")
        story.give_up("ship", "undo")
        assert story.run.owed == ("ship",)
    assert story["ship"].undo.attempt == 4


@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_retry_of_several_keeps_their_order(order: Any) -> None:
    """What is owed is undone in the saga's order, one by one, as it would have been (I8)."""
    story = owing("reserve", "charge", "ship", compensation_order=order)
    story.retry()
    names = ["ship", "charge", "reserve"] if order == "reverse" else ["reserve", "charge", "ship"]
    for name in names:
        waiting = [n for n, s in story.states("undo").items() if s is PhaseStatus.SCHEDULED]
        assert waiting == [name]
        story.undo(name)
    assert story.status == "compensated"


def test_retry_of_several_at_once_if_the_saga_says_so() -> None:
    """With `parallel` all of them are sent."""
    story = owing("reserve", "ship", compensation_order="parallel")
    assert sorted(d.step for d in story.retry().dispatches) == ["reserve", "ship"]


def test_retry_of_one_leaves_the_others_owed() -> None:
    """The run comes to rest again in `failed` for the rest."""
    story = owing("reserve", "ship")
    story.retry("reserve")
    assert story["ship"].status is StepStatus.COMPENSATION_FAILED
    story.undo("reserve")
    assert story.status == "failed"
    assert story.run.owed == ("ship",)


@pytest.mark.parametrize("name", [None, "ship", "reserve"])
def test_retry_twice_is_one_retry(name: str | None) -> None:
    """An operator who lost the reply may ask again, also for what waits for its turn (I11)."""
    story = owing("reserve", "ship")
    story.retry()
    assert not story.retry(name).events


def test_retry_past_the_pivot_twice_is_one_retry() -> None:
    """The step that goes on is not started a second time."""
    story = stuck()
    story.retry("ship")
    for name in ("ship", None):
        assert not story.retry(name).events
    assert story["ship"].do.attempt == 1


@pytest.mark.parametrize("when", ["running", "compensating", "completed", "compensated"])
def test_retry_is_refused_where_nothing_is_owed(when: str) -> None:
    """The error says so, and nothing happens to a run on its first way forward or back."""
    story = started("reserve", "charge").do("reserve")
    if when == "completed":
        story.do("charge")
    elif when != "running":
        story.cancel()
    if when == "compensated":
        story.undo("reserve")
    assert story.status == when
    for name in (None, "reserve"):
        with refused("nothing_to_retry"):
            story.retry(name)


def test_retry_is_refused_for_a_step_that_is_not_owed() -> None:
    """Naming the wrong step does not retry the right one."""
    story = owing("ship")
    with refused("nothing_to_retry", "nothing of reserve is owed"):
        story.retry("reserve")
    assert story.status == "failed"


def test_retry_is_refused_once_it_succeeded() -> None:
    """A run that was retried and is undone has nothing left to retry."""
    story = owing("ship")
    story.retry()
    story.undo("ship")
    with refused("nothing_to_retry"):
        story.retry()


# --- waive -------------------------------------------------------------------------------------


def test_waive_settles_what_is_owed() -> None:
    """The last one waived ends the run; the reason and who gave it are in the history."""
    story = owing("reserve", "ship")
    story.give(Waive("ship", "shipped back by hand", by="ada"))
    assert story.status == "failed"
    assert story.run.owed == ("reserve",)
    story.waive("reserve")
    assert story.status == "compensated"
    assert story["ship"].status is StepStatus.WAIVED
    waived = [e for e in story.history if e.kind is EventKind.WAIVED]
    assert waived[0].data == {"reason": "shipped back by hand", "by": "ada"}
    story.check_history()


def test_waive_twice_is_one_waiver() -> None:
    """Nothing happens to what is settled (I11)."""
    story = owing("ship")
    story.waive("ship")
    assert not story.waive("ship").events


def test_waive_while_the_others_are_undone() -> None:
    """What failed may be settled before the run has come to rest."""
    story = started("reserve", "charge").do("reserve", "charge")
    story.cancel()
    story.give_up("charge", "undo")
    story.waive("charge")
    assert story.status == "compensating"
    story.undo("reserve")
    assert story.status == "compensated"


@pytest.mark.parametrize("state", ["pending", "scheduled", "running", "retrying", "done"])
def test_waive_is_refused_where_nothing_is_owed(state: str) -> None:
    """A compensation that still has a chance, or was never needed, is not waived."""
    story = started("reserve").do("reserve")
    if state != "pending":
        story.cancel()
    if state in ("running", "retrying"):
        story.claim("reserve", "undo")
    if state == "retrying":
        story.fail("reserve", "undo")
    if state == "done":
        story.undo("reserve")
    with refused("not_owed"):
        story.waive("reserve")


def test_what_was_terminated_is_neither_waived_nor_retried() -> None:
    """What was abandoned stays abandoned, also where something was owed."""
    story = owing("ship")
    story.terminate()
    with refused("not_owed"):
        story.waive("ship")
    for name in (None, "ship"):
        with refused("at_rest"):
            story.retry(name)


def test_waive_does_not_settle_a_step_past_the_pivot() -> None:
    """It owes going forward, not an undo: retry or terminate."""
    with refused("not_owed"):
        stuck().waive("ship")


def test_an_unknown_step_is_named_with_the_known_ones() -> None:
    """A slip of the pen is answered with the steps there are."""
    story = owing("ship")
    for command in (RetryOwed("shop"), Waive("shop", "why")):
        with refused("unknown_step", "no step 'shop'; it has: reserve, charge, ship"):
            story.give(command)
