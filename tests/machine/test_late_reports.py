"""Reports that come after their attempt was given up: the hardest race.

Owns: what each of them changes, and that it is in the history.  Refuses to know: how a participant
answers (`participants`).

The file is long because each order in which two attempts can report is a story.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.machine.commands import Complete, Redispatch
from celeriac.machine.events import EventKind
from celeriac.machine.steps import PhaseStatus, StepStatus
from celeriac.machine.timing import overdue
from tests.machine.story import GRACE, budget, refused, started, step

if TYPE_CHECKING:
    from tests.machine.story import Story

ONCE = budget(attempts=1)


def given_up(*, undone: bool = False) -> Story:
    """A run whose second step was lost in its only attempt: charge is unknown, and being undone."""
    story = started("reserve", step("charge", retry=ONCE)).do("reserve").lose("charge")
    story.advance(GRACE)
    story.wake()
    if undone:
        story.undo("charge", "reserve")
        assert story.status == "compensated"
    return story


def late_events(story: Story) -> list[tuple[str, str]]:
    """The late reports in the history: what was reported, of which step."""
    late = [e for e in story.history if e.kind is EventKind.LATE]
    used = [e for e in story.history if e.kind is EventKind.COMPLETED and e.data.get("late")]
    return [(e.data["outcome"], e.step) for e in late] + [("used", e.step) for e in used]


# --- while the run still goes forward ----------------------------------------------------------


@pytest.mark.parametrize("sent_again", [False, True])
def test_a_late_success_is_used_if_nobody_holds_the_step(sent_again: bool) -> None:
    """The result of a lost attempt counts, as long as no newer attempt has the step."""
    story = started("reserve", "charge").lose("reserve")
    if sent_again:
        story.advance(GRACE)
        story.give(Redispatch(overdue(story.run, story.now)[0]))
    done = story.complete("reserve", attempt=1)

    assert story["reserve"].status is StepStatus.COMPLETED
    assert [d.step for d in done.dispatches] == ["charge"]
    with refused("not_due"):
        story.claim("reserve", attempt=2)
    story.do("charge")
    assert story.status == "completed"
    story.check_history()


def test_a_late_success_beside_a_newer_attempt_is_only_noted() -> None:
    """The newer attempt holds the step: its result stands, the zombie's is in the history (I4)."""
    story = started("reserve", "charge").lose("reserve")
    story.claim("reserve")
    story.complete("reserve", attempt=1)

    assert story["reserve"].do.state is PhaseStatus.RUNNING
    assert late_events(story) == [("completed", "reserve")]
    story.complete("reserve")
    story.do("charge")
    assert story.status == "completed"


def test_a_late_success_after_the_result_is_only_noted() -> None:
    """A recorded output never changes (I15)."""
    story = started("reserve", "charge").lose("reserve").do("reserve", "charge")
    done = story.complete("reserve", attempt=1)
    assert [event.kind for event in done.events] == [EventKind.LATE]
    assert story.status == "completed"


def test_a_late_failure_is_only_noted() -> None:
    """Its attempt was counted when it was lost; it does not use up another."""
    story = started("reserve").lose("reserve")
    story.fail("reserve", attempt=1, effect=False)
    assert story["reserve"].do.state is PhaseStatus.RETRYING
    assert story["reserve"].may_have_effect, "one attempt's word is not enough for all of them (I6)"
    assert late_events(story) == [("failed", "reserve")]


@pytest.mark.parametrize("how", ["complete", "fail"])
def test_a_late_report_twice_is_one_report(how: str) -> None:
    """Each lost attempt reports once, however often it says so (I11)."""
    story = started("reserve").lose("reserve")
    story.claim("reserve")
    getattr(story, how)("reserve", attempt=1)
    assert not getattr(story, how)("reserve", attempt=1).events
    story.complete("reserve")
    assert not getattr(story, how)("reserve", attempt=1).events


def test_a_late_success_twice_is_one_result() -> None:
    """Also where the first of both was used as the step's result."""
    story = started("reserve", "charge").lose("reserve")
    story.complete("reserve", attempt=1)
    assert not story.complete("reserve", attempt=1).events


def test_every_lost_attempt_may_report() -> None:
    """Two zombies of one step are two late reports."""
    story = started(step("reserve", retry=budget(attempts=3)), "charge")
    story.lose("reserve").lose("reserve").do("reserve")
    story.complete("reserve", attempt=1)
    story.fail("reserve", attempt=2)
    assert late_events(story) == [("completed", "reserve"), ("failed", "reserve")]


# --- while the run goes back -------------------------------------------------------------------


