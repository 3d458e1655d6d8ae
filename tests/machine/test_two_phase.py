"""Two phases: all is prepared and then confirmed, or all is cancelled.

Owns: what is particular to a node that confirms another.  Refuses to know: how a plan is written
(`tests/authoring/test_two_phase.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.machine.commands import Complete, Skip
from celeriac.machine.conditions import past_pivot
from celeriac.machine.events import EventKind
from celeriac.machine.plans import Plan
from celeriac.machine.shown_status import shown_step
from celeriac.machine.steps import PhaseStatus, StepStatus
from celeriac.machine.visits import as_visited
from tests.machine.story import GRACE, Story, budget, refused, started, step

if TYPE_CHECKING:
    from celeriac.machine.plans import Node


def confirm(name: str, *after: str, **values: Any) -> Node:
    """What confirms a step."""
    return step(f"{name}.confirm", undo=None, confirms=name, after=after, **values)


def transfer(**values: Any) -> Story:
    """Check, then debit and credit in two phases with a step that only looks between, then tell."""
    return started(
        "check",
        step("debit", after=("check",)),
        step("look", after=("debit",)),
        step("credit", after=("look",)),
        confirm("debit", "credit"),
        confirm("credit", "debit.confirm"),
        step("tell", after=("credit.confirm",)),
        **values,
    )


def prepared() -> Story:
    """All of it is prepared."""
    return transfer().do("check", "debit", "look", "credit")


def shown(story: Story, *names: str) -> list[str]:
    """Where these steps stand, as people are shown it."""
    return [shown_step(story.plan, story.run, name).value for name in names]


def test_all_that_is_prepared_is_confirmed_in_order() -> None:
    """And then the saga goes on; a step without a confirm stands as it is."""
    story = prepared()
    assert shown(story, "debit", "look", "credit") == ["confirming", "completed", "completed"]
    with refused("not_due"):
        story.claim("credit.confirm")
    story.do("debit.confirm")
    assert shown(story, "debit", "credit") == ["confirmed", "confirming"]
    story.do("credit.confirm", "tell")
    assert story.status == "completed"
    assert shown(story, "debit", "look", "credit") == ["confirmed", "completed", "confirmed"]


def test_if_one_cannot_be_prepared_the_others_are_cancelled_in_reverse() -> None:
    """Those without a confirm too; nothing is confirmed."""
    story = transfer().do("check", "debit", "look")
    story.give_up("credit", effect=False)
    story.undo("look", "debit", "check")
    assert story.status == "compensated"
    assert story.states()["debit.confirm"] is PhaseStatus.IDLE


def test_what_may_have_been_prepared_is_cancelled_too() -> None:
    """After it must have landed: no cancel beside a prepare that may be at work."""
    story = transfer().do("check", "debit", "look")
    story.lose("credit").advance(1_000)
    story.lose("credit")
    with refused("not_due"):
        story.claim("credit", "undo")
    story.advance(GRACE).undo("credit", "look", "debit", "check")
    assert story.status == "compensated"


def test_until_all_is_prepared_the_run_can_be_cancelled() -> None:
    """The decision to confirm is the pivot, and it is made when the last one is prepared."""
    story = transfer().do("check", "debit", "look")
    story.claim("credit")
    assert not past_pivot(story.plan, story.run)
    story.cancel()
    story.complete("credit")
    story.undo("credit", "look", "debit", "check")
    assert story.status == "compensated"


@pytest.mark.parametrize("more", [(), ("debit.confirm",), ("debit.confirm", "credit.confirm")])
def test_once_it_is_decided_a_cancel_is_refused(more: tuple[str, ...]) -> None:
    """Whether a confirm is at work or not, and for ever."""
    story = prepared().do(*more)
    with refused("past_pivot", "what was prepared is confirmed"):
        story.cancel()
    assert past_pivot(story.plan, story.run)


def test_the_deadline_only_tells() -> None:
    """What is being confirmed is never undone."""
    story = transfer(deadline=20_000).do("check", "debit", "look", "credit")
    story.advance(20_000).wake()
    assert story.run.overdue
    story.do("debit.confirm", "credit.confirm", "tell")
    assert story.status == "completed"


def test_a_confirm_has_no_last_try() -> None:
    """However often it fails, times out or loses its worker."""
    story = prepared()
    for _ in range(20):
        story.claim("debit.confirm")
        story.fail("debit.confirm")
        story.advance(1_000).wake()
        story.lose("debit.confirm")
    story.do("debit.confirm", "credit.confirm", "tell")
    assert story.status == "completed"
    assert not story.happened(EventKind.CLAIMED, "undo")


def stuck() -> Story:
    """A confirm that has aborted."""
    story = prepared()
    story.give_up("debit.confirm")
    return story


def test_an_abort_in_a_confirm_is_owed() -> None:
    """Nothing turns it into a cancel."""
    story = stuck()
    assert (story.status, story.run.owed) == ("failed", ("debit.confirm",))
    assert shown(story, "debit") == ["confirm_failed"]
    with refused("past_pivot"):
        story.cancel()
    assert not story.happened(EventKind.CLAIMED, "undo")


@pytest.mark.parametrize("name", ["debit", "debit.confirm"])
def test_an_owed_confirm_is_tried_again(name: str) -> None:
    """Under the name of its step, or its own; twice is once."""
    story = stuck()
    story.retry(name)
    assert not story.retry(name).events
    story.do("debit.confirm", "credit.confirm", "tell")
    assert story.status == "completed"


@pytest.mark.parametrize("name", ["debit", "debit.confirm"])
def test_an_owed_confirm_is_waived(name: str) -> None:
    """Somebody has seen to it by hand: the run goes on with the next one."""
    story = stuck()
    story.waive(name)
    assert not story.waive(name).events
    assert shown(story, "debit", "credit") == ["waived", "confirming"]
    story.do("credit.confirm", "tell")
    assert story.status == "completed"
    story.check_history()


def test_a_confirm_that_is_not_owed_is_not_waived() -> None:
    """Nor is a step that was only prepared."""
    story = prepared()
    with refused("not_owed", "the confirm of 'debit' is not owed"):
        story.waive("debit")
    with refused("not_owed", "the compensation of 'credit'"):
        story.waive("credit")


def test_a_late_confirm_settles_what_is_owed() -> None:
    """It is the answer that an operator was asked for."""
    story = prepared()
    story.lose("debit.confirm")
    story.give_up("debit.confirm")
    story.complete("debit.confirm", attempt=1)
    story.do("credit.confirm", "tell")
    assert story.status == "completed"


def test_a_step_that_skipped_itself_did_not_join() -> None:
    """It is neither confirmed nor cancelled."""
    story = transfer().do("check")
    story.claim("debit")
    story.complete("debit", skips=True)
    story.do("look", "credit", "credit.confirm", "tell")
    assert story.status == "completed"
    assert story.states()["debit.confirm"] is PhaseStatus.SKIPPED
    assert shown(story, "debit", "credit") == ["skipped", "confirmed"]


def test_a_step_that_skipped_itself_is_not_cancelled() -> None:
    """There is nothing to cancel."""
    story = transfer().do("check")
    story.claim("debit")
    story.complete("debit", skips=True)
    story.do("look").give_up("credit", effect=False)
    story.undo("look", "check")
    assert story.status == "compensated"


def skipping(story: Story, *names: str) -> Story:
    """Steps that skip themselves."""
    for name in names:
        story.claim(name)
        story.complete(name, skips=True)
    return story


def test_if_nobody_joined_there_was_no_decision() -> None:
    """Nothing was confirmed, so what comes behind may fail, and all is undone."""
    story = skipping(transfer().do("check"), "debit").do("look")
    skipping(story, "credit")
    assert not past_pivot(story.plan, story.run)
    story.give_up("tell", effect=False)
    story.undo("look", "check")
    assert story.status == "compensated"
    story.check_history()


def test_if_nobody_joined_the_run_can_be_cancelled() -> None:
    """As before the block; one that joined is enough to decide."""
    story = skipping(transfer().do("check"), "debit").do("look")
    skipping(story, "credit").do("tell")
    story.cancel()
    story.undo("tell", "look", "check")
    assert story.status == "compensated"
    story = skipping(transfer().do("check"), "debit").do("look", "credit")
    with refused("past_pivot"):
        story.cancel()


def test_in_a_second_visit_what_is_prepared_is_not_decided_by_the_first() -> None:
    """Where nobody joined in the first visit, the second has a decision of its own."""
    a, b = step("a"), step("b", after=("a",))
    confirms = confirm("a", "b"), confirm("b", "a.confirm")
    last = step("last", after=("b.confirm",))
    nodes = [each.model_copy(update={"group": "pay"}) for each in (a, b, *confirms, last)]
    story = Story(Plan(saga="trip", nodes=tuple(nodes)))
    story.start()
    skipping(story, "a", "b").claim("last")
    story.complete("last", route="pay")
    story.do("a~2")
    assert not past_pivot(as_visited(story.plan, story.run), story.run)
    story.give_up("b~2", effect=False)
    story.undo("a~2", "last")
    assert story.status == "compensated"
    story.check_history()


def test_what_is_behind_the_block_only_goes_forward() -> None:
    """It gives up: an operator has to act, and nothing is undone."""
    story = prepared().do("debit.confirm", "credit.confirm")
    story.give_up("tell")
    assert (story.status, story.run.owed) == ("failed", ("tell",))
    story.skip("tell")
    assert story.status == "completed"


def test_a_step_before_the_block_is_not_undone_for_a_confirm() -> None:
    """Once all is prepared, what was done before stands."""
    story = stuck()
    assert story["check"].undo.state is PhaseStatus.IDLE
    assert shown_step(story.plan, story.run, "check") is StepStatus.COMPLETED


def test_a_confirm_that_is_skipped_twice_is_skipped_once() -> None:
    """Whose answer got lost asks again, by the name of the step, and is refused nothing (I11)."""
    story = prepared()
    assert story.give(Skip("debit", "done by hand")).events
    assert not story.give(Skip("debit", "done by hand")).events
    assert shown(story, "debit", "credit") == ["completed", "confirming"]


def test_a_prepare_that_an_operator_skips_did_not_join() -> None:
    """He has seen to it by hand."""
    story = transfer().do("check", "debit", "look")
    story.skip("credit")
    story.do("debit.confirm", "tell")
    assert story.status == "completed"


def test_an_unknown_confirm_of_a_step_without_keys_asks_an_operator() -> None:
    """As any step does whose `on_unknown` says so."""
    story = started(
        "debit", confirm("debit", "debit", on_unknown="operator", retry=budget(2, after_loss=False))
    )
    story.do("debit").lose("debit.confirm")
    assert (story.status, story.run.owed) == ("failed", ("debit.confirm",))
    story.waive("debit")
    assert story.status == "completed"


def test_if_a_step_inside_ends_the_run_those_that_joined_are_confirmed() -> None:
    """In order, and nothing else starts; the step that ended the run did not join itself."""
    story = started(
        "check",
        *(step(name, after=(before,)) for name, before in (("a", "check"), ("b", "a"), ("c", "b"))),
        step("d", after=("c",)),
        *(confirm("a", "d"), confirm("b", "a.confirm"), confirm("c", "b.confirm")),
        confirm("d", "c.confirm"),
        step("tell", after=("d.confirm",)),
    )
    story.do("check", "a", "b").claim("c")
    assert [d.step for d in story.complete("c", ends=True).dispatches] == ["a.confirm"]
    with refused("past_pivot"):
        story.cancel()
    with refused("not_due"):
        story.claim("d")
    story.do("a.confirm")
    story.give_up("b.confirm")
    assert (story.status, story.run.owed) == ("failed", ("b.confirm",))
    story.waive("b")
    assert story.status == "completed"
    assert shown(story, "a", "b", "c", "d", "tell") == [
        "confirmed",
        "waived",
        "completed",
        "skipped",
        "skipped",
    ]
    story.check_history()


def test_if_nobody_joined_a_run_that_was_ended_is_at_rest() -> None:
    """And can be cancelled, as any that has completed."""
    story = transfer().do("check")
    story.claim("debit")
    story.complete("debit", ends=True)
    assert story.status == "completed"
    story.cancel()
    story.undo("debit", "check")
    assert story.status == "compensated"


def test_a_waived_confirm_need_not_be_skipped() -> None:
    """It is settled; the same by another verb changes nothing."""
    story = prepared()
    story.give_up("debit.confirm")
    story.waive("debit")
    assert not story.skip("debit").events
    story.do("credit.confirm", "tell")
    assert story.status == "completed"


@pytest.mark.parametrize("answer", [{"skips": True}, {"ends": True}])
def test_what_may_have_been_prepared_is_never_left_over(answer: dict[str, Any]) -> None:
    """A step that does not join after an attempt that may have: all is cancelled."""
    story = transfer().do("check", "debit", "look")
    story.lose("credit")
    story.claim("credit")
    story.give(Complete("credit", "do", 2, story["credit"].do.holder, **answer))
    assert story.run.failed_step == "credit"
    story.advance(GRACE)
    story.undo("credit", "look", "debit", "check")
    assert story.status == "compensated"
    assert story.states()["debit.confirm"] is PhaseStatus.IDLE
    story.check_history()
