"""A step before a gate: it waits in line without an attempt, and is called when it is its turn.

Owns: what the state machine makes of it.  Refuses to know: whether a gate lets anybody through.
"""

from __future__ import annotations

import pytest

from celeriac.errors import CommandRefused
from celeriac.machine import Gate, RetryRule, Rule, lines_of, places_of
from celeriac.machine.commands import Call, Claim, Complete, Expire, Queue
from celeriac.machine.events import EventKind
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.timing import due, wake_at
from tests.machine.story import Story, saga, step

BANK = Gate(name="bank", rule=Rule(kind="limit", most=1))
ALL = Gate(name="orders", rule=Rule(kind="limit", most=1))
PLAN = saga(step("charge", gates=(BANK,)), "ship")
OF_RUN = saga("charge", "ship", gates=(ALL,))


def queued(story: Story, since: int = 0, **values: object) -> int:
    """Let the charge wait at the bank; return since when."""
    since = since or story.now
    until = story.now + 3_600_000
    story.give(Queue("charge", "do", "bank", "the bank is full", since, until, **values))  # type: ignore[arg-type]
    return since


def test_nobody_gets_past_a_gate() -> None:
    """A claim that says nothing of its gates is refused, and one with some of them too."""
    story = Story(PLAN)
    story.start()
    with pytest.raises(CommandRefused, match="gates to pass first"):
        story.give(Claim("charge", "do", 1, "me"))
    story.give(Claim("charge", "do", 1, "me", gates=("bank",)))
    assert story["charge"].gates == ("bank",)
    assert {place.gate for place in places_of(story.run)} == {"bank"}


def test_who_waits_uses_nothing_up() -> None:
    """No attempt, no message; the run says why, and when somebody looks at the latest."""
    story = Story(PLAN)
    story.start()
    since = queued(story)
    assert due(story.run) == set()
    assert wake_at(story.run) == story.now + 3_600_000
    assert (story["charge"].blocked, story["charge"].do.attempt) == ("the bank is full", 0)
    assert [turn.since for turn in lines_of(story.run)] == [since]
    assert places_of(story.run) == set()
    done = story.give(Call("charge", "do", "bank"))
    assert [(each.step, each.attempt) for each in done.dispatches] == [("charge", 1)]
    story.claim("charge")
    assert (story["charge"].blocked, story["charge"].line) == ("", ())
    assert lines_of(story.run) == set()


def test_a_call_is_for_who_waits() -> None:
    """At that gate, whenever it came there; twice is once."""
    story = Story(PLAN)
    story.start()
    with pytest.raises(CommandRefused, match="does not wait"):
        story.give(Call("charge", "do", "bank"))
    queued(story)
    with pytest.raises(CommandRefused, match="does not wait"):
        story.give(Call("charge", "do", "till"))
    story.give(Call("charge", "do", "bank"))
    assert story.give(Call("charge", "do", "bank")).events == ()


def test_a_turn_that_is_near_is_sent_at_once() -> None:
    """It comes when it is its turn."""
    story = Story(PLAN)
    story.start()
    since = story.now
    command = Queue("charge", "do", "bank", "not yet", since, story.now + 900, sent=True)
    done = story.give(command)
    assert [each.at for each in done.dispatches] == [story.now + 900]


def test_a_pause_steps_out_of_the_line() -> None:
    """And resuming goes back to the place it had."""
    story = Story(PLAN)
    story.start()
    since = queued(story)
    story.pause()
    assert lines_of(story.run) == set()
    with pytest.raises(CommandRefused):
        story.give(Call("charge", "do", "bank"))
    story.resume()
    assert [turn.since for turn in lines_of(story.run)] == [since]


def test_a_cancel_ends_the_wait() -> None:
    """Nothing was done, so there is nothing to undo."""
    story = Story(PLAN)
    story.start()
    queued(story)
    story.cancel()
    assert (story.status, story["charge"].line) == ("compensated", ())


