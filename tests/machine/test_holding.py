"""A run that an operator holds: what still happens to it, and what waits until it is resumed.

Owns: pause and resume.  Refuses to know: who may do it, and how it is typed.
"""

from __future__ import annotations

import pytest

from celeriac.machine.commands import Pause, Resume
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.timing import due, overdue, wake_at
from tests.machine.story import Story, refused, started, step


def held(*names: str, **values: object) -> Story:
    """A run that was paused when its first step was due."""
    story = started(*names, **values)
    story.pause()
    return story


def test_a_held_run_takes_up_no_attempt() -> None:
    """A message that arrives is refused, and uses up no attempt."""
    story = held("reserve")
    with refused("paused", "until it is resumed"):
        story.claim("reserve")
    assert story["reserve"].do.attempt == 0
    assert story.run.shown is RunStatus.PAUSED


def test_who_and_why_are_in_the_history() -> None:
    """Of the pause and of its end."""
    story = held("reserve")
    story.resume()
    told = [(e.kind.value, e.data["by"], e.data["reason"]) for e in story.history[-2:]]
    assert told == [("paused", "ada", "the bank is down"), ("resumed", "ada", "it is back")]


def test_what_is_at_work_may_finish() -> None:
    """Its result is recorded; what follows is sent when the run is resumed."""
    story = started("reserve", "charge")
    story.claim("reserve")
    story.pause()
    assert not story.complete("reserve").dispatches
    assert not due(story.run)
    sent = story.resume().dispatches
    assert [dispatch.step for dispatch in sent] == ["charge"]
    story.do("charge")
    assert story.status == "completed"


def test_a_run_may_end_while_it_is_held() -> None:
    """When the last step was at work already."""
    story = started("reserve")
    story.claim("reserve")
    story.pause()
    story.complete("reserve")
    assert story.run.shown is RunStatus.COMPLETED


def test_no_message_of_a_held_run_counts_as_lost() -> None:
    """However long it is held; when it is resumed, patience begins anew."""
    story = held("reserve").advance(3_600_000)
    assert not overdue(story.run, story.now)
    story.wake()
    story.resume()
    assert due(story.run)
    assert not overdue(story.run, story.now)


def test_a_retry_that_comes_due_waits() -> None:
    """It is sent at the end of the pause, not before."""
    story = started(step("reserve"))
    story.claim("reserve")
    story.fail("reserve", delay=10_000)
    story.pause()
    story.advance(60_000)
    assert not story.wake().events
    story.resume()
    assert wake_at(story.run) is not None
    assert [d.attempt for d in story.wake().dispatches] == [2]


def test_the_deadline_is_not_told_of_the_pause() -> None:
    """A run of a minute that was held for an hour has what was left of its minute."""
    story = started("reserve", deadline=60_000).advance(20_000)
    story.pause()
    story.advance(3_600_000)
    story.wake()
    assert story.status == "running"
    story.resume()
    story.advance(39_999).wake()
    assert story.status == "running"
    story.advance(1).wake()
    assert story.status == "compensated"


def test_a_clock_that_went_back_takes_nothing_off_the_deadline() -> None:
    """The deadline may only move away."""
    story = started("reserve", deadline=60_000)
    story.pause()
    deadline = story.run.deadline
    story.advance(-10_000).resume()
    assert story.run.deadline == deadline


def test_a_step_that_fails_for_good_turns_a_held_run_round() -> None:
    """And nothing is undone before it is resumed."""
    story = started("reserve", "charge").do("reserve")
    story.claim("charge")
    story.pause()
    story.fail("charge", kind="abort", effect=False)
    assert story.status == "compensating"
    assert story.run.shown is RunStatus.PAUSED
    with refused("paused"):
        story.claim("reserve", "undo")
    assert [d.phase for d in story.resume().dispatches] == ["undo"]
    story.undo("reserve")
    assert story.status == "compensated"


def test_a_lost_attempt_is_found_while_the_run_is_held() -> None:
    """It is tried again when the run is resumed."""
    story = started("reserve")
    story.claim("reserve")
    story.pause()
    story.expire("reserve")
    assert story["reserve"].do.state is PhaseStatus.RETRYING
    assert not due(story.run)
    story.resume()
    story.do("reserve")
    assert story.status == "completed"


def test_an_undo_can_be_held_too() -> None:
    """When it is the undo that does harm."""
    story = started("reserve", "charge").do("reserve")
    story.cancel()
    story.pause()
    with refused("paused"):
        story.claim("reserve", "undo")
    story.resume()
    story.undo("reserve")
    assert story.status == "compensated"
    assert story.run.reason == "changed my mind", "what the cancel said is kept"


def test_cancel_lets_go() -> None:
    """Who cancels wants it undone now."""
    story = started("reserve", "charge").do("reserve")
    story.pause()
    assert [d.phase for d in story.cancel().dispatches] == ["undo"]
    assert story.run.shown is RunStatus.COMPENSATING


def test_a_held_run_can_be_terminated() -> None:
    """It is at rest then, not paused."""
    story = held("reserve")
    story.terminate()
    assert story.run.shown is RunStatus.TERMINATED


@pytest.mark.parametrize("command", [Pause("wait"), Resume()])
def test_a_run_at_rest_is_not_held(command: Pause | Resume) -> None:
    """There is nothing to hold, and nothing to resume."""
    story = started("reserve").do("reserve")
    with refused("at_rest", "it has ended"):
        story.give(command)


def test_what_is_not_held_is_resumed_without_a_trace() -> None:
    """The same command twice is once."""
    story = started("reserve")
    assert not story.resume().events


def test_a_run_that_has_failed_while_it_was_held_goes_on_when_it_is_retried() -> None:
    """The hand that held it let go with its end."""
    story = started("reserve").do("reserve").advance(1_000)
    story.cancel()
    story.claim("reserve", "undo")
    story.pause()
    story.fail("reserve", "undo", kind="abort")
    assert story.status == "failed"
    assert [d.phase for d in story.retry().dispatches] == ["undo"]
    assert story.run.shown is RunStatus.COMPENSATING
