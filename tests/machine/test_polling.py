"""Steps and undos that cannot say yet: asked again, each with one event, until they give up.

Owns: what follows from NotYet, alone and side by side.  Refuses to know: bodies
(`tests/testing/test_answers.py`), and the other answers (`test_answers`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.machine.plans import Plan, Undo
from celeriac.machine.postponing import LONGEST_UNDO
from celeriac.machine.steps import PhaseStatus, StepStatus
from celeriac.machine.undoing import to_undo
from celeriac.store.codec import dump_run
from tests.machine.story import GRACE, Story, budget, refused, started, step


def test_a_step_is_asked_again() -> None:
    """When it said, under the next number; that is no failure."""
    story = started("poll", "ship")
    done = story.postpone("poll")
    assert [e.kind for e in done.events] == ["postponed"]
    assert (done.wake_at, done.dispatches) == (story.now + 30_000, ())
    assert story["poll"].status is StepStatus.WAITING
    with refused("not_due"):
        story.claim("poll")
    story.advance(30_000)
    assert [d.attempt for d in story.wake().dispatches] == [2]
    story.do("poll", "ship")
    assert story.status == "completed"
    story.check_history()


def test_soon_means_a_message_at_once() -> None:
    """As with a retry."""
    assert [d.attempt for d in started("poll").postpone("poll", 1_000).dispatches] == [2]


def test_a_thousand_times_is_no_failure_and_one_event() -> None:
    """With a single attempt: history and state stay small."""
    story = started(step("poll", retry=budget(1)), "ship")
    heads = []
    for _ in range(1_000):
        story.postpone("poll")
        heads.append(len(dump_run(story.run)))
        story.advance(30_000).wake()
    assert [e.kind for e in story.history] == ["started", "claimed", "postponed", "dispatched"]
    told = story.history[2]
    assert (told.attempt, told.data["count"]) == (1_000, 1_000)
    assert heads[-1] < heads[1] + 30
    story.check_history()
    story.give_up("poll", effect=False)
    assert story.run.failed_step == "poll"
    story.check_history()


def test_what_happens_in_between_begins_another_event() -> None:
    """Nothing that an operator did is dropped."""
    story = started("poll")
    story.postpone("poll")
    story.advance(30_000)
    story.pause()
    story.resume()
    story.wake()
    for _ in range(3):
        story.postpone("poll")
        story.advance(30_000).wake()
    kinds = [event.kind.value for event in story.history if event.kind != "dispatched"]
    assert kinds == ["started", "claimed", "postponed", "paused", "resumed", "claimed", "postponed"]
    story.check_history()


def test_two_that_wait_side_by_side() -> None:
    """Neither drops what the other did."""
    story = Story(Plan(saga="trip", nodes=(step("left"), step("right"))))
    story.start()
    for _ in range(3):
        story.postpone("left")
        story.postpone("right")
        story.advance(30_000).wake()
    story.do("left", "right")
    assert story.status == "completed"
    story.check_history()


def beside(**values: Any) -> Story:
    """A run of two steps that poll side by side, and of one that does not."""
    nodes = [step(name, retry=budget(1), **values) for name in ("left", "right", "other")]
    story = Story(Plan(saga="trip", nodes=tuple(nodes)))
    story.start()
    return story


def test_each_of_two_side_by_side_has_one_event() -> None:
    """Whichever is asked more often: history and state stay small, and each has its own count."""
    story, heads = beside(), list[int]()
    for number in range(150):
        story.postpone("left")
        if number % 3:
            story.postpone("right")
        heads.append(len(dump_run(story.run)))
        story.advance(30_000).wake()
    told = {e.step: (e.attempt, e.data["count"]) for e in story.history if e.kind == "postponed"}
    assert told == {"left": (150, 150), "right": (100, 100)}
    assert len(story.history) == len(["started", *["claimed", "postponed", "dispatched"] * 2])
    assert heads[-1] < heads[2] + 60
    story.check_history()
    story.do("left", "other", "right")
    assert story.status == "completed"
    story.check_history()


def test_one_of_two_gives_up_at_its_own_time() -> None:
    """Counted from its own first claim, whatever the other does."""
    story = beside(give_up_after=100_000)
    story.postpone("left")
    story.advance(30_000).wake()
    for _ in range(2):
        story.postpone("left")
        story.postpone("right")
        story.advance(30_000).wake()
    story.postpone("right")
    story.claim("left")
    assert story.fail("left", kind="postpone", delay=30_000).events[0].kind == "failed"
    assert (story.run.why, story.run.failed_step) == ("failed", "left")
    story.check_history()


def test_what_others_go_through_in_between_stays() -> None:
    """It is told where it happened, and ends no series."""
    story = beside()
    for number in range(6):
        story.postpone("left")
        if number == 2:
            story.claim("other")
        elif number == 4:
            story.complete("other")
        story.advance(30_000).wake()
    kinds = [f"{event.kind} {event.step}" for event in story.history if event.kind != "dispatched"]
    others = ["claimed other", "completed other"]
    assert kinds == ["started ", "claimed left", *others, "postponed left"]
    assert [event.data.get("count") for event in story.history if event.kind == "postponed"] == [6]
    story.check_history()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_happens_beside_it(data: st.DataObject) -> None:
    """What is left of the history makes the run, and tells how often each was asked (I9)."""
    story, asked = beside(), Counter[str]()
    names = ("left", "right", "other")
    for _ in range(data.draw(st.integers(1, 25))):
        if story.status != "running":
            break
        name = data.draw(st.sampled_from(names))
        what = data.draw(st.sampled_from(["ask"] * 6 + ["time", "pause", "lose", "do"]))
        if what == "pause":
            story.pause()
            story.advance(500)
            story.resume()
        elif what == "time":
            story.advance(30_000).wake()
        elif story[name].do.state.claimable and story[name].do.at <= story.now:
            asked[name] += what == "ask"
            acts: dict[str, Any] = {"ask": story.postpone, "lose": story.lose, "do": story.do}
            acts[what](name)
        story.check_history()
    told = Counter[str]()
    for event in story.history:
        told[event.step] += event.data.get("count", 1) if event.kind == "postponed" else 0
    assert told == asked


def test_a_killed_attempt_still_counts() -> None:
    """What was given back is only what was told (F5)."""
    story = started(step("poll", retry=budget(1)))
    story.postpone("poll")
    story.advance(30_000).wake()
    story.lose("poll")
    assert story["poll"].status is not StepStatus.WAITING
    assert story.run.why == "failed"


def test_it_may_have_had_an_effect() -> None:
    """Unless it says that it had none, in every attempt (I6)."""
    for effects, undone in (([False, False], []), ([False, None, False], ["poll"])):
        story = started("poll")
        for effect in effects:
            story.postpone("poll", effect=effect)
            story.advance(30_000).wake()
        story.cancel()
        assert to_undo(story.plan, story.run) == undone
        story.check_history()


def test_nothing_is_asked_again_once_a_run_goes_back() -> None:
    """The attempt has ended, and is undone."""
    story = started("poll")
    story.claim("poll")
    story.cancel()
    done = story.fail("poll", kind="postpone", delay=1_000)
    assert [e.kind for e in done.events] == ["failed"]
    story.undo("poll")
    assert story.status == "compensated"


def turned(**values: Any) -> Story:
    """A run on its way back, whose two steps are undone side by side."""
    story = started(step("left", **values), "right", compensation_order="parallel")
    story.do("left", "right").cancel()
    return story


def test_an_undo_is_asked_again() -> None:
    """It uses no attempt up, and leaves one event; a failure in between is one."""
    undo = Undo(task="shop.undo", wants=(), retry=budget(2))
    story = turned(undo=undo)
    for _ in range(50):
        story.postpone("left", phase="undo")
        story.postpone("right", phase="undo")
        story.advance(30_000).wake()
    told = [(e.step, e.data["count"]) for e in story.history if e.kind == "postponed"]
    assert told == [("left", 50), ("right", 50)]
    assert story["left"].status is StepStatus.COMPENSATING
    story.claim("left", "undo")
    story.fail("left", "undo")
    story.advance(1_000).undo("left", "right")
    assert story.status == "compensated"
    story.check_history()


@pytest.mark.parametrize("named", [None, 100_000])
def test_an_undo_is_owed_after_a_time(named: int | None) -> None:
    """Counted from its first claim: the time that it names, or a day."""
    story = turned(undo=Undo(task="shop.undo", wants=(), give_up_after=named))
    most = named or LONGEST_UNDO
    for _ in range(4):
        story.postpone("left", delay=most // 4, phase="undo")
        story.check_history()
        story.advance(most // 4).wake()
    story.claim("left", "undo")
    assert story.fail("left", "undo", kind="postpone", delay=1).events[0].kind == "failed"
    story.undo("right")
    assert (story.status, story.run.owed) == ("failed", ("left",))
    story.retry("left")
    story.postpone("left", delay=most, phase="undo")
    assert story["left"].undo.state is PhaseStatus.POSTPONED
    story.check_history()


def test_what_comes_to_light_is_undone_once_more_by_an_undo_that_is_asked_again() -> None:
    """Under a budget of its own: what was given back belongs to the one before."""
    story = started(step("pay", undo=Undo(task="shop.undo", wants=(), retry=budget(2))))
    story.lose("pay").claim("pay", attempt=2)
    story.cancel()
    story.fail("pay", attempt=2)
    story.advance(60_000).wake()
    for _ in range(5):
        story.postpone("pay", phase="undo")
        story.advance(30_000).wake()
    story.complete("pay", attempt=1)
    assert story["pay"].generation == 1
    story.postpone("pay", phase="undo")
    story.advance(30_000).wake()
    for _ in range(2):
        story.claim("pay", "undo")
        story.fail("pay", "undo")
        story.advance(1_000).wake()
    assert (story.status, story.run.owed) == ("failed", ("pay",))
    story.check_history()


def lost_and_cancelled() -> Story:
    """A run on its way back; one of its steps may have had an effect that nobody knows of."""
    story = started("reserve", "charge").lose("reserve").do("reserve").lose("charge").advance(GRACE)
    story.cancel()
    return story.undo("charge")


def test_what_comes_while_an_undo_waits_to_be_asked() -> None:
    """Its next attempt, its own late success, or a late effect: of its step, or of a later one."""
    story = lost_and_cancelled()
    story.postpone("reserve", 1_000, phase="undo")
    story.undo("reserve")
    assert story.status == "compensated"

    story = lost_and_cancelled().lose("reserve", "undo")
    story.postpone("reserve", phase="undo")
    story.complete("reserve", "undo", attempt=1)
    assert story.status == "compensated"

    story = lost_and_cancelled()
    story.postpone("reserve", 1_000, phase="undo")
    story.complete("reserve", attempt=1)
    assert (story["reserve"].undo.state, story["reserve"].generation) == ("postponed", 1)
    story.undo("reserve")
    assert story.status == "compensated"

    story = lost_and_cancelled()
    story.postpone("reserve", 1_000, phase="undo")
    story.complete("charge", attempt=1)
    assert story["reserve"].undo.state is PhaseStatus.IDLE
    story.undo("charge", "reserve")
    assert story.status == "compensated"
    story.check_history()


def test_a_late_one_is_noted() -> None:
    """As a failure of an attempt that was given up."""
    story = started("poll").lose("poll")
    assert story.fail("poll", attempt=1, kind="postpone", delay=1_000).events[0].kind == "late"


def test_a_step_gives_up_after_a_time() -> None:
    """Counted from its first claim, over all attempts, postponed or failed."""
    for how in ({"kind": "postpone", "delay": 30_000}, {"delay": 30_000}):
        story = started(step("poll", give_up_after=100_000, retry=budget(None)))
        for _ in range(3):
            story.claim("poll")
            assert story.fail("poll", **how).events[0].data["retry"]
            story.advance(30_000).wake()
        story.claim("poll")
        assert story.fail("poll", **how).events[0].kind == "failed"
        assert story.run.why == "failed"
        story.check_history()


def test_a_deadline_ends_it() -> None:
    """As everything."""
    story = started("poll", deadline=50_000)
    story.postpone("poll")
    story.advance(60_000).wake()
    assert story.run.why == "deadline"
    story.check_history()


def test_what_comes_while_it_waits() -> None:
    """The next attempt, a late success of one that was lost, or the way back."""
    story = started("poll").lose("poll")
    story.postpone("poll")
    story.complete("poll", attempt=1)
    assert story.status == "completed"
    story = started("poll")
    story.postpone("poll", 1_000)
    story.do("poll")
    assert story.status == "completed"
    story = started("poll")
    story.postpone("poll", effect=False)
    story.cancel()
    assert story.status == "compensated"
    story.check_history()


def test_an_operator_may_skip_what_cannot_say_yet() -> None:
    """And retries nothing."""
    story = started("poll", "ship")
    story.postpone("poll")
    story.skip("poll")
    story.do("ship")
    assert story.status == "completed"