def test_a_late_success_before_the_undo_makes_it_sure() -> None:
    """The step is known to have completed; it is undone once, with its result at hand."""
    story = given_up()
    story.complete("charge", attempt=1)
    assert story["charge"].do.state is PhaseStatus.DONE
    assert story["charge"].generation == 0
    story.undo("charge", "reserve")
    assert story.status == "compensated"
    assert story["charge"].undo.attempt == 1


def test_a_late_success_of_a_step_that_failed_makes_it_sure() -> None:
    """Its second attempt was refused, and its first had succeeded: now that is known."""
    story = started("reserve", "charge").do("reserve").lose("charge")
    story.give_up("charge", effect=False).advance(GRACE)
    story.complete("charge", attempt=1)
    assert story["charge"].do.state is PhaseStatus.DONE
    story.wake()
    story.undo("charge", "reserve")
    assert story.status == "compensated"


@pytest.mark.parametrize("how", ["complete", "fail"])
def test_a_late_effect_during_the_undo_is_undone_again(how: str) -> None:
    """Whether the present undo saw it nobody knows: once it has settled, there is another."""
    story = given_up()
    story.claim("charge", "undo")
    getattr(story, how)("charge", attempt=1)
    assert story["charge"].generation == 1
    assert story["charge"].undo.state is PhaseStatus.RUNNING

    done = story.complete("charge", "undo")
    assert [(d.step, d.attempt) for d in done.dispatches] == [("charge", 2)]
    assert not story.complete("charge", "undo").events, "told twice, it is one undo (I11)"
    story.undo("charge", "reserve")
    assert story.status == "compensated"
    story.check_history()


@pytest.mark.parametrize("how", ["complete", "fail"])
def test_a_late_effect_after_the_undo_reopens_the_run(how: str) -> None:
    """A compensated run compensates again, under a new generation, with a budget of its own."""
    story = given_up(undone=True)
    done = getattr(story, how)("charge", attempt=1)

    assert story.status == "compensating"
    assert done.wake_at is not None
    assert story["charge"].generation == 1
    story.claim("charge", "undo")
    story.fail("charge", "undo")
    assert story["charge"].undo.state is PhaseStatus.RETRYING, "one attempt of two"
    story.undo("charge")
    assert story.status == "compensated"
    assert story["reserve"].undo.attempt == 1, "the others stay undone"
    story.check_history()


def test_a_late_failure_without_effect_reopens_nothing() -> None:
    """An attempt that proves it did nothing leaves nothing to undo."""
    story = given_up(undone=True)
    story.fail("charge", attempt=1, effect=False)
    assert story.status == "compensated"
    assert late_events(story) == [("failed", "charge")]


def test_a_late_timeout_is_given_time_to_land() -> None:
    """A zombie that was cut off may have a request on its way: the undo waits for a grace."""
    story = given_up(undone=True)
    story.fail("charge", attempt=1, kind="timeout")
    with refused("not_due"):
        story.claim("charge", "undo")
    story.advance(GRACE)
    story.wake()
    story.undo("charge")
    assert story.status == "compensated"


@pytest.mark.parametrize("sent_again", [False, True])
def test_a_late_effect_while_the_undo_waits_for_its_retry(sent_again: bool) -> None:
    """The next attempt of the undo sees it; it counts as the first of a new budget."""
    story = given_up()
    story.claim("charge", "undo")
    story.fail("charge", "undo")
    if sent_again:
        story.advance(1_000 + GRACE)
        story.give(Redispatch(overdue(story.run, story.now)[0]))
    story.complete("charge", attempt=1)
    assert story["charge"].generation == 1
    story.claim("charge", "undo")
    story.fail("charge", "undo")
    story.undo("charge", "reserve")
    assert story.status == "compensated"


def test_a_late_effect_of_a_failed_undo_stays_owed() -> None:
    """What is owed stays owed, and the operator's retry undoes the new generation."""
    story = given_up().give_up("charge", "undo").undo("reserve")
    assert story.status == "failed"
    story.complete("charge", attempt=1)
    assert story.status == "failed"
    assert story.run.owed == ("charge",)
    assert story["charge"].generation == 1
    story.retry()
    story.undo("charge")
    assert story.status == "compensated"


def test_a_late_effect_after_a_waiver_is_undone() -> None:
    """An operator settled what was known then: what comes to light later is undone."""
    story = given_up().give_up("charge", "undo").undo("reserve")
    story.waive("charge")
    assert story.status == "compensated"
    story.complete("charge", attempt=1)
    assert story.status == "compensating"
    story.undo("charge")
    assert story.status == "compensated"
    assert story["charge"].status is StepStatus.COMPENSATED


def test_a_late_effect_does_not_hide_what_others_owe() -> None:
    """A run that is reopened for one step rests in `failed` again for another."""
    story = given_up().undo("charge").give_up("reserve", "undo")
    story.complete("charge", attempt=1)
    assert story.status == "compensating"
    story.undo("charge")
    assert story.status == "failed"
    assert story.run.owed == ("reserve",)


