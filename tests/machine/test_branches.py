"""Steps side by side: forks, joins, branches that fail, and the way back over all of them.

Owns: what is particular to a plan that is no line (I17).  Refuses to know: how a plan is written
(`tests/authoring`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine.plans import Plan
from celeriac.machine.steps import PhaseStatus
from tests.machine.story import Story, budget, refused, saga, started, step
from tests.machine.walk import with_pivot


def trip(**values: Any) -> Story:
    """Pay, then a hotel beside a car that is insured, then a confirmation."""
    return started(
        "pay",
        step("hotel", after=("pay",)),
        step("car", after=("pay",)),
        step("insure", after=("car",)),
        step("confirm", after=("hotel", "insure")),
        **values,
    )


def test_a_fork_sends_each_branch() -> None:
    """All that became ready is in one transition."""
    story = trip()
    story.claim("pay")
    assert [d.step for d in story.complete("pay").dispatches] == ["car", "hotel"]


ORDERS = [("hotel", "car", "insure"), ("car", "hotel", "insure"), ("car", "insure", "hotel")]


@pytest.mark.parametrize("order", ORDERS)
def test_a_join_starts_once_after_all_its_branches(order: tuple[str, ...]) -> None:
    """Whoever ends first, and however often somebody looks (I17)."""
    story = trip().do("pay")
    story.do(*order[:2])
    assert story["confirm"].do.state is PhaseStatus.IDLE
    story.claim(order[2])
    assert [d.step for d in story.complete(order[2]).dispatches] == ["confirm"]
    assert not story.complete(order[2]).dispatches
    story.do("confirm")
    assert story.status == "completed"


def test_a_join_does_not_take_a_failed_attempt_for_the_end() -> None:
    """A branch that is tried again has not ended."""
    story = trip().do("pay", "car", "insure")
    story.claim("hotel")
    assert [d.step for d in story.fail("hotel").dispatches] == ["hotel"]
    assert story["confirm"].do.state is PhaseStatus.IDLE
    story.advance(1_000).wake()
    story.claim("hotel")
    assert [d.step for d in story.complete("hotel").dispatches] == ["confirm"]


def test_after_a_branch_has_failed_nothing_new_starts_in_any() -> None:
    """No next step and no next attempt; what is at work is waited for, recorded, and undone."""
    story = trip().do("pay")
    story.claim("car")
    story.give_up("hotel", effect=False)
    assert story.status == "compensating"
    with refused("stopping"):
        story.heartbeat("car")
    story.complete("car")
    with refused("not_due"):
        story.claim("insure")
    story.undo("car", "pay")
    assert story.status == "compensated"


def test_a_branch_that_fails_too_is_not_tried_again() -> None:
    """Two failures, in either order, lead to the same end."""
    ends = []
    for first, second in (("hotel", "car"), ("car", "hotel")):
        story = trip().do("pay")
        story.claim(second)
        story.give_up(first)
        story.fail(second)
        story.advance(60_000).wake()
        assert story[second].do.state is PhaseStatus.FAILED
        story.undo(first, second, "pay")  # the first one started last
        ends.append((story.status, story["insure"].do.state, story["confirm"].do.state))
    assert ends == [("compensated", PhaseStatus.IDLE, PhaseStatus.IDLE)] * 2


def test_the_way_back_is_in_reverse_order_of_start_over_all_branches() -> None:
    """Not of the plan, and not branch by branch; retries do not change it."""
    story = trip().do("pay", "car")
    story.claim("hotel")
    story.fail("hotel")
    story.do("insure")
    story.cancel()
    story.undo("insure", "hotel", "car", "pay")
    assert story.status == "compensated"


def test_in_the_order_of_the_graph_branches_are_undone_side_by_side() -> None:
    """Each step as soon as all that came after it is undone, and not before."""
    story = trip(compensation_order="graph").do("pay", "hotel", "car", "insure")
    turned = story.cancel()
    assert [d.step for d in turned.dispatches] == ["hotel", "insure"]
    with refused("not_due"):
        story.claim("car", "undo")
    story.claim("hotel", "undo")
    story.undo("insure", "car")
    with refused("not_due"):
        story.claim("pay", "undo")
    assert [d.step for d in story.complete("hotel", "undo").dispatches] == ["pay"]
    story.undo("pay")
    assert story.status == "compensated"


def test_the_order_of_the_graph_goes_through_steps_without_an_undo() -> None:
    """What lies between two steps that are undone holds their order all the same."""
    story = started("pay", step("look", undo=None), "ship", compensation_order="graph").do(
        "pay", "look", "ship"
    )
    assert [d.step for d in story.cancel().dispatches] == ["ship"]


# --- past the pivot ----------------------------------------------------------------------------


def two_owed() -> Story:
    """Two branches past the pivot, both of which have given up."""
    plan = saga(
        "pay",
        step("hotel", after=("pay",)),
        step("car", after=("pay",)),
        step("confirm", after=("hotel", "car")),
    )
    story = Story(with_pivot(plan, "pay"))
    story.start()
    story.do("pay").claim("car")
    story.give_up("hotel")
    story.fail("car", kind="abort")
    return story


def test_two_branches_that_gave_up_past_the_pivot_are_both_owed() -> None:
    """The first is what the run rests for, and neither hides the other."""
    story = two_owed()
    assert story.status == "failed"
    assert story.run.owed == ("hotel", "car")


@pytest.mark.parametrize(("first", "second"), [("hotel", "car"), ("car", "hotel")])
def test_either_can_be_retried_alone(first: str, second: str) -> None:
    """It is tried at once; the other goes on being owed, and the run rests for it in the end."""
    story = two_owed()
    assert [d.step for d in story.retry(first).dispatches] == [first]
    assert (story.status, story.run.owed) == ("running", (second,))
    story.do(first)
    assert (story.status, story.run.owed) == ("failed", (second,))
    story.skip(second)
    assert story.status == "running"
    story.do("confirm")
    assert story.status == "completed"
    story.check_history()


def test_all_that_is_owed_is_retried_together() -> None:
    """One command, as for compensations."""
    story = two_owed()
    assert [d.step for d in story.retry().dispatches] == ["car", "hotel"]
    story.do("hotel", "car", "confirm")
    assert story.status == "completed"


def test_what_is_owed_can_be_skipped_while_another_is_retried() -> None:
    """The run is under way then, and the answer counts."""
    story = two_owed()
    story.retry("car")
    story.skip("hotel")
    assert not story.run.owed
    story.do("car", "confirm")
    assert story.status == "completed"


def test_a_late_success_is_the_answer_to_either_question() -> None:
    """Also for the one that the run did not come to rest for."""
    asks: dict[str, Any] = {"on_unknown": "operator", "retry": budget(1, after_loss=False)}
    story = started(
        "pay", step("hotel", after=("pay",), **asks), step("car", after=("pay",), **asks)
    )
    story.do("pay").claim("car")
    story.claim("hotel")
    story.expire("hotel")
    story.fail("car", kind="timeout")
    assert story.run.owed == ("hotel", "car")
    story.retry("car")
    story.complete("hotel", attempt=1)
    assert not story.run.owed
    story.do("car")
    assert story.status == "completed"


def test_what_ended_while_an_operator_was_asked_is_not_forgotten() -> None:
    """What waits for it starts once the run goes on, whichever way the operator decided."""
    asks = step("pack", on_unknown="operator", retry=budget(after_loss=False))
    alone = asks.model_copy(update={"after": ()})
    plan = Plan(
        saga="trip",
        nodes=(step("reserve"), step("charge"), alone, step("ship", after=("reserve", "charge"))),
    )
    for decide in (Story.skip, Story.complete):
        story = Story(plan)
        story.start()
        for name in ("reserve", "charge", "pack"):
            story.claim(name)
        story.expire("pack")
        story.complete("charge")
        story.complete("reserve")
        assert story.status == "failed"
        assert [d.step for d in decide(story, "pack").dispatches] == ["ship"]
        story.do("ship")
        assert story.status == "completed"
