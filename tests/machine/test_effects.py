"""What a step says of its participant, and what follows from it when an outcome is unknown.

Owns: effects behind a barrier, and steps that ask an operator.  Refuses to know: how a participant
keeps its promise.
"""

from __future__ import annotations

from typing import Any

from celeriac.machine.commands import Cancel
from celeriac.machine.steps import PhaseStatus, StepStatus
from tests.machine.story import Story, budget, refused, started, step

#: A step that honours no key: what is unknown of it is for an operator to find out.
ASKS: dict[str, Any] = {
    "effect": "none",
    "on_unknown": "operator",
    "retry": budget(after_loss=False),
}


def asking(*following: str) -> Story:
    """A run whose second step honours no key, and was lost."""
    story = started("reserve", step("notify", **ASKS), *following)
    return story.do("reserve").lose("notify")


# --- none --------------------------------------------------------------------------------------


def test_an_unknown_outcome_is_an_operators_business() -> None:
    """The step is neither done again nor undone by itself; the run waits, and says for what."""
    story = asking()
    assert story.status == "failed"
    assert story.run.owed == ("notify",)
    assert story["notify"].status is StepStatus.UNKNOWN
    assert story.history[-1].data["why"] == "unknown"


def test_a_time_out_is_an_unknown_outcome() -> None:
    """Reported by the step itself."""
    story = started(step("notify", **ASKS))
    story.claim("notify")
    story.fail("notify", kind="timeout")
    assert (story.status, story.run.owed) == ("failed", ("notify",))


def test_an_error_is_no_unknown_outcome() -> None:
    """What the step itself says of its failure is tried again, as its policy wants."""
    story = started(step("notify", **ASKS))
    story.claim("notify")
    story.fail("notify")
    assert story["notify"].do.state is PhaseStatus.RETRYING
    story.give_up("notify", effect=False)
    story.undo("notify")
    assert story.status == "compensated"


def test_the_operator_has_it_done_again() -> None:
    """With a new budget."""
    story = asking("ship")
    assert [d.step for d in story.retry("notify").dispatches] == ["notify"]
    story.do("notify", "ship")
    assert story.status == "completed"


def test_the_operator_says_that_it_was_done() -> None:
    """The run goes on; a later failure undoes it, since it may have had its effect."""
    story = asking("ship")
    story.skip("notify")
    story.give_up("ship", effect=False)
    story.advance(5_000).wake()
    story.undo("notify", "reserve")
    assert story.status == "compensated"


def test_the_operator_has_all_of_it_undone() -> None:
    """The step that nobody knows of too, if it has a compensation."""
    story = asking("ship")
    story.give(Cancel("too late now", by="ada"))
    story.advance(5_000).wake()
    story.undo("notify", "reserve")
    assert story.status == "compensated"


def test_there_is_nothing_to_waive() -> None:
    """No compensation is owed."""
    with refused("not_owed"):
        asking().waive("notify")


def test_a_late_success_is_the_answer() -> None:
    """The attempt that was given up reports after all: the run goes on by itself."""
    story = asking("ship")
    done = story.complete("notify", attempt=1)
    assert [d.step for d in done.dispatches] == ["ship"]
    story.do("ship")
    assert story.status == "completed"


def test_a_late_failure_leaves_it_to_the_operator() -> None:
    """It is in the history."""
    story = asking()
    story.fail("notify", attempt=1)
    assert story.status == "failed"
    assert story.history[-1].data["outcome"] == "failed"


def test_the_wait_for_an_operator_does_not_count_for_the_deadline() -> None:
    """A run that goes on after a night has what was left of its minute."""
    story = started("reserve", step("notify", **ASKS), "ship", deadline=60_000)
    story.do("reserve").lose("notify").advance(36_000_000)
    story.skip("notify")
    story.advance(59_000).wake()
    assert story.status == "running"


def test_past_the_pivot_it_is_done_again() -> None:
    """By somebody who knows: also where the run only goes forward, an operator is asked."""
    story = started(step("charge", pivot=True), step("notify", **ASKS)).do("charge")
    story.lose("notify")
    assert story.status == "failed"
    story.skip("notify")
    assert story.status == "completed"


# --- barrier -----------------------------------------------------------------------------------


def test_behind_a_barrier_nobody_waits_for_a_late_effect() -> None:
    """What was undone can take no effect any more, so that it is undone at once."""
    story = started("reserve", step("charge", effect="barrier", retry=budget(1))).do("reserve")
    story.lose("charge")
    story.undo("charge", "reserve")
    assert story.status == "compensated"


def test_a_step_with_keys_beside_it_is_waited_for() -> None:
    """Each step says for itself what its participant can do."""
    story = started("reserve", step("charge", retry=budget(1))).do("reserve").lose("charge")
    with refused("not_due"):
        story.claim("charge", "undo")
