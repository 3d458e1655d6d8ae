"""A run that was undone because a step failed begins anew by itself.

Owns: when it does and when it does not, and what becomes of what an earlier try still reports.
Refuses to know: bodies, payloads and keys (`tests/testing/test_tries.py`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine.awaited import Wait
from celeriac.machine.commands import Claim, Complete, Fail, Signal
from celeriac.machine.events import EventKind
from celeriac.machine.plans import Node
from tests.machine.story import GRACE, NOON, Story, mapped, refused, started, step

DELAY = 60_000


def tried(*steps: Node | str, retries: int = 1, delay: int = DELAY, **values: Any) -> Story:
    """A run that may begin anew."""
    names = steps or ("reserve", "charge")
    return started(*names, retries=retries, retry_delay=delay, **values)


def undone(story: Story | None = None, **failure: Any) -> Story:
    """One whose first try has failed and was undone."""
    story = story or tried()
    story.do("reserve").give_up("charge", **{"effect": False, **failure})
    return story.undo("reserve")


def lost(delay: int = DELAY, retries: int = 2) -> Story:
    """One whose first try had an attempt that nobody has heard of since, in its second try."""
    story = tried("reserve", "charge", delay=delay, retries=retries)
    story.do("reserve").lose("charge").lose("charge")
    story.advance(GRACE).undo("charge", "reserve")
    if delay:
        story.advance(delay).wake()
    assert story.run.tries == 2
    return story


def report(story: Story, attempt: int = 1, epoch: int = 1, **values: Any) -> None:
    """A lost attempt at `charge` reports success after all, or failure."""
    holder = story._holders[epoch, "charge", "do", attempt]
    kind = Fail if values else Complete
    story.give(kind("charge", "do", attempt, holder, epoch, **values))


def undo_again(story: Story, epoch: int = 1) -> None:
    """Undo `charge` of an earlier try once more."""
    earlier = story.run.of_epoch(epoch)
    assert earlier is not None
    attempt = earlier.step("charge").undo.attempt + 1
    story.give(Claim("charge", "undo", attempt, "again", epoch))
    story.give(Complete("charge", "undo", attempt, "again", epoch))


# --- beginning anew ----------------------------------------------------------------------------


def test_it_begins_anew_when_its_time_comes() -> None:
    """Not before, and as if nothing had been; the history goes on."""
    story = undone()
    assert (story.status, story.run.begins_at) == ("waiting", NOON + DELAY)
    assert not story.advance(DELAY - 1).wake().events
    assert story.advance(1).wake().dispatches[0][:3] == ("reserve", "do", 1)
    assert (story.status, story.run.tries, story.run.epoch) == ("running", 2, 2)
    assert (story.run.key, story.run.why, story.run.earlier) == ("order-42~2", "", ())
    story.do("reserve", "charge")
    assert story.status == "completed"
    story.check_history()


def test_so_many_times_and_no_more() -> None:
    """The last try ends as any run does."""
    story = undone()
    story.advance(DELAY).wake()
    undone(story)
    assert (story.status, story.run.tries) == ("compensated", 2)
    story.check_history()


def test_without_a_delay_it_begins_at_once() -> None:
    """In the very transition in which the last step is undone."""
    story = undone(tried(delay=0))
    assert (story.status, story.run.tries) == ("running", 2)
    assert story["reserve"].do.state == "scheduled"
    story.check_history()


def test_nothing_to_undo_is_undone_too() -> None:
    """A first step that fails leaves nothing."""
    story = tried().give_up("reserve", effect=False)
    assert story.status == "waiting"


@pytest.mark.parametrize("delay", [0, DELAY])
def test_what_a_step_calls_final_is_the_end(delay: int) -> None:
    """Whatever tries are left."""
    assert undone(tried(delay=delay), final=True).status == "compensated"


def test_a_cancelled_run_does_not_begin_anew() -> None:
    """Cancelled at work, on its way back, or between two tries."""
    story = tried().do("reserve")
    story.cancel()
    assert story.undo("reserve").status == "compensated"

    story = tried().do("reserve").give_up("charge", effect=False)
    story.cancel()
    assert (story.run.why, story.run.failed_step) == ("cancelled", "charge")
    assert story.undo("reserve").status == "compensated"

    story = undone()
    story.cancel()
    assert story.status == "compensated"
    story.check_history()


def test_the_deadline_spans_all_tries() -> None:
    """Nothing begins that could not end, and what has begun is undone when it passes."""
    assert undone(tried(deadline=DELAY)).status == "compensated"
    story = undone(tried(deadline=DELAY + 1_000))
    story.advance(DELAY).wake()
    story.advance(1_000).wake()
    assert (story.run.why, story.status) == ("deadline", "compensated")


def test_the_deadline_passes_between_two_tries() -> None:
    """While it is held, say: then it does not begin."""
    story = undone(tried(deadline=DELAY + 1_000))
    story.advance(DELAY + 1_000).wake()
    assert (story.run.why, story.run.tries, story.status) == ("deadline", 1, "compensated")
    story.check_history()


def test_a_deadline_that_only_alerts_keeps_no_try_away() -> None:
    """It goes on, and somebody is told."""
    story = undone(tried(deadline=DELAY, on_deadline="alert"))
    story.advance(DELAY).wake()
    assert (story.run.tries, story.run.overdue) == (2, True)


def test_it_does_not_begin_while_something_is_owed() -> None:
    """An operator sees to that; then it does."""
    story = tried().do("reserve").give_up("charge", effect=False)
    story.give_up("reserve", "undo")
    assert (story.status, story.run.owed) == ("failed", ("reserve",))
    story.waive("reserve")
    assert story.status == "waiting"
    story.check_history()


def test_an_operator_lets_it_begin_at_once() -> None:
    """The same command again is no other one."""
    story = undone()
    story.retry()
    assert (story.status, story.run.tries) == ("running", 2)
    assert not story.retry().events
    with refused("nothing_to_retry"):
        story.retry("reserve")


def test_it_does_not_begin_while_it_is_held() -> None:
    """It does when it is let go on; its time does not wait."""
    story = undone()
    story.pause()
    assert not story.advance(DELAY).wake().events
    story.resume()
    story.wake()
    assert (story.status, story.run.tries) == ("running", 2)


def test_held_where_there_is_no_delay() -> None:
    """As before."""
    story = tried(delay=0).do("reserve").give_up("charge", effect=False)
    story.claim("reserve", "undo")
    story.pause()
    story.complete("reserve", "undo")
    assert (story.status, story.run.shown) == ("waiting", "paused")
    story.resume()
    story.wake()
    assert story.run.tries == 2


def test_it_can_be_abandoned_between_two_tries() -> None:
    """For good."""
    story = undone()
    story.terminate()
    assert story.status == "terminated"


def test_an_old_message_claims_nothing() -> None:
    """Not the attempt of the same number in the next try, either."""
    story = undone()
    story.advance(DELAY).wake()
    with refused("stale"):
        story.give(Claim("reserve", "do", 1, "somebody", epoch=1))
    with refused("stale"):
        story.give(Claim("reserve", "do", 1, "somebody", epoch=3))


def test_signals_are_taken_once_over_all_tries() -> None:
    """What nobody took is there for the next try; what came on the way back too."""
    wait = Node(name="approve", task="", wait=Wait(signal="approved"))
    story = tried("reserve", wait, "charge", signals={"approved": {}})
    story.give(Signal("approved", "first"))
    story.do("reserve").give_up("charge", effect=False)
    story.give(Signal("approved", "second"))
    story.undo("reserve")
    story.give(Signal("approved", "second"))
    story.advance(DELAY).wake()
    story.do("reserve")
    assert [each.taken_by for each in story.run.signals] == ["approve", "approve"]
    assert story["charge"].do.state == "scheduled"
    story.give_up("charge", effect=False).undo("reserve")
    with refused("at_rest"):
        story.give(Signal("approved", "third"))
    story.check_history()


def test_a_wait_at_the_beginning_takes_what_is_there() -> None:
    """Only time begins a try: a signal in between wakes nobody."""
    wait = Node(name="approve", task="", wait=Wait(signal="approved"))
    story = tried(wait, "charge", delay=0, signals={"approved": {}})
    story.give(Signal("approved", "first"))
    story.give(Signal("approved", "second"))
    story.give_up("charge", effect=False)
    assert (story.run.tries, story["charge"].do.state) == (2, "scheduled")
    story.check_history()


def test_maps_are_counted_anew() -> None:
    """Elements of the try before are gone."""
    story = tried(mapped("pack"), "charge")
    story.expand("pack", 2)
    story.do("pack[0]", "pack[1]").give_up("charge", effect=False).undo("pack[1]", "pack[0]")
    story.advance(DELAY).wake()
    story.expand("pack", 1)
    story.do("pack[0]", "charge")
    assert story.status == "completed"
    story.check_history()


# --- what comes late ---------------------------------------------------------------------------


def test_a_success_of_an_earlier_try_is_undone_again() -> None:
    """Beside what the run is at, which goes on."""
    story = lost().do("reserve")
    report(story)
    assert story.history[-1].kind is EventKind.REOPENED
    story.claim("charge")
    undo_again(story)
    story.complete("charge")
    assert (story.status, story["charge"].generation) == ("completed", 0)
    assert story.run.earlier[0].step("charge").generation == 1
    story.check_history()


def test_a_run_that_completed_is_at_rest_only_once_that_is_undone() -> None:
    """Its result is what it was."""
    story = lost().do("reserve", "charge")
    assert story.status == "completed"
    report(story)
    assert story.status == "running"
    undo_again(story)
    assert story.status == "completed"
    story.check_history()


def test_between_two_tries_it_is_undone_before_the_next() -> None:
    """As in any run that was undone."""
    story = tried().do("reserve").lose("charge").lose("charge")
    story.advance(GRACE).undo("charge", "reserve")
    assert story.status == "waiting"
    report(story)
    assert (story.status, story.run.begins_at) == ("compensating", 0)
    story.undo("charge")
    assert (story.status, story.run.begins_at) == ("waiting", story.now + DELAY)
    story.check_history()


def test_a_failure_of_an_earlier_try_is_noted() -> None:
    """And undone again, unless it had no effect."""
    story = lost()
    report(story, error="BankDown", effect=False)
    assert (story.history[-1].kind, story.run.still_undone) == (EventKind.LATE, ())
    report(story, 2, error="BankDown")
    assert story.run.still_undone
    undo_again(story)
    story.check_history()


def test_what_is_undone_again_and_fails_is_owed() -> None:
    """Also where the newest try has done all it had to; and it can be retried, and waived."""
    story = lost().do("reserve")
    report(story)
    for attempt in (2, 3):
        story.give(Claim("charge", "undo", attempt, "again", 1))
        story.give(Fail("charge", "undo", attempt, "again", 1, error="BankDown"))
        story.advance(1_000)
    story.do("charge")
    assert (story.status, story.run.owed) == ("failed", ("charge",))
    story.retry("charge")
    assert story.status == "running"
    story.give(Claim("charge", "undo", 4, "again", 1))
    story.give(Fail("charge", "undo", 4, "again", 1, kind="abort", error="BankDown"))
    assert story.status == "failed"
    story.waive("charge")
    assert (story.status, story.run.owed) == ("completed", ())
    story.check_history()


def test_no_new_try_while_an_earlier_one_owes() -> None:
    """What is owed of any try is owed."""
    story = lost().do("reserve")
    report(story)
    story.give(Claim("charge", "undo", 2, "again", 1))
    story.give(Fail("charge", "undo", 2, "again", 1, kind="abort", error="BankDown"))
    story.give_up("charge", effect=False).undo("reserve")
    assert story.status == "failed"
    story.retry()
    undo_again(story)
    assert story.status == "waiting"
    story.check_history()


def test_a_late_undo_of_an_earlier_try_settles_it() -> None:
    """Its worker was slow, not dead."""
    story = lost(retries=1)
    report(story)
    story.give(Claim("charge", "undo", 2, "slow", 1))
    story.give(Fail("charge", "undo", 2, "slow", 1, kind="abort", error="BankDown"))
    assert story.run.owed == ("charge",)
    story.do("reserve", "charge")
    story.retry()
    undo_again(story)
    assert story.status == "completed"


def test_an_abandoned_run_undoes_nothing_more() -> None:
    """Of any try."""
    story = lost()
    report(story)
    story.terminate()
    assert (story.status, story.run.still_undone) == ("terminated", ())
    report(story, 2)
    assert story.history[-1].kind is EventKind.LATE
    assert story.status == "terminated"
    story.check_history()


def test_past_the_pivot_it_waits_for_an_operator_all_the_same() -> None:
    """What an earlier try left is undone meanwhile, and answers nothing."""
    pay = step("charge", pivot=True, on_unknown="operator")
    story = tried("reserve", pay, "ship", retries=1)
    story.claim("reserve")
    story.expire("reserve")
    story.claim("reserve")
    story.complete("reserve")
    story.give_up("charge", effect=False)
    story.advance(GRACE).undo("reserve").advance(DELAY).wake()
    story.do("reserve").lose("charge").lose("charge")
    assert (story.status, story.run.owed) == ("failed", ("charge",))
    holder = story._holders[1, "reserve", "do", 1]
    story.give(Complete("reserve", "do", 1, holder, 1))
    assert story.status == "running"
    story.give(Claim("reserve", "undo", 2, "again", 1))
    story.give(Complete("reserve", "undo", 2, "again", 1))
    assert (story.status, story.run.owed) == ("failed", ("charge",))
    story.check_history()