def test_a_late_effect_of_a_step_that_was_known_reopens_a_failed_run() -> None:
    """The step had its result, was undone, and its zombie comes while something else is owed."""
    story = started("reserve", "charge").lose("reserve").do("reserve", "charge").advance(GRACE)
    story.cancel()
    story.give_up("charge", "undo").undo("reserve")
    assert story.status == "failed"
    story.complete("reserve", attempt=1)
    assert story.status == "compensating"
    story.undo("reserve")
    assert story.status == "failed"
    assert story.run.owed == ("charge",)


def test_a_late_effect_of_a_step_whose_undo_waits_for_its_turn() -> None:
    """Where no undo is at work there is nothing to do twice: the next one sees the effect."""
    story = started("reserve", "charge").lose("reserve").do("reserve", "charge").advance(GRACE)
    story.cancel()
    story.give_up("charge", "undo").give_up("reserve", "undo")
    story.retry()
    assert story["reserve"].undo.state is PhaseStatus.IDLE
    story.complete("reserve", attempt=1)
    assert story["reserve"].generation == 1
    story.undo("charge", "reserve")
    assert story.status == "compensated"


def test_two_zombies_reopen_twice() -> None:
    """Each late effect is undone under a generation of its own."""
    story = started("reserve").lose("reserve").lose("reserve").advance(GRACE)
    story.wake()
    story.undo("reserve")
    for generation in (1, 2):
        story.complete("reserve", attempt=generation)
        assert story["reserve"].generation == generation
        story.undo("reserve")
    assert story.status == "compensated"
    assert story["reserve"].undo.attempt == 3


def test_a_completed_run_that_is_cancelled_expects_its_zombie() -> None:
    """A late success after the undo of a step that had completed reopens the run too."""
    story = started("reserve").lose("reserve").do("reserve").advance(GRACE)
    story.cancel()
    story.undo("reserve")
    story.complete("reserve", attempt=1)
    assert story.status == "compensating"
    assert late_events(story) == [("completed", "reserve")]


def test_a_pivot_that_succeeds_late_does_not_stop_the_way_back() -> None:
    """Once a run goes back it goes back: late effects of its steps are undone all the same."""
    pivot = step("charge", retry=ONCE, pivot=True)
    story = started("reserve", pivot).lose("reserve").do("reserve").lose("charge").advance(GRACE)
    story.wake()
    story.complete("charge", attempt=1)
    story.undo("charge", "reserve")
    assert story.status == "compensated"

    story.complete("reserve", attempt=1)
    assert story["reserve"].generation == 1
    story.undo("reserve")
    assert story.status == "compensated"


# --- an undo that reports late -----------------------------------------------------------------


@pytest.mark.parametrize("state", ["retrying", "scheduled", "failed"])
def test_a_late_undo_is_an_undo(state: str) -> None:
    """A compensation that was given up and succeeded after all settles the step."""
    story = given_up().lose("charge", "undo")
    if state == "scheduled":
        story.advance(GRACE)
        story.give(Redispatch(overdue(story.run, story.now)[0]))
    elif state == "failed":
        story.lose("charge", "undo").undo("reserve")
        assert story.status == "failed"
    assert story["charge"].undo.state == state
    story.complete("charge", "undo", attempt=1)

    assert story["charge"].status is StepStatus.COMPENSATED
    if state != "failed":
        story.undo("reserve")
    assert story.status == "compensated"
    story.check_history()


def test_a_late_undo_beside_a_newer_attempt_is_only_noted() -> None:
    """The newer attempt has the say."""
    story = given_up().lose("charge", "undo")
    story.claim("charge", "undo")
    story.complete("charge", "undo", attempt=1)
    assert story["charge"].undo.state is PhaseStatus.RUNNING


def test_a_late_failure_of_an_undo_is_only_noted() -> None:
    """It was counted when it was lost, and an undo has no effect that could stand."""
    story = given_up().lose("charge", "undo")
    story.fail("charge", "undo", attempt=1)
    assert story["charge"].undo.state is PhaseStatus.RETRYING
    assert story["charge"].generation == 0


@pytest.mark.parametrize("order", ["lost first", "effect first"])
@pytest.mark.parametrize("last", [False, True])
def test_an_undo_from_before_a_late_effect_settles_nothing(order: str, last: bool) -> None:
    """An undo that was at work before the effect came back may not have seen it."""
    story = given_up()
    story.claim("charge", "undo")
    if order == "lost first":
        story.expire("charge", "undo")
        story.complete("charge", attempt=1)
    else:
        story.complete("charge", attempt=1)
        story.expire("charge", "undo")
    if last:
        story.lose("charge", "undo")
    story.complete("charge", "undo", attempt=1)

    assert story["charge"].undo.state is PhaseStatus.RETRYING
    story.undo("charge", "reserve")
    assert story.status == "compensated"


