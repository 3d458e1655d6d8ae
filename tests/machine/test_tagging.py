"""Tags that a run's own steps give it.

Owns: who may tag, and what a run has then.  Refuses to know: how runs are found by their tags
(`tests/store`), and how a step says so (`tests/testing/test_telling.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.errors import CommandRefused
from celeriac.machine.commands import Claim, Tag
from celeriac.machine.events import EventKind
from celeriac.machine.tagging import MOST_TAGS
from tests.machine.story import Story, refused, started
from tests.machine.test_tries import lost, report

if TYPE_CHECKING:
    from celeriac.machine import Phase


def tag(story: Story, name: str, attempt: int = 1, /, **tags: str) -> list[str]:
    """Tag the run, as whoever holds an attempt of a step; return what happened."""
    phase: Phase = "undo" if name.startswith("undo ") else "do"
    token = story._token(name.removeprefix("undo "), phase, attempt)
    return [event.kind for event in story.give(Tag(*token, tuple(sorted(tags.items())))).events]


def test_an_attempt_tags_its_run() -> None:
    """Beside the tags it was started with, or in their place; the same again is nothing."""
    story = Story(started("reserve").plan)
    story.start(tags=(("region", "us"), ("shop", "7")))
    story.claim("reserve")
    assert tag(story, "reserve", region="eu", carrier="dhl") == [EventKind.TAGGED]
    assert story.run.tags == (("carrier", "dhl"), ("region", "eu"), ("shop", "7"))
    assert tag(story, "reserve", region="eu") == []
    (told,) = [event for event in story.history if event.kind is EventKind.TAGGED]
    assert told.data["tags"] == [("carrier", "dhl"), ("region", "eu")]
    story.complete("reserve")
    assert story.status == "completed"
    assert ("region", "eu") in story.run.tags
    story.check_history()


def test_an_attempt_that_no_longer_counts_tags_nothing() -> None:
    """One that was given up, one that has ended, and one whose run turned round."""
    story = started("reserve", "charge").lose("reserve")
    with refused("stale"):
        tag(story, "reserve", region="eu")
    story.advance(1_000).claim("reserve")
    tag(story, "reserve", 2, region="eu")
    story.complete("reserve")
    with refused("stale"):
        tag(story, "reserve", 2, region="us")
    story.claim("charge")
    story.cancel()
    with refused("stopping"):
        tag(story, "charge", region="us")
    assert story.run.tags == (("region", "eu"),)


def test_an_undo_tags_its_run() -> None:
    """As a step does."""
    story = started("reserve", "charge").do("reserve").give_up("charge", effect=False)
    story.claim("reserve", "undo")
    tag(story, "undo reserve", undone="yes")
    assert story.run.tags == (("undone", "yes"),)
    story.check_history()


def test_an_undo_of_an_earlier_try_tags_the_run() -> None:
    """And not that try alone, which nobody finds."""
    story = lost().do("reserve")
    report(story)
    story.give(Claim("charge", "undo", 2, "late", 1))
    story.give(Tag("charge", "undo", 2, "late", 1, (("late", "yes"),)))
    assert story.run.tags == (("late", "yes"),)
    assert story.run.earlier[0].tags == ()
    story.check_history()


def test_tags_stay_over_tries() -> None:
    """They say what is known of the run, however often it begins."""
    story = started("reserve", retries=1, retry_delay=0)
    story.claim("reserve")
    tag(story, "reserve", region="eu")
    story.fail("reserve", kind="abort", effect=False)
    assert (story.run.tries, story.run.tags) == (2, (("region", "eu"),))
    story.check_history()


def test_there_is_a_most() -> None:
    """New names are refused then, and those that are there still change."""
    story = started("reserve")
    story.claim("reserve")
    tag(story, "reserve", **{f"n{number}": "1" for number in range(MOST_TAGS)})
    with pytest.raises(CommandRefused) as caught:
        tag(story, "reserve", more="1")
    assert caught.value.reason == "too_many_tags"
    assert tag(story, "reserve", n1="2") == [EventKind.TAGGED]
    assert dict(story.run.tags)["n1"] == "2"
