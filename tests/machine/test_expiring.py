"""Steps that must be taken up in a time, or have failed without any effect (I28).

Owns: when a step expires, and what follows.  Refuses to know: queues, and how it is written
(`tests/authoring`).
"""

from __future__ import annotations

from typing import Any

from celeriac.machine.commands import Redispatch
from celeriac.machine.events import Dispatch, EventKind
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.timing import dates
from tests.machine.story import Story, budget, mapped, refused, started, step

MINUTE = 60_000


def expiring(name: str = "charge", **values: Any) -> Story:
    """A run whose second step is to be taken up within a minute; the first is done."""
    return started("reserve", step(name, expires=MINUTE), "ship", **values).do("reserve")


def test_it_fails_when_nobody_comes() -> None:
    """Provably without effect: what was done before is undone, and nothing of the step itself."""
    story = expiring()
    assert story.run.step("charge").do.limit == story.now + MINUTE
    story.advance(MINUTE - 1).wake()
    assert story.happened(EventKind.FAILED) == []
    story.advance(1)
    failed, *_ = story.wake().events
    assert (failed.kind, failed.step, failed.attempt) == (EventKind.FAILED, "charge", 0)
    assert failed.data == {
        "error": "StepExpired",
        "code": "expired",
        "effect": False,
        "why": "expired",
    }
    assert not story["charge"].may_have_effect
    assert (story.run.why, story.run.failed_step) == ("failed", "charge")
    story.undo("reserve")
    assert story.status == "compensated"
    assert story["charge"].undo.state is PhaseStatus.IDLE
    story.check_history()


def test_somebody_looks_when_its_time_is_over() -> None:
    """Whatever else there is to wait for."""
    story = expiring()
    assert min(dates(story.run)) <= story.now + MINUTE
    assert story.now + MINUTE in dates(story.run)


def test_whoever_comes_too_late_is_refused() -> None:
    """Also if no sweep has looked yet."""
    story = expiring().advance(MINUTE)
    with refused("expired"):
        story.claim("charge")
    assert story["charge"].do.state is PhaseStatus.SCHEDULED
    story.wake()
    assert story.run.why == "failed"


def test_whoever_comes_in_time_has_all_the_time() -> None:
    """From its first claim on the limit is gone, for retries as well."""
    story = expiring().advance(MINUTE - 1)
    story.claim("charge")
    story.advance(2 * MINUTE).wake()
    assert story["charge"].do.state == "running"
    story.fail("charge", delay=2 * MINUTE)
    story.advance(2 * MINUTE).wake()
    assert story["charge"].do.state == "scheduled"
    story.advance(10 * MINUTE).wake()
    story.do("charge", "ship")
    assert story.status == "completed"
    story.check_history()


def test_a_message_sent_again_changes_nothing() -> None:
    """The time counts from when the turn of the step came."""
    story = expiring().advance(MINUTE // 2)
    story.give(Redispatch(Dispatch("charge", "do", 1, story.run.step("charge").do.at)))
    assert story.happened(EventKind.DISPATCHED) == ["charge"]
    story.advance(MINUTE // 2).wake()
    assert story.run.failed_step == "charge"


def test_a_pause_stops_the_clock() -> None:
    """Nobody could take it up meanwhile; only the time that it stood still itself counts."""
    story = expiring().advance(1_000)
    story.pause()
    assert dates(story.run) == []
    story.advance(10 * MINUTE).wake()
    story.resume()
    assert story.run.step("charge").do.limit == story.now + MINUTE - 1_000
    story.advance(MINUTE - 1_000).wake()
    assert story.run.failed_step == "charge"
    story.check_history()


def test_a_turn_that_comes_in_a_pause() -> None:
    """It has its whole time when the run is resumed, and no more."""
    story = started("reserve", step("charge", expires=MINUTE))
    story.claim("reserve")
    story.pause()
    story.advance(10 * MINUTE)
    story.complete("reserve")
    story.advance(1_000)
    story.resume()
    assert story.run.step("charge").do.limit == story.now + MINUTE


def test_an_outage_gives_more_time() -> None:
    """As much as nobody could claim; it counts once, and not before it is known."""
    story = expiring()
    begin = story.now
    story.advance(MINUTE).wake(credit=None)
    assert story.happened(EventKind.FAILED) == []
    outage = ((begin + 10_000, begin + 30_000),)
    story.wake(outages=outage)
    assert story.run.step("charge").do.limit == begin + MINUTE + 20_000
    story.advance(19_999).wake(outages=outage)
    assert story.run.why == ""
    story.advance(1).wake(outages=outage)
    assert story.run.failed_step == "charge"
    story.check_history()


def test_an_element_of_a_map() -> None:
    """Its time counts from when its own turn comes."""
    each = step("ship[]", expires=MINUTE)
    story = started(mapped("ship", each, concurrency=1))
    story.expand("ship", 2)
    story.advance(MINUTE - 1)
    story.do("ship[0]")
    assert story.run.step("ship[1]").do.limit == story.now + MINUTE
    story.advance(MINUTE).wake()
    assert story.run.failed_step == "ship[1]"
    story.undo("ship[0]")
    assert story.status == "compensated"
    story.check_history()


def test_past_the_pivot_an_operator_decides() -> None:
    """Nothing is undone, and nothing is done too late: retried, it has as much time again."""
    for how in ("retry", "skip"):
        story = started(step("pay", pivot=True), step("tell", expires=MINUTE), "last").do("pay")
        story.advance(MINUTE).wake()
        assert (story.status, story.run.owed) == ("failed", ("tell",))
        story.advance(10 * MINUTE)
        if how == "skip":
            story.skip("tell")
        else:
            story.retry("tell")
            assert story.run.step("tell").do.limit == story.now + MINUTE
            story.do("tell")
        story.do("last")
        assert story.status == "completed"
        story.check_history()


def test_a_retry_of_what_was_taken_up_does_not_expire() -> None:
    """It may have had an effect: there is no promise left to keep."""
    story = started(step("pay", pivot=True), step("tell", expires=MINUTE)).do("pay")
    story.claim("tell")
    story.fail("tell", kind="abort")
    assert story.status == "failed"
    story.retry("tell")
    story.advance(10 * MINUTE).wake()
    story.do("tell")
    assert story.status == "completed"


def test_the_way_back_leaves_no_date() -> None:
    """A step that waits when the run turns round never starts, and nobody looks for it."""
    story = expiring()
    story.cancel()
    assert story["charge"].do == type(story["charge"].do)(at=story.now)
    assert all(at > story.now for at in dates(story.run))
    story.undo("reserve")
    assert story.status == "compensated"
    story.check_history()


def test_a_new_try_has_its_own_time() -> None:
    """What expired in the first try is waited for anew in the next."""
    rule = budget(1)
    plan = {"retries": 1, "retry_delay": 0}
    story = started(step("charge", expires=MINUTE, retry=rule), **plan)
    story.advance(MINUTE).wake()
    assert story.run.tries == 2
    assert story.run.step("charge").do.limit == story.now + MINUTE
    story.do("charge")
    assert story.status == "completed"
    story.check_history()
