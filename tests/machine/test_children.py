"""Children: steps whose attempts are other runs.

Owns: what a child's end leads to, and what is told to whom.  Refuses to know: who carries it
(`tests/testing/test_children.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.errors import RunConflict
from celeriac.machine import Child, Node, Parent, Plan, Undo, due, others, wake_at
from celeriac.machine.commands import Acknowledge, Cancel, Claim, Report
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from tests.machine.story import GRACE, NOON, Story, budget, refused, saga, started, step

if TYPE_CHECKING:
    from celeriac.machine import Phase
    from celeriac.machine.transitions import Transition

INNER = saga("label", saga="ship")


def child(name: str = "ship", plan: Plan = INNER, **values: Any) -> Node:
    """A step that is a run, tried once."""
    once = budget(1)
    known: dict[str, Any] = {"retry": once, "on_unknown": "operator"}
    undo = Undo(task="", wants=(), retry=once)
    return Node(
        **{"name": name, "task": "", "child": Child(plan=plan), "undo": undo, **known, **values}
    )


def begun(story: Story, phase: Phase = "do", number: int = 1, name: str = "ship") -> Story:
    """The turn of a child has come, and it was claimed."""
    holder = f"{story.run_id}.{name}" + (f"#{number}" if number > 1 else "")
    attempt = story[name].direction(phase).attempt + 1
    story.give(Claim(name, phase, attempt, holder, story.run.epoch, number))
    return story


def ended(story: Story, outcome: str, number: int = 1, **values: Any) -> Transition:
    """The newest child came to rest, and its parent is told."""
    run = f"{story.run_id}.ship" + (f"#{number}" if number > 1 else "")
    error = "" if outcome == "completed" else "RunCompensated"
    known: dict[str, Any] = {"error": error, "turned": outcome == "compensated"}
    epoch = story.run.epoch
    return story.give(Report("ship", epoch, run, RunStatus(outcome), **{**known, **values}))


def at_work(*before: str, **values: Any) -> Story:
    """A run whose child is at work."""
    return begun(started(*before, child(**values), "charge").do(*before))


# --- forward -----------------------------------------------------------------------------------


def test_a_child_is_claimed_before_it_is_started() -> None:
    """It has no lease: somebody looks after a grace whether it is there, and it says its end."""
    story = at_work()
    assert story["ship"].do.state is PhaseStatus.RUNNING
    assert (story["ship"].do.child, story["ship"].do.holder) == (1, "order-42.ship")
    assert [each.step for each in others(story.run)] == ["ship"]
    assert wake_at(story.run) == NOON + GRACE
    assert not due(story.run)


def test_no_worker_claims_a_child() -> None:
    """A message that says so was made up; and a step of a worker has no children."""
    story = started(child(), "charge")
    with refused("not_due", "no worker runs"):
        story.claim("ship")
    with refused("not_due"):
        begun(started("charge"), name="charge")


def test_a_child_that_completed_has_done_the_step() -> None:
    """Told twice is told once."""
    story = at_work()
    ended(story, "completed")
    assert story.states()["charge"] is PhaseStatus.SCHEDULED
    assert not ended(story, "completed").events
    assert story.do("charge").status == "completed"
    story.check_history()


def test_a_child_that_was_undone_has_failed_the_step() -> None:
    """There is nothing to undo of it."""
    story = at_work("reserve")
    ended(story, "compensated")
    assert story.run.failed_step == "ship"
    assert story.undo("reserve").status == "compensated"
    assert story["ship"].undo.attempt == 0


def test_nobody_reports_a_child_that_is_at_work() -> None:
    """A parent is told when its child is at rest, and not before."""
    with refused("not_due", "has not come to rest"):
        ended(at_work(), "running")


def test_a_report_is_about_the_newest_child_of_that_step() -> None:
    """One of another run, step or life changes nothing, or is refused."""
    story = at_work()
    told = Report("ship", 1, "order-42.other", RunStatus.COMPLETED)
    assert not story.give(told).events
    with refused("not_due", "is no child"):
        story.give(replace(told, step="charge"))
    with refused("stale"):
        story.give(replace(told, epoch=2))


def test_with_a_retry_policy_there_is_another_child() -> None:
    """The old one has undone itself by then; what it still says changes nothing."""
    story = at_work(retry=budget(2))
    ended(story, "compensated")
    assert story["ship"].do.state is PhaseStatus.RETRYING
    begun(story.advance(1_000), number=2)
    assert not ended(story, "compensated").events
    ended(story, "completed", number=2)
    assert story.do("charge").status == "completed"


@pytest.mark.parametrize("values", [{"retryable": False}, {"refused": "is no child"}])
def test_a_child_that_was_cancelled_or_is_none_is_not_tried_again(values: Any) -> None:
    """Whoever cancelled it meant it; an id that is taken stays taken."""
    story = at_work(retry=budget(2))
    ended(story, "compensated", **values)
    assert story.status == "compensated"


def test_past_the_pivot_a_child_is_not_tried_for_ever() -> None:
    """Unless the saga says so: it is owed, and another one is started when somebody asks."""
    story = begun(started(step("pay", pivot=True), child()).do("pay"))
    ended(story, "compensated")
    assert (story.status, story.run.owed) == ("failed", ("ship",))
    story.retry("ship")
    begun(story, number=2)
    ended(story, "completed", number=2)
    assert story.status == "completed"


# --- owed --------------------------------------------------------------------------------------


def owing(*before: str, **values: Any) -> Story:
    """A run whose child owes something, and may still go on."""
    story = at_work(*before)
    ended(story, "failed", turned=False, **values)
    return story


def test_a_child_that_owes_makes_its_parent_owe_it() -> None:
    """It rests until an operator has decided; the child may complete after all."""
    story = owing("reserve")
    assert (story.status, story.run.owed) == ("failed", ("ship",))
    ended(story, "completed")
    assert story.do("charge").status == "completed"
    story.check_history()


def test_a_child_that_owed_may_be_undone_after_all() -> None:
    """Then it has failed the step, and its parent is undone."""
    story = owing("reserve")
    ended(story, "compensated")
    begun(story, "undo")  # sticky: somebody looks, and it is undone already (I6)
    ended(story, "compensated")
    assert story.undo("reserve").status == "compensated"
    story.check_history()


def test_a_child_that_was_terminated_is_owed() -> None:
    """Nobody knows what it left; a waiver settles what cannot be undone."""
    story = at_work("reserve")
    ended(story, "terminated")
    assert (story.status, story.run.owed) == ("failed", ("ship",))
    story.cancel()
    begun(story, "undo")
    ended(story, "terminated")
    assert story.undo("reserve").run.owed == ("ship",)
    story.waive("ship")
    assert story.status == "compensated"


def test_a_child_that_could_not_be_undone_is_owed_as_an_undo() -> None:
    """The run turns round, undoes the rest, and waits for the child to be settled."""
    story = at_work("reserve")
    ended(story, "failed", turned=True)
    begun(story, "undo")
    ended(story, "failed", turned=True)
    story.undo("reserve")
    assert (story.status, story.run.owed) == ("failed", ("ship",))
    ended(story, "compensated")
    assert story.status == "compensated"
    story.check_history()


# --- back --------------------------------------------------------------------------------------


def test_a_child_at_work_is_awaited_before_anything_is_undone() -> None:
    """It is to be cancelled at once, and that is told again until it says its end (I7)."""
    story = at_work("reserve")
    done = story.cancel()
    assert [each.step for each in done.dispatches] == ["ship"]
    assert story.states("undo")["reserve"] is PhaseStatus.IDLE
    assert wake_at(story.run) is not None
    ended(story, "compensated")
    assert story.undo("reserve").status == "compensated"


@pytest.mark.parametrize("why", ["cancelled", "deadline"])
def test_a_completed_child_is_undone_in_its_turn(why: str) -> None:
    """After what came behind it, and before what came before it."""
    story = begun(started("reserve", child(), "charge", deadline=60_000).do("reserve"))
    ended(story, "completed")
    story.claim("charge")
    if why == "cancelled":
        story.cancel()
    else:
        story.advance(60_000).wake()
    story.complete("charge")
    story.undo("charge")
    begun(story, "undo")
    assert not ended(story, "completed").events, "from before it was asked to go back"
    ended(story, "compensated")
    assert story.undo("reserve").status == "compensated"
    assert story.run.why == why


def test_a_child_past_its_pivot_cannot_be_undone() -> None:
    """It says so, and is owed; a retry asks once more."""
    story = at_work()
    ended(story, "completed")
    story.cancel()
    begun(story, "undo")
    ended(story, "failed", turned=True, refused="past its pivot")
    assert story.run.owed == ("ship",)
    story.retry("ship")
    begun(story, "undo")
    assert story["ship"].undo.attempt == 2


def test_a_child_that_completes_while_its_parent_turns_round_is_undone() -> None:
    """Both orders end: it was done, and so it is undone."""
    story = at_work()
    story.cancel()
    ended(story, "completed")
    begun(story, "undo")
    ended(story, "compensated")
    assert story.status == "compensated"


# --- terminated --------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["terminated", "completed", "compensated"])
def test_a_terminated_run_stays_awake_until_its_child_is(outcome: str) -> None:
    """However the child ends: then nobody looks any more."""
    story = at_work()
    assert [each.step for each in story.terminate().dispatches] == ["ship"]
    assert story.status == "terminated"
    assert wake_at(story.run) == NOON + GRACE
    ended(story, outcome)
    assert wake_at(story.run) is None
    story.check_history()


def test_termination_reaches_a_child_that_owes_something() -> None:
    """It is at rest, and yet somebody would go on with it."""
    story = owing()
    story.terminate()
    assert not ended(story, "failed", turned=False).events
    assert [each.step for each in others(story.run)] == ["ship"]
    ended(story, "terminated")
    assert not others(story.run)


# --- the child's side --------------------------------------------------------------------------

LINK = Parent("order-7", 1, "ship")


def test_a_child_at_rest_stays_awake_until_its_parent_knows() -> None:
    """Its end is told again and again, and noted once it is known."""
    story = Story(INNER)
    story.start(parent=LINK, limit=60_000)
    assert story.run.deadline == NOON + 60_000
    done = story.do("label").give(Acknowledge(0))
    assert not done.events, "of an end that it never had"
    assert [each.step for each in due(story.run)] == [""]
    assert wake_at(story.run) == NOON + GRACE
    story.give(Acknowledge(story.run.ended_at))
    assert (wake_at(story.run), story.run.untold) == (None, False)
    assert not story.give(Acknowledge(story.run.ended_at)).events
    story.check_history()


def test_a_child_that_goes_back_says_its_end_once_more() -> None:
    """Its parent has its result, so nobody else may cancel it."""
    story = Story(INNER)
    story.start(parent=LINK)
    story.do("label")
    with refused("a_child", "cancel that run"):
        story.cancel()
    story.give(Cancel("its parent is undone", of_parent=True))
    assert not story.run.untold
    assert story.undo("label").run.untold


def test_an_id_that_is_taken_is_never_adopted() -> None:
    """Neither by a parent that it does not name, nor may it be started anew alone."""
    story = Story(INNER)
    story.start(parent=LINK)
    assert not story.start(parent=LINK, nonce="call-2", digest="other").events
    with pytest.raises(RunConflict, match="not the child of step 'ship' of run 'order-8'"):
        story.start(parent=LINK._replace(run="order-8"), nonce="call-3")
    story.do("label")
    with pytest.raises(RunConflict, match="a child of run 'order-7'"):
        story.start(nonce="call-4", if_exists="restart")


def test_what_happened_between_runs_is_in_the_history() -> None:
    """Which run an attempt was, and that the parent knows."""
    story = at_work()
    claimed = next(each for each in story.history if each.kind is EventKind.CLAIMED)
    assert (claimed.data["holder"], claimed.data["child"]) == ("order-42.ship", 1)