def test_a_deadline_passes_while_it_waits() -> None:
    """Time does not stand still at a gate."""
    story = Story(saga(step("charge", gates=(BANK,)), deadline=10_000))
    story.start()
    queued(story)
    assert wake_at(story.run) == story.now + 10_000
    story.advance(10_000).wake()
    assert (story.status, story.run.why) == ("compensated", "deadline")


def test_an_undo_passes_the_same_gates() -> None:
    """It waits there like the step, and holds a place."""
    story = Story(PLAN)
    story.start()
    story.claim("charge")
    story.complete("charge")
    assert places_of(story.run) == set()
    story.cancel()
    with pytest.raises(CommandRefused, match="gates to pass first"):
        story.give(Claim("charge", "undo", 1, "me"))
    story.give(Queue("charge", "undo", "bank", "full", story.now, story.now + 60_000))
    assert [turn.phase for turn in lines_of(story.run)] == ["undo"]
    with pytest.raises(CommandRefused, match="not due yet"):
        story.claim("charge", "undo")
    story.give(Call("charge", "undo", "bank"))
    story.claim("charge", "undo")
    assert [place.phase for place in places_of(story.run)] == ["undo"]


def test_a_run_holds_its_own_place_until_it_rests() -> None:
    """From its first claim on, over all of its steps; one that goes on later passes again."""
    story = Story(OF_RUN)
    story.start()
    with pytest.raises(CommandRefused, match="gates to pass first"):
        story.give(Claim("charge", "do", 1, "me"))
    story.claim("charge", holder="first")
    assert story.run.entered == ("first", "orders")
    story.complete("charge")
    assert [(place.step, place.holder) for place in places_of(story.run)] == [("", "first")]
    story.claim("ship")
    story.complete("ship")
    assert (story.status, places_of(story.run)) == ("completed", set())
    story.cancel()
    with pytest.raises(CommandRefused, match="gates to pass first"):
        story.give(Claim("ship", "undo", 1, "me"))
    story.claim("ship", "undo")
    assert {place.gate for place in places_of(story.run)} == {"orders"}


def test_the_steps_of_a_run_that_has_passed_wait_no_more() -> None:
    """Two that begin side by side both wait; one passes, and the other need not."""
    nodes = (step("charge"), step("pack"))
    story = Story(saga(gates=(ALL,)).model_copy(update={"nodes": nodes}))
    story.start()
    queue = Queue("pack", "do", "orders", "full", story.now, story.now + 60_000, of_run=True)
    story.give(queue)
    story.claim("charge")
    assert (story["pack"].line, story["pack"].do.state) == ((), PhaseStatus.SCHEDULED)
    with pytest.raises(CommandRefused, match="meanwhile"):
        story.give(queue)
    done = story.wake()
    assert [each.step for each in done.dispatches] == ["pack"]
    assert story.happened(EventKind.QUEUED) == ["pack"]


def test_what_comes_to_light_takes_no_turn_away() -> None:
    """An undo that waits in line stays there, whatever is reported late of what it undoes."""
    story = Story(saga(step("charge", gates=(BANK,), retry=RetryRule(max_attempts=2))))
    story.start()
    for attempt in (1, 2):
        story.advance(10_000).claim("charge", holder=f"w{attempt}")
        story.give(Expire("charge", "do", attempt))
    story.advance(10_000).claim("charge", "undo")
    story.complete("charge", "undo")
    assert story.status == "compensated"
    story.give(Complete("charge", "do", 1, "w1"))
    story.give(Queue("charge", "undo", "bank", "full", story.now, story.now + 3_600_000))
    (turn,) = lines_of(story.run)
    story.give(Complete("charge", "do", 2, "w2"))
    assert story.happened(EventKind.REOPENED, "undo") == ["charge", "charge"]
    assert lines_of(story.run) == {turn}
    assert story["charge"].blocked == "full"
    done = story.give(Call("charge", "undo", "bank"))
    assert [(each.phase, each.attempt) for each in done.dispatches] == [("undo", 2)]
