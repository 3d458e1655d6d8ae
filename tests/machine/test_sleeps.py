"""Sleeps whose end is known only in a run: it is read when their turn comes.

Owns: what follows when it was read, or cannot be.  Refuses to know: the value and who reads it
(`tests/testing/test_expiring.py`), and sleeps of a length (`test_waits`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.machine.story import NOON, refused, step
from tests.machine.test_waits import DAY, HOUR, asks, sleeps, waiting, waits

if TYPE_CHECKING:
    from tests.machine.story import Story


def reading(**values: Any) -> Story:
    """A run with a sleep whose end is known only in the run; what comes before it is done."""
    return waiting("reserve", sleeps(timeout=None, reads=True), "ship", **values).do("reserve")


def test_the_end_of_a_sleep_is_read_when_its_turn_comes() -> None:
    """Once: whoever comes second changes nothing."""
    story = reading()
    assert story["sleep"].do.state == "scheduled"
    story.open("sleep", story.now + HOUR)
    assert story.run.shown == "waiting"
    assert story["sleep"].do.limit == story.now + HOUR
    assert story.open("sleep", story.now + DAY).events == ()
    story.advance(HOUR - 1).wake()
    assert story["sleep"].do.state == "open"
    story.advance(1)
    assert [each.step for each in story.wake().dispatches] == ["ship"]
    story.do("ship")
    assert story.status == "completed"
    story.check_history()


def test_a_date_that_has_passed_is_no_wait() -> None:
    """Whoever looks next ends it."""
    story = reading()
    story.open("sleep", -5)
    assert [each.step for each in story.wake().dispatches] == ["ship"]


def test_a_date_that_was_read_is_a_date() -> None:
    """A pause does not move it, and nobody reads one meanwhile."""
    story = reading()
    story.pause()
    with refused("paused"):
        story.open("sleep", story.now + HOUR)
    story.resume()
    story.open("sleep", story.now + HOUR)
    story.pause()
    story.advance(HOUR)
    story.resume()
    assert [each.step for each in story.wake().dispatches] == ["ship"]


def test_what_is_no_date_fails_the_sleep() -> None:
    """And the run, which is undone; past the pivot an operator has it read anew, or skips it."""
    story = reading()
    story.open("sleep", 0, error="SleepFailed", code="sleep")
    assert story.run.failed_step == "sleep"
    story.undo("reserve")
    assert story.status == "compensated"
    story.check_history()
    story = waiting(step("pay", pivot=True), sleeps(timeout=None, reads=True)).do("pay")
    story.open("sleep", 0, error="SleepFailed", code="sleep")
    assert story.run.owed == ("sleep",)
    story.retry("sleep")
    story.open("sleep", story.now)
    story.wake()
    assert story.status == "completed"
    story.check_history()


def test_nobody_claims_a_sleep_that_is_to_be_read() -> None:
    """No worker runs it, and no other wait is opened like that."""
    story = reading()
    with refused("not_due", "no worker runs"):
        story.claim("sleep")
    other = asks().do("reserve")
    with refused("not_due", "no sleep"):
        other.open("approved", NOON)


def test_the_way_back_before_its_end_was_read() -> None:
    """It was never begun; whoever reads it then changes nothing."""
    story = reading()
    story.cancel()
    assert story.open("sleep", NOON).events == ()
    story.undo("reserve")
    assert story.status == "compensated"


def test_a_sleep_is_no_step_that_counts() -> None:
    """A run may start so many steps; what no worker runs is none of them."""
    nap = sleeps(timeout=None, reads=True, after=("reserve",))
    last = step("ship", after=("reserve",))
    story = waiting("reserve", nap, last, max_steps=2).do("reserve", "ship")
    story.open("sleep", NOON)
    story.wake()
    assert story.status == "completed"


def test_a_claim_ends_the_sleep_before_it() -> None:
    """Once its time is over, whoever comes with a message ends it, in the same decision."""
    story = waiting(sleeps(timeout=HOUR), "ship")
    story.advance(HOUR)
    events = story.claim("ship").events
    assert [(each.kind, each.step) for each in events] == [
        ("completed", "sleep"),
        ("claimed", "ship"),
    ]
    assert story.wake().events == ()
    story.complete("ship")
    assert story.status == "completed"
    story.check_history()


def test_a_claim_wakes_nobody_before_the_time() -> None:
    """Nor while an operator holds the run, nor one that waits for a signal."""
    story = waiting(sleeps(timeout=HOUR), "ship")
    story.advance(HOUR - 1)
    with refused("not_due"):
        story.claim("ship")
    story.pause()
    story.advance(1)
    with refused("paused"):
        story.claim("ship")
    story = waiting(waits(timeout=HOUR, on_timeout="continue"), "ship")
    story.advance(HOUR)
    with refused("not_due"):
        story.claim("ship")
