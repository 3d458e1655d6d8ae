"""Answers: signals for one wait alone, which are taken or refused, and never kept.

Owns: which wait takes an answer, and which runs await one.  Refuses to know: signals that any wait
may take (`test_waits`).
"""

from __future__ import annotations

import pytest

from celeriac.machine.commands import Signal
from celeriac.machine.received import Received
from celeriac.machine.steps import StepStatus
from tests.machine.story import refused
from tests.machine.test_waits import DAY, HOUR, asks, sleeps, waiting, waits


def test_an_answer_is_taken_by_the_wait_it_is_for() -> None:
    """Also where another one of that name opened first."""
    story = waiting("reserve", *(waits(n, signal="go", after=("reserve",)) for n in "ab"))
    story.do("reserve")
    assert story.run.awaits
    story.give(Signal("go", "1", step="b"))
    assert (story["a"].status, story["b"].status) == (StepStatus.WAITING, StepStatus.COMPLETED)
    assert story.run.signals == (Received("1", "go", "b"),)
    assert story["b"].do.signal == "", "it is compact once it has ended"
    assert story.give(Signal("go", "1", step="b")).events == (), "the same answer twice is one"
    story.give(Signal("go", "2", step="a"))
    assert (story.status, story.run.awaits) == ("completed", False)
    story.check_history()


@pytest.mark.parametrize(
    ("step", "reason"), [("second", "not_waiting"), ("reserve", "no_wait"), ("gone", "no_wait")]
)
def test_an_answer_is_never_kept(step: str, reason: str) -> None:
    """What somebody says of one wait must not be taken by another, nor by a later visit."""
    story = waiting("reserve", waits("first", signal="go"), waits("second", signal="go"))
    story.do("reserve")
    with refused(reason):
        story.give(Signal("go", "1", step=step))
    assert story.run.signals == ()


def test_an_answer_waits_for_nobody() -> None:
    """A run that is held takes none, and a wait that has ended takes none any more."""
    story = asks().do("reserve")
    story.pause()
    with refused("paused"):
        story.give(Signal("approved", "1", step="approved"))
    story.resume()
    story.advance(2 * DAY)
    story.wake()
    with refused("not_waiting"):
        story.give(Signal("approved", "1", step="approved"))


def test_only_a_wait_for_a_signal_awaits_one() -> None:
    """Sleepers are not listed among the runs that somebody has to answer."""
    story = waiting("reserve", sleeps(), waits())
    assert not story.run.awaits
    story.do("reserve")
    assert not story.run.awaits
    story.advance(HOUR)
    story.wake()
    assert story.run.awaits
    story.cancel()
    assert not story.run.awaits
