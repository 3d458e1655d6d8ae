"""What a step may answer in place of a result, as far as the state machine decides it.

Owns: what follows from Done, and how many steps a run may start.  Refuses to know: bodies and
payloads (`tests/testing`), Skip (`test_choices`) and NotYet (`test_polling`).
"""

from __future__ import annotations

from celeriac.machine.guards import Choice, Guard
from celeriac.machine.plans import Plan
from celeriac.machine.shown_status import shown_step
from celeriac.machine.step_chains import stands_alone
from celeriac.machine.steps import StepStatus
from celeriac.machine.undoing import to_undo
from tests.machine.story import Story, refused, started, step


def ended(*names: str) -> Story:
    """A run of steps whose second ended it."""
    story = started(*names).do(names[0])
    story.claim(names[1])
    story.complete(names[1], ends=True)
    return story


# --- a step that ends the run ------------------------------------------------------------------


def test_the_run_goes_no_further() -> None:
    """What was done stands, and the rest is shown as skipped."""
    story = ended("reserve", "check", "ship")
    assert (story.status, story.run.ended_by) == ("completed", "check")
    assert shown_step(story.plan, story.run, "ship") is StepStatus.SKIPPED
    assert shown_step(story.plan, story.run, "check") is StepStatus.COMPLETED
    assert not story.complete("check", ends=True).events
    story.check_history()


def test_a_run_that_was_ended_can_be_cancelled() -> None:
    """The step that ended it is undone with the others: it may have had an effect."""
    story = ended("reserve", "check", "ship")
    story.cancel()
    story.undo("check", "reserve")
    assert story.status == "compensated"
    assert shown_step(story.plan, story.run, "ship") is StepStatus.SKIPPED
    story.check_history()


def test_a_pivot_that_was_not_reached_is_none() -> None:
    """Nothing went past it."""
    story = ended("reserve", "check", step("capture", pivot=True))  # type: ignore[arg-type]
    story.cancel()
    story.undo("check", "reserve")
    assert story.status == "compensated"


def test_past_the_pivot_what_ended_is_not_cancelled() -> None:
    """The last word was spoken before."""
    story = started(step("pay", pivot=True), "check", "ship").do("pay")
    story.claim("check")
    story.complete("check", ends=True)
    with refused("past_pivot"):
        story.cancel()


def test_a_lost_attempt_may_end_the_run_late() -> None:
    """The first result that is recorded wins."""
    story = started("check", "ship").lose("check")
    story.complete("check", attempt=1, ends=True)
    assert story.status == "completed"
    story.check_history()


def test_an_end_beside_a_newer_attempt_is_only_noted() -> None:
    """That attempt goes on, and decides."""
    story = started("check", "ship").lose("check")
    story.claim("check")
    story.complete("check", attempt=1, ends=True)
    assert (story.status, story.run.ended_by) == ("running", "")
    story.complete("check").events[0]
    story.do("ship")
    assert story.status == "completed"


def test_a_run_that_turned_round_is_not_ended() -> None:
    """The step has its effect, and is undone."""
    story = started("check", "ship")
    story.claim("check")
    story.cancel()
    story.complete("check", ends=True)
    assert (story.run.ended_by, to_undo(story.plan, story.run)) == ("", ["check"])
    story.undo("check")
    assert story.status == "compensated"
    story.check_history()


def test_what_was_unknown_before_the_end_is_undone_on_the_way_back() -> None:
    """Unknown is sticky (I6)."""
    story = started(step("check", undo=step("check").undo), "ship").lose("check")
    story.claim("check")
    story.complete("check", ends=True)
    story.cancel()
    story.advance(60_000).wake()
    story.undo("check")
    assert story.status == "compensated"


def test_who_stands_alone() -> None:
    """Neither branches nor what is beside them; of two cases, only one is done."""
    choice = Choice(labels=("yes", "no"))
    yes, no = (Guard(step="ask", among=(label,)) for label in choice.labels)
    plan = Plan(
        saga="trip",
        nodes=(
            step("ask", choice=choice),
            step("one", after=("ask",), guards=(yes,)),
            step("two", after=("ask",), guards=(no,)),
            step("left", after=("one", "two")),
            step("right", after=("one", "two")),
            step("far", after=("right",)),
            step("end", after=("left", "far")),
        ),
    )
    alone = [node.name for node in plan.nodes if stands_alone(plan, node.name)]
    assert alone == ["ask", "one", "two", "end"]


# --- how many steps a run may start ------------------------------------------------------------


def test_more_steps_than_a_run_may_start_fail_it() -> None:
    """Everything done is undone."""
    story = started("a", "b", "c", "d", max_steps=2).do("a")
    story.claim("b")
    story.complete("b")
    assert (story.run.why, story.run.failed_step) == ("failed", "c")
    assert story.history[-1].data["code"] == "max_steps", "the event says why, nobody guesses"
    story.undo("b", "a")
    assert story.status == "compensated"
    story.check_history()


def test_as_many_as_it_may_are_no_failure() -> None:
    """Retries of a step start no other."""
    story = started("a", "b", max_steps=2)
    story.claim("a")
    story.fail("a")
    story.advance(1_000).wake()
    story.do("a", "b")
    assert story.status == "completed"


def test_branches_count_each() -> None:
    """Also those that nobody has claimed yet."""
    plan = Plan(saga="trip", nodes=(step("a"), step("b"), step("c")), max_steps=2)
    story = Story(plan)
    story.start()
    assert (story.run.why, story.run.failed_step) == ("failed", "c")
    assert story.status == "compensated"


def test_past_the_pivot_it_is_owed() -> None:
    """An operator may let it go on all the same."""
    story = started(step("pay", pivot=True), "ship", "tell", max_steps=1).do("pay")
    assert (story.status, story.run.owed) == ("failed", ("ship",))
    story.retry("ship")
    assert not story.retry("ship").events
    story.claim("ship")
    story.complete("ship")
    assert (story.status, story.run.owed) == ("failed", ("tell",))
    story.retry("tell")
    story.give_up("tell")
    assert "code" not in story.history[-1].data, "it had begun"
    story.skip("tell")
    assert story.status == "completed"
    story.check_history()


def test_a_plan_of_an_earlier_version_knows_no_limit() -> None:
    """However long it is."""
    nodes = tuple(step(f"s{number}") for number in range(1_030))
    assert Plan(saga="long", nodes=nodes).most_steps == 1_030
    assert Plan(saga="long", nodes=nodes[:3]).most_steps == 1_024