def test_an_undo_from_before_a_retry_settles_nothing() -> None:
    """The operator's budget is for attempts that begin after it; one more undo is no harm."""
    story = given_up().lose("charge", "undo").lose("charge", "undo").undo("reserve")
    story.retry()
    story.complete("charge", "undo", attempt=2)
    assert story["charge"].undo.state is PhaseStatus.SCHEDULED


# --- nobody is interested any more -------------------------------------------------------------


@pytest.mark.parametrize("how", ["complete", "fail"])
@pytest.mark.parametrize("lost", [False, True])
def test_a_terminated_run_only_notes_reports(how: str, lost: bool) -> None:
    """It was abandoned: nothing follows from what still arrives, but it is on record."""
    story = started("reserve", "charge")
    story.claim("reserve")
    if lost:
        story.expire("reserve")
    story.terminate()
    done = getattr(story, how)("reserve", attempt=1)

    assert [event.kind for event in done.events] == [EventKind.LATE]
    assert story.status == "terminated"
    assert done.wake_at is None
    assert not getattr(story, how)("reserve", attempt=1).events


@pytest.mark.parametrize("how", ["complete", "fail"])
@pytest.mark.parametrize("phase", ["do", "undo"])
@pytest.mark.parametrize("again", [False, True])
def test_a_run_terminated_on_its_way_back_only_notes_reports(
    how: Any, phase: Any, again: bool
) -> None:
    """Neither a late effect nor a late undo changes anything any more."""
    story = given_up().lose("charge", "undo")
    if again:
        story.undo("charge")
    story.terminate()
    states = story.states("do"), story.states("undo")
    done = getattr(story, how)("charge", phase, attempt=1)
    assert [event.kind for event in done.events] == [EventKind.LATE]
    assert (story.states("do"), story.states("undo")) == states
    assert story.status == "terminated"


@pytest.mark.parametrize("how", ["complete", "fail"])
def test_a_terminated_run_notes_its_undo(how: Any) -> None:
    """The same for a compensation that was at work when the run was abandoned."""
    story = given_up()
    story.claim("charge", "undo")
    story.terminate()
    with refused("cancelled"):
        story.heartbeat("charge", "undo")
    getattr(story, how)("charge", "undo")
    assert story.status == "terminated"
    assert story["charge"].undo.state is PhaseStatus.RUNNING


def test_a_claim_whose_reply_was_lost_is_not_granted_by_a_terminated_run() -> None:
    """Its body has not begun yet, so it need not begin at all."""
    story = started("reserve")
    story.claim("reserve", holder="me")
    story.terminate()
    with refused("not_due"):
        story.claim("reserve", attempt=1, holder="me")


def test_a_report_from_before_a_restart_is_refused() -> None:
    """It belongs to effects under other keys, of a run that is history."""
    story = given_up(undone=True)
    claims = [e for e in story.history if (e.kind, e.step) == (EventKind.CLAIMED, "charge")]
    story.start(nonce="call-2", if_exists="restart")
    with refused("stale", "restarted"):
        story.give(Complete("charge", "do", 1, claims[0].data["holder"], epoch=1))


def test_an_effect_that_comes_back_is_undone_before_what_comes_after_it() -> None:
    """The turn of a compensation is taken from it, and a message for it is refused (I8)."""
    story = started("reserve", step("charge", retry=budget(1))).do("reserve").lose("charge")
    story.advance(GRACE).wake()
    story.undo("charge")
    assert story.states("undo")["reserve"] is PhaseStatus.SCHEDULED
    done = story.complete("charge", attempt=1)
    assert [(d.step, d.phase) for d in done.dispatches] == [("charge", "undo")]
    assert story["reserve"].undo.state is PhaseStatus.IDLE
    with refused("not_due"):
        story.claim("reserve", "undo")
    story.undo("charge", "reserve")
    assert story.status == "compensated"


def test_a_retry_waits_for_an_effect_that_came_back() -> None:
    """Its attempts so far count all the same."""
    story = started("reserve", step("charge", retry=budget(1))).do("reserve").lose("charge")
    story.advance(GRACE).wake()
    story.undo("charge")
    story.claim("reserve", "undo")
    story.complete("charge", attempt=1)
    story.fail("reserve", "undo")
    assert story["reserve"].undo.state is PhaseStatus.IDLE
    story.undo("charge")
    story.give_up("reserve", "undo")
    assert (story.status, story["reserve"].undo.attempt) == ("failed", 2)
