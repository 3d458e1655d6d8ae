"""Results from outside: an attempt that nobody holds, until somebody says how it ended (I21).

Owns: what counts when it comes early, late, twice, or never.  Refuses to know: tokens and payloads
(`tests/engine`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine.commands import Wake
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus, StepStatus
from celeriac.machine.timing import dates, wake_at
from tests.machine.story import GRACE, Story, refused, started, step

MINUTE = 60_000


def asked(**values: Any) -> Story:
    """A run whose first step has asked somebody outside, who has a minute."""
    story = started(step("pay", **values), "ship")
    story.claim("pay")
    story.defer("pay", MINUTE)
    return story


def test_nobody_is_at_it_and_the_run_waits() -> None:
    """There is no lease and no message, but a date."""
    story = asked()
    assert story.states()["pay"] is PhaseStatus.DEFERRED
    assert story["pay"].status is StepStatus.WAITING
    assert story.run.shown is RunStatus.WAITING
    assert wake_at(story.run) == story.now + MINUTE
    with refused("not_due"):
        story.claim("pay", attempt=2)
    with refused("stale"):
        story.heartbeat("pay")
    assert not story.defer("pay").events


def test_a_result_lets_the_run_go_on() -> None:
    """What follows is due with it; the same again is no other one."""
    story = asked()
    done = story.say("pay")
    assert [each.step for each in done.dispatches] == ["ship"]
    assert story.states()["pay"] is PhaseStatus.DONE
    assert not story.say("pay").events
    assert not story.say("pay", effect=None).events


def test_a_failure_counts_as_an_abort() -> None:
    """It is not tried again; proven without effect, there is nothing to undo."""
    story = asked()
    story.say("pay", effect=False)
    assert story.status == "compensated"
    again = asked()
    again.say("pay", kind="error")
    assert again.states()["pay"] is PhaseStatus.RETRYING
    again.advance(1_000)
    again.claim("pay")
    again.say("pay", attempt=1)
    assert again.states()["pay"] is PhaseStatus.RUNNING
    assert again.history[-1].kind is EventKind.LATE


def test_who_brought_it_is_on_record() -> None:
    """However it comes: in time, as a failure, before its step has ended, or too late."""
    in_time, failed, early = asked(), asked(), started(step("pay"), "ship")
    in_time.say("pay", by="ada")
    failed.say("pay", by="ada", effect=False)
    early.claim("pay")
    early.say("pay", by="ada")
    late = asked()
    late.advance(MINUTE).wake()
    late.advance(1_000)
    late.claim("pay")
    late.say("pay", attempt=1, by="ada")
    for story, kind in (
        (in_time, EventKind.COMPLETED),
        (failed, EventKind.FAILED),
        (early, EventKind.KEPT),
        (late, EventKind.LATE),
    ):
        assert [each.data.get("by") for each in story.history if each.kind is kind] == ["ada"]
    nobody = asked()
    nobody.say("pay")
    assert "by" not in nobody.history[-1].data


def test_when_its_time_is_over_it_is_tried_again_or_undone() -> None:
    """Its outcome is unknown; nothing of ours is on its way, so nothing is waited for."""
    story = asked()
    story.advance(MINUTE).wake()
    assert story.states()["pay"] is PhaseStatus.RETRYING
    story.advance(1_000)
    story.claim("pay")
    story.defer("pay", MINUTE)
    story.advance(MINUTE).wake()
    assert story.states()["pay"] is PhaseStatus.UNKNOWN
    assert story.run.compensate_not_before <= story.now
    story.undo("pay")
    assert story.status == "compensated"
    done = story.say("pay")
    assert [event.kind for event in done.events] == [EventKind.COMPLETED, EventKind.REOPENED]
    story.undo("pay")
    assert story.status == "compensated"
    assert not story.say("pay").events


def test_an_outage_and_a_pause_give_it_more_time() -> None:
    """Nobody could bring a result, or an operator held the run."""
    story = asked()
    begun = story.now
    story.advance(MINUTE)
    story.give(Wake(0, outages=((begun, begun + 10_000),)))
    assert story["pay"].do.limit == begun + MINUTE + 10_000
    story.give(Wake(None))
    story.pause()
    assert not dates(story.run)
    story.advance(5_000).wake()
    story.resume()
    assert story["pay"].do.limit == begun + MINUTE + 15_000
    story.advance(15_000).wake()
    assert story.states()["pay"] is PhaseStatus.RETRYING


def test_all_attempts_together_may_have_a_limit() -> None:
    """What a step allows itself does not go past what its saga allows it."""
    story = asked(give_up_after=20_000)
    assert story["pay"].do.limit == story.now + 20_000
    story.advance(20_000).wake()
    assert story.states()["pay"] is PhaseStatus.UNKNOWN


@pytest.mark.parametrize("ends", ["complete", "fail", "defer", "expire", "postpone"])
def test_what_is_said_early_counts_when_the_attempt_ends(ends: str) -> None:
    """Whatever the body says, and also if its worker dies; until then it holds the step."""
    story = started("pay", "ship")
    story.claim("pay")
    assert not story.say("pay").dispatches
    assert story.states()["pay"] is PhaseStatus.RUNNING
    assert not story.say("pay", effect=False).events
    kind: dict[str, Any] = {"kind": "postpone", "delay": 1_000}
    if ends == "postpone":
        story.fail("pay", **kind)
    else:
        getattr(story, ends)("pay")
    assert story.states()["pay"] is PhaseStatus.DONE
    assert story.states()["ship"] is PhaseStatus.SCHEDULED


def test_a_worker_that_was_lost_may_still_have_its_effect() -> None:
    """Its result is there, and yet what it has on its way is waited for, and undone again."""
    story = started("pay")
    story.claim("pay")
    story.say("pay")
    story.cancel()
    story.expire("pay")
    assert story.states()["pay"] is PhaseStatus.DONE
    assert story.run.compensate_not_before == story.now + GRACE
    story.advance(GRACE)
    story.undo("pay")
    story.complete("pay", attempt=1)
    assert story.status == "compensating"


def test_an_early_failure_of_a_body_that_succeeds_may_have_had_an_effect() -> None:
    """The one says no, the other that it did something: it is undone."""
    story = started("pay")
    story.claim("pay")
    story.say("pay", effect=False)
    story.complete("pay")
    assert story["pay"].may_have_effect
    assert story.status == "compensating"


def test_a_run_that_turns_round_waits_for_nobody() -> None:
    """What was asked for may come about: it is undone at once, and once more if it does."""
    story = asked()
    story.cancel()
    assert story.states()["pay"] is PhaseStatus.UNKNOWN
    story.undo("pay")
    assert story.status == "compensated"
    story.say("pay")
    assert story.status == "compensating"
    later = started("pay")
    later.claim("pay")
    later.cancel()
    later.defer("pay")
    assert later.states()["pay"] is PhaseStatus.UNKNOWN
    assert not later.defer("pay").events
    later.undo("pay")


def test_an_operator_may_skip_what_somebody_outside_was_asked_for() -> None:
    """It may have had its effect; what comes is noted."""
    story = asked()
    story.skip("pay")
    assert story["pay"].may_have_effect
    story.say("pay")
    assert story.history[-1].kind is EventKind.LATE
    story.terminate()
    assert not story.say("pay").events


def test_a_terminated_run_takes_no_result() -> None:
    """It is noted, and nothing follows."""
    story = asked()
    story.terminate()
    story.say("pay")
    assert story.history[-1].kind is EventKind.LATE
    assert story.status == "terminated"


def test_a_token_of_a_step_that_ended_otherwise_is_no_reason_to_lose_its_word() -> None:
    """The body has failed by itself, and then somebody says that it took effect (I4)."""
    story = started("pay")
    story.claim("pay")
    story.fail("pay", kind="abort", effect=False)
    assert story.status == "compensated"
    story.say("pay", attempt=1)
    assert story.states()["pay"] is PhaseStatus.DONE
    assert story.status == "compensating"
