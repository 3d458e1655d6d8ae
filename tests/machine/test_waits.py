"""Nodes that no worker runs: they wait for a signal or a time.

Owns: which signals are accepted, which wait takes which, and when the time of a wait is over (I20).
Refuses to know: payloads, and how waits are written (`tests/authoring`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.errors import CommandRefused
from celeriac.machine.awaited import Wait
from celeriac.machine.commands import Signal, Wake
from celeriac.machine.events import EventKind
from celeriac.machine.guards import Choice, Guard
from celeriac.machine.plans import Node, Plan
from celeriac.machine.received import Received
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus, StepStatus, changed
from celeriac.machine.timing import dates, wake_at
from celeriac.machine.transitions import transition
from celeriac.machine.waits import MOST_UNTAKEN
from tests.machine.story import NOON, Story, refused, saga, step

HOUR, DAY = 3_600_000, 86_400_000


def waits(name: str = "approved", **values: Any) -> Node:
    """A node that waits, for a signal of its own name unless told otherwise."""
    wait = {"signal": name, "timeout": DAY}
    for key in ("signal", "timeout", "until", "reads", "on_timeout", "default"):
        if key in values:
            wait[key] = values.pop(key)
    return Node(name=name, task="", wait=Wait(**wait), **values)


def sleeps(name: str = "sleep", **values: Any) -> Node:
    """A node that waits for a time alone."""
    return waits(name, **{"signal": None, "timeout": HOUR, "on_timeout": "continue", **values})


def waiting(*nodes: Node | str, **values: Any) -> Story:
    """A run of these nodes that was just started."""
    plan = saga(*nodes, **values)
    names = {node.wait.signal for node in plan.nodes if node.wait and node.wait.signal}
    story = Story(plan.model_copy(update={"signals": {key: {} for key in sorted(names)}}))
    story.start()
    return story


def send(story: Story, name: str = "approved", key: str = "a") -> list[str]:
    """Send a signal; return the steps that are to be sent because of it."""
    done = story.give(Signal(name, key))
    return [dispatch.step for dispatch in done.dispatches]


def asks() -> Story:
    """Reserve, wait for an approval of a day, and ship."""
    return waiting("reserve", waits(), "ship")


# --- signals -----------------------------------------------------------------------------------


def test_a_wait_takes_its_signal_at_once() -> None:
    """Whoever commits the signal sends what comes behind it; meanwhile the run is `waiting`."""
    story = asks().do("reserve")
    assert story["approved"].status is StepStatus.WAITING
    assert (story.status, story.run.shown) == ("running", RunStatus.WAITING)
    assert wake_at(story.run) == NOON + DAY
    assert send(story) == ["ship"]
    assert story.run.shown is RunStatus.RUNNING
    assert story["approved"].do.limit == 0, "leaving a wait clears its timer"
    story.do("ship")
    assert story.status == "completed"
    story.check_history()


def test_nobody_can_claim_a_wait() -> None:
    """No worker runs it."""
    story = asks().do("reserve")
    with refused("not_due"):
        story.claim("approved")


def test_an_early_signal_is_kept() -> None:
    """Until its wait opens, which then ends in the same transition."""
    story = asks()
    assert send(story) == []
    story.claim("reserve")
    done = story.complete("reserve")
    assert [dispatch.step for dispatch in done.dispatches] == ["ship"]
    assert [event.kind for event in done.events] == [EventKind.COMPLETED, EventKind.COMPLETED]
    assert story.run.signals[0].taken_by == "approved"


def test_each_wait_takes_the_oldest_that_is_left() -> None:
    """In the order in which the waits open, and the signals came."""
    story = waiting("reserve", waits("first", signal="go"), waits("second", signal="go"))
    for key in ("a", "b", "c"):
        send(story, "go", key)
    story.do("reserve")
    taken = {each.key: each.taken_by for each in story.run.signals}
    assert taken == {"a": "first", "b": "second", "c": ""}
    assert story.status == "completed"


def test_waits_side_by_side_do_not_share_a_signal() -> None:
    """The one that opened first takes it."""
    story = waiting(
        "reserve",
        waits("early", signal="go", after=("reserve",)),
        step("pack", after=("reserve",)),
        waits("late", signal="go", after=("pack",)),
    )
    story.do("reserve").advance(1).do("pack")
    send(story, "go")
    assert story["early"].do.state is PhaseStatus.DONE
    assert story["late"].do.state is PhaseStatus.OPEN


def test_the_same_id_counts_once() -> None:
    """It is looked up before the status, so a repeat has its answer at rest as well."""
    story = asks()
    send(story)
    assert send(story) == []
    story.do("reserve", "ship")
    assert story.give(Signal("approved", "a")).events == ()
    story.start(nonce="call-2", if_exists="restart")
    assert story.give(Signal("approved", "a")).events == (), "also over a new start"
    story.do("reserve")
    assert story["approved"].do.state is PhaseStatus.OPEN, "what was not taken is gone"


def test_a_signal_that_nothing_waits_for_is_refused() -> None:
    """With a reason: it is unknown, too late, or the run is at rest or on its way back."""
    story = asks()
    with refused("unknown_signal", "approved"):
        send(story, "aproved")
    story.do("reserve")
    send(story)
    with refused("no_wait"):
        send(story, key="b")
    story.claim("ship")
    story.fail("ship", kind="abort")
    with refused("turned"):
        send(story, key="b")
    story.undo("ship", "reserve")
    with refused("at_rest"):
        send(story, key="b")


def test_so_many_signals_may_be_left() -> None:
    """A sender that runs wild fills no head."""
    story = asks()
    kept = tuple(Received(str(number), "approved") for number in range(MOST_UNTAKEN))
    full = changed(story.run, signals=kept)
    with pytest.raises(CommandRefused) as caught:
        transition(story.plan, full, Signal("approved", "one more"), NOON)
    assert caught.value.reason == "too_many_signals"
    room = changed(story.run, signals=(kept[0]._replace(taken_by="approved"), *kept[1:]))
    assert transition(story.plan, room, Signal("approved", "one more"), NOON).events


def test_a_wait_that_was_guarded_out_takes_nothing() -> None:
    """Nobody can approve what was not asked for."""
    asked = step("must_ask", undo=None, choice=Choice(labels=("yes", "no")))
    guard = Guard(step="must_ask", among=("yes",))
    story = waiting(asked, waits(guards=(guard,)), "ship")
    story.choose("must_ask", "no")
    assert story["approved"].status is StepStatus.SKIPPED
    with refused("no_wait"):
        send(story)


# --- times -------------------------------------------------------------------------------------


def test_a_sleep_ends_when_its_time_has_come() -> None:
    """Not before: a `Wake` that is too early changes nothing, however often it comes."""
    story = waiting("reserve", sleeps(), "ship").do("reserve")
    story.advance(HOUR - 1)
    assert story.wake().events == ()
    story.advance(1)
    assert [dispatch.step for dispatch in story.wake().dispatches] == ["ship"]
    assert story.wake().events == ()
    story.do("ship")
    assert story.status == "completed"
    story.check_history()


@pytest.mark.parametrize("days", [24.9, 49.8, 3652])
def test_a_sleep_may_be_long(days: float) -> None:
    """Times are absolute, in whole milliseconds."""
    length = int(days * DAY)
    story = waiting(sleeps(timeout=length), "ship")
    assert wake_at(story.run) == NOON + length
    story.advance(length - 1)
    assert story.wake().events == ()
    story.advance(1).wake()
    assert story["sleep"].do.state is PhaseStatus.DONE


def test_a_moment_that_has_passed_is_no_wait() -> None:
    """It ends as soon as somebody looks."""
    story = waiting(sleeps(until=NOON - 1, timeout=None), "ship")
    story.wake()
    assert story["sleep"].do.state is PhaseStatus.DONE


def test_a_wait_that_takes_too_long_turns_the_run_round() -> None:
    """Unless the saga says otherwise; the wait itself has nothing to undo."""
    story = asks().do("reserve").advance(DAY)
    story.wake()
    assert (story.status, story.run.failed_step) == ("compensating", "approved")
    story.undo("reserve")
    assert story.status == "compensated"
    assert story["approved"].status is StepStatus.FAILED
    story.check_history()


def test_a_wait_may_go_on_without_its_signal() -> None:
    """What comes then is for the next wait."""
    story = waiting(
        waits("first", signal="go", on_timeout="continue"), waits("second", signal="go"), "ship"
    )
    story.advance(DAY).wake()
    assert story["first"].do.state is PhaseStatus.DONE
    send(story, "go")
    assert story.run.signals[0].taken_by == "second"


def test_until_somebody_has_looked_a_signal_is_in_time() -> None:
    """Ending a wait and taking a signal are one decision: whichever is recorded first."""
    story = asks().do("reserve").advance(DAY)
    assert send(story) == ["ship"]
    story.wake()
    assert story["approved"].do.state is PhaseStatus.DONE


def test_an_outage_gives_a_wait_more_time() -> None:
    """Nobody could send meanwhile; counted once, and only what fell into the wait (L5)."""
    story = waiting("reserve", waits(timeout=10_000), "ship").advance(5_000).do("reserve")
    began = story.now
    outages = ((NOON, NOON + 1_000), (began + 2_000, began + 5_000))
    story.advance(10_000)
    assert story.give(Wake(None, outages=outages)).events == (), (
        "nobody knows yet for how long it was away"
    )
    story.give(Wake(4_000, outages=outages))
    assert story["approved"].do.limit == began + 13_000
    assert story.give(Wake(4_000, outages=outages)).events == ()
    story.advance(3_000).give(Wake(4_000, outages=outages))
    assert story.status == "compensating"
    story.check_history()


def test_a_sleep_knows_no_outages() -> None:
    """The time has come all the same."""
    story = waiting(sleeps(), "ship").advance(HOUR)
    story.give(Wake(None))
    assert story["sleep"].do.state is PhaseStatus.DONE


def test_a_wait_without_a_time_costs_no_looks() -> None:
    """It is in the wake index, far away."""
    story = waiting(waits(timeout=None), "ship")
    assert dates(story.run) == []
    assert (wake_at(story.run) or 0) - NOON > 7 * DAY


# --- operators ---------------------------------------------------------------------------------


def test_a_paused_run_keeps_what_it_is_sent() -> None:
    """And takes it when it is resumed."""
    story = asks().do("reserve")
    story.pause()
    assert send(story) == []
    assert story["approved"].do.state is PhaseStatus.OPEN
    assert [dispatch.step for dispatch in story.resume().dispatches] == ["ship"]


def test_paused_time_does_not_count_but_a_date_is_a_date() -> None:
    """What has passed meanwhile ends as soon as the run goes on."""
    sleeping = waiting(sleeps(), "ship").advance(1_000)
    sleeping.pause()
    assert wake_at(sleeping.run) != NOON + HOUR, "nobody looks at it again and again"
    sleeping.advance(2 * HOUR).wake()
    sleeping.resume()
    assert sleeping["sleep"].do.limit == NOON + 3 * HOUR
    dated = waiting(sleeps(until=NOON + HOUR, timeout=None), "ship").advance(1_000)
    dated.pause()
    dated.advance(2 * HOUR).resume()
    dated.wake()
    assert dated["sleep"].do.state is PhaseStatus.DONE
    sleeping.check_history()


def test_a_cancel_ends_a_wait() -> None:
    """It is skipped, and nobody looks at its time any more."""
    story = asks().do("reserve")
    story.cancel()
    assert story["approved"].status is StepStatus.SKIPPED
    assert NOON + DAY not in dates(story.run)
    story.undo("reserve")
    assert story.status == "compensated"
    story.check_history()


def test_a_deadline_ends_a_wait() -> None:
    """As a cancel does."""
    story = waiting("reserve", waits(timeout=None), "ship", deadline=HOUR).do("reserve")
    story.advance(HOUR).wake()
    story.undo("reserve")
    assert (story.status, story.run.why) == ("compensated", "deadline")


def test_a_terminated_run_waits_for_nothing() -> None:
    """It is at rest."""
    story = asks().do("reserve")
    story.terminate()
    assert wake_at(story.run) is None
    assert story.advance(DAY).wake().events == ()


def test_a_wait_may_be_skipped() -> None:
    """By an operator, who gives its result."""
    story = asks().do("reserve")
    assert [dispatch.step for dispatch in story.skip("approved").dispatches] == ["ship"]
    story.do("ship")
    assert story.status == "completed"


def owing() -> Story:
    """A run past its pivot, whose wait took too long."""
    story = waiting(step("charge", pivot=True), waits(timeout=HOUR), "ship")
    story.do("charge").advance(HOUR)
    story.wake()
    return story


def test_past_the_pivot_a_wait_asks_an_operator() -> None:
    """Who lets it wait anew, for as long; or goes on without."""
    story = owing()
    assert (story.status, story.run.owed) == ("failed", ("approved",))
    story.advance(DAY).retry("approved")
    assert story["approved"].do.limit == story.now + HOUR
    assert story.retry("approved").events == (), "the same again is no other"
    send(story)
    assert story["ship"].do.state is PhaseStatus.SCHEDULED
    other = owing()
    other.skip("approved")
    other.do("ship")
    assert other.status == "completed"
    story.check_history()


def test_time_at_rest_does_not_count_for_waits() -> None:
    """A branch waits while another asks an operator: it waits as much longer."""
    story = waiting(
        step("charge", pivot=True),
        step("print", after=("charge",)),
        waits(timeout=HOUR, after=("charge",)),
    )
    story.do("charge").give_up("print")
    assert story.status == "failed"
    story.advance(DAY).retry("print")
    assert story["approved"].do.limit == NOON + HOUR + DAY
    story.do("print")
    send(story)
    assert story.status == "completed"


def test_a_plan_without_waits_is_what_it_was() -> None:
    """Plans of earlier versions keep their fingerprints."""
    assert (
        saga("reserve").fingerprint
        == Plan.model_validate_json(
            saga("reserve").model_dump_json(exclude_defaults=True)
        ).fingerprint
    )
    assert "wait" not in saga("reserve").model_dump_json(exclude_defaults=True)
