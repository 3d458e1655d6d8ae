"""A worker has died: its attempt is given up, and its messages are not waited for.

Owns: what the machine makes of a death.  Refuses to know: how one is noticed.
"""

from __future__ import annotations

from celeriac.machine.commands import Expire, Redispatch
from celeriac.machine.events import Dispatch, EventKind
from celeriac.machine.timing import due, overdue
from tests.machine.story import GRACE, started


def test_an_attempt_whose_worker_died_is_tried_again_at_once() -> None:
    """Its outcome is as unknown as after a lease; the history says why."""
    story = started("reserve")
    story.claim("reserve")
    done = story.give(Expire("reserve", "do", 1, "death"))
    assert [event.data["why"] for event in done.events if event.kind is EventKind.LOST] == ["death"]
    assert story["reserve"].may_have_effect
    assert list(done.dispatches) == [Dispatch("reserve", "do", 2, story.now)]


def test_what_was_sent_before_a_death_is_not_waited_for() -> None:
    """It may be sent again at once, and only once; what is sent after the death has its grace."""
    story = started("reserve")
    sent_at = story.now
    story.advance(1)
    assert overdue(story.run, story.now) == []
    assert overdue(story.run, story.now, sent_at - 1) == []
    (lost,) = overdue(story.run, story.now, sent_at)
    assert lost in due(story.run)

    assert not story.give(Redispatch(lost)).events, "nobody died: it has its grace"
    assert not story.give(Redispatch(lost, sent_at - 1)).events, "it was sent after the death"
    done = story.give(Redispatch(lost, sent_at))
    assert list(done.dispatches) == [Dispatch("reserve", "do", 1, story.now)]
    assert not story.give(Redispatch(lost, sent_at)).events, "two sweeps send one message"
    assert overdue(story.run, story.now, sent_at) == []
    story.advance(GRACE - 1)
    assert overdue(story.run, story.now, sent_at) == []


def test_a_death_brings_no_retry_forward() -> None:
    """A message whose time has not come cannot be late."""
    story = started("reserve")
    assert overdue(story.run, story.now - 1, story.now + GRACE) == []
