"""A step that an operator declares done: when that is possible, and what follows.

Owns: skip.  Refuses to know: the result that comes with it, which is a payload.
"""

from __future__ import annotations

from celeriac.machine.steps import PhaseStatus, StepStatus
from tests.machine.story import budget, refused, started, step


def test_the_run_goes_on_after_a_step_that_was_skipped() -> None:
    """Who said so and why is in the history."""
    story = started("reserve", "charge")
    done = story.skip("reserve")
    assert [d.step for d in done.dispatches] == ["charge"]
    assert story["reserve"].status is StepStatus.SKIPPED
    assert (done.events[0].data["by"], done.events[0].data["reason"]) == ("ada", "done by hand")
    story.do("charge")
    assert story.status == "completed"


def test_the_last_step_is_skipped() -> None:
    """The run is completed then."""
    story = started("reserve", "charge").do("reserve")
    story.skip("charge")
    assert story.status == "completed"


def test_a_step_that_waits_for_its_next_attempt_can_be_skipped() -> None:
    """An attempt that may have had its effect is undone all the same, if the run turns round."""
    story = started("reserve", "charge")
    story.claim("reserve")
    story.fail("reserve")
    story.skip("reserve")
    story.give_up("charge", effect=False)
    story.undo("reserve")
    assert story.status == "compensated"


def test_a_step_that_was_skipped_untouched_is_not_undone() -> None:
    """There is nothing of ours to undo."""
    story = started("reserve", "charge")
    story.skip("reserve")
    story.give_up("charge", effect=False)
    assert story.status == "compensated"
    assert story["reserve"].undo.attempt == 0


def test_a_later_step_is_skipped_beforehand() -> None:
    """It is passed over when its turn comes, and not before."""
    story = started("reserve", "charge", "ship")
    assert not story.skip("charge").dispatches
    assert story["ship"].do.state is PhaseStatus.IDLE
    story.claim("reserve")
    assert [d.step for d in story.complete("reserve").dispatches] == ["ship"]
    story.do("ship")
    assert story.status == "completed"


def test_a_join_waits_for_what_comes_before_the_step_that_was_skipped() -> None:
    """Skipping a step ahead of its turn lets nothing overtake what it would have waited for."""
    story = started(
        step("reserve"),
        step("insure", after=("reserve",)),
        step("weigh", after=("reserve",)),
        step("ship", after=("insure", "weigh")),
    )
    story.skip("insure")
    story.skip("weigh")
    assert story["ship"].do.state is PhaseStatus.IDLE
    story.claim("reserve")
    assert [d.step for d in story.complete("reserve").dispatches] == ["ship"]


def test_a_pivot_that_was_skipped_is_passed() -> None:
    """From then on the run only goes forward."""
    story = started("reserve", step("charge", pivot=True), "ship").do("reserve")
    story.skip("charge")
    with refused("past_pivot"):
        story.cancel()


def test_what_gave_up_past_the_pivot_can_be_skipped() -> None:
    """An operator did it by hand: the run goes on."""
    story = started(step("charge", pivot=True), "ship", "bill").do("charge").give_up("ship")
    assert story.status == "failed"
    story.skip("ship")
    assert story.status == "running"
    story.do("bill")
    assert story.status == "completed"


def test_the_message_of_a_skipped_step_is_refused() -> None:
    """It may be on its way already."""
    story = started("reserve", "charge")
    story.skip("reserve")
    with refused("not_due"):
        story.claim("reserve")


def test_a_late_success_changes_nothing_for_a_skipped_step() -> None:
    """Its result is the operator's; the effect is undone with the rest, if the run turns round."""
    story = started("reserve", "charge").lose("reserve")
    story.skip("reserve")
    story.complete("reserve", attempt=1)
    assert story["reserve"].do.state is PhaseStatus.SKIPPED
    story.cancel()
    story.advance(5_000).wake()
    story.undo("reserve")
    assert story.status == "compensated"


def test_a_step_with_a_result_is_not_skipped() -> None:
    """A result never changes (I15)."""
    story = started("reserve", "charge").do("reserve")
    with refused("completed", "never changes"):
        story.skip("reserve")


def test_a_step_at_work_is_not_skipped() -> None:
    """Its outcome is not known yet."""
    story = started("reserve")
    story.claim("reserve")
    with refused("at_work"):
        story.skip("reserve")


def test_a_run_that_goes_back_skips_nothing() -> None:
    """What is owed is waived."""
    story = started("reserve", "charge").do("reserve")
    story.cancel()
    with refused("turned", "waive"):
        story.skip("charge")


def test_a_run_at_rest_skips_only_what_it_waits_for() -> None:
    """Neither a completed run nor another step of one that waits for an operator."""
    done = started("reserve").do("reserve")
    with refused("at_rest"):
        done.skip("reserve")
    stuck = started(step("charge", pivot=True), "ship", "bill").do("charge").give_up("ship")
    with refused("at_rest", "not what it waits for"):
        stuck.skip("bill")


def test_a_step_that_there_is_not_is_refused() -> None:
    """With the names there are."""
    story = started("reserve")
    with refused("unknown_step", "it has: reserve"):
        story.skip("charge")


def test_a_step_that_gave_up_while_the_run_asked_is_seen_to_by_the_answer() -> None:
    """Of two steps side by side one is a question, and the other fails: the run goes back."""
    story = started(
        "order",
        step("pack", after=("order",), on_unknown="operator", retry=budget(1)),
        step("charge", after=("order",)),
    ).do("order")
    story.claim("pack")
    story.claim("charge")
    story.fail("pack", kind="timeout")
    assert story.status == "failed"
    story.fail("charge", kind="abort", effect=False)
    story.skip("pack")
    assert story.run.failed_step == "charge"
    assert story.status in ("compensating", "compensated")


def test_a_retry_given_twice_is_one_also_if_the_run_turns_round() -> None:
    """Whoever lost the reply may ask again: nothing changes, and nothing is refused."""
    story = started(
        "order",
        step("pack", after=("order",), on_unknown="operator", retry=budget(1)),
        step("charge", after=("order",)),
    ).do("order")
    story.claim("pack")
    story.claim("charge")
    story.fail("pack", kind="timeout")
    story.fail("charge", kind="abort", effect=False)
    assert story.retry("pack").events
    assert story.run.failed_step == "charge"
    assert not story.retry("pack").events
