"""A run on its way forward: start, claim, complete, fail, try again, give up.

Owns: what a step's own attempts lead to.  Refuses to know: how things are undone, and time limits.

The file is long because each answer to each command is a story of its own.
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.errors import RunConflict, RunExists
from celeriac.machine import RetryRule
from celeriac.machine.commands import Claim, Complete
from celeriac.machine.events import Dispatch, EventKind
from celeriac.machine.steps import PhaseStatus, StepStatus
from celeriac.machine.timing import due
from tests.machine.story import NOON, Story, budget, refused, saga, started, step

FAR = '{"queue": "far"}'  # how a task wants to be sent

# --- starting ----------------------------------------------------------------------------------


def test_a_run_starts_with_its_first_step() -> None:
    """Accepting a run schedules what waits for nothing, and says which message to send."""
    story = Story(saga("reserve", "charge"))
    done = story.start(tags=(("customer", "7"),))

    assert story.status == "running"
    assert story.run.tags == (("customer", "7"),)
    assert list(done.dispatches) == [Dispatch("reserve", "do", 1, NOON)]
    assert story["charge"].status is StepStatus.PENDING


def test_the_same_start_again_is_the_same_run() -> None:
    """A client that lost the reply to its start may ask again, also much later (I10, I11)."""
    story = started("reserve", "charge")
    story.do("reserve")

    done = story.start()

    assert not done.events
    assert not done.dispatches


def test_another_start_with_the_same_input_joins() -> None:
    """The same id with the same input is the same run, whoever asks."""
    story = started("reserve")
    done = story.start(nonce="call-2")

    assert not done.events
    assert done.run.starter == "call-1"


@pytest.mark.parametrize("if_exists", ["join", "fail", "restart"])
def test_another_start_with_another_input_is_an_error(if_exists: Any) -> None:
    """The same id with another input never touches a run that is under way (I10)."""
    story = started("reserve")
    error = RunExists if if_exists == "fail" else RunConflict
    with pytest.raises(error, match="order-42"):
        story.start(nonce="call-2", digest="other", if_exists=if_exists)


def test_fail_refuses_also_the_same_input() -> None:
    """Who asks for a new run, and nothing else, learns that there is one."""
    story = started("reserve").do("reserve")
    with pytest.raises(RunExists, match="completed"):
        story.start(nonce="call-2", if_exists="fail")


@pytest.mark.parametrize("end", ["completed", "compensated", "terminated"])
def test_an_ended_run_starts_anew(end: str) -> None:
    """A restart takes nothing over but the id and the history, and has keys of its own."""
    story = started("reserve", "charge")
    if end == "completed":
        story.do("reserve", "charge")
    elif end == "compensated":
        story.cancel()
    else:
        story.claim("reserve")
        story.terminate()
    assert story.status == end

    story.start(nonce="call-2", digest="other", if_exists="restart")

    assert story.run.epoch == 2
    assert story.run.key == "order-42~2"
    assert story.states() == {"reserve": PhaseStatus.SCHEDULED, "charge": PhaseStatus.IDLE}
    assert (story.run.why, story.run.reason, story.run.ended_at) == ("", "", 0)
    story.do("reserve", "charge")
    assert story.status == "completed"
    story.check_history()


def test_a_restart_twice_is_one_restart() -> None:
    """A client that lost the reply to its restart does not start a third run."""
    story = started("reserve").do("reserve")
    story.start(nonce="call-2", if_exists="restart")
    done = story.start(nonce="call-2", if_exists="restart")

    assert not done.events
    assert done.run.epoch == 2


def test_a_run_that_owes_something_does_not_start_anew() -> None:
    """What is owed would be forgotten: it has to be settled first, and the error says how."""
    story = started("reserve", "charge").do("reserve").give_up("charge", effect=False)
    story.give_up("reserve", "undo")
    assert story.status == "failed"
    with pytest.raises(RunConflict, match="owes reserve: retry, waive or terminate"):
        story.start(nonce="call-2", if_exists="restart")


# --- claiming ----------------------------------------------------------------------------------


def test_steps_run_one_after_the_other() -> None:
    """Each step is scheduled when the one before it has completed, and the last ends the run."""
    story = started("reserve", "charge", "ship")
    for name, following in [("reserve", "charge"), ("charge", "ship")]:
        story.claim(name)
        assert [d.step for d in story.complete(name).dispatches] == [following]
    story.do("ship")

    assert story.status == "completed"
    assert [story[name].order for name in ("reserve", "charge", "ship")] == [1, 2, 3]
    story.check_history()


def test_branches_run_beside_each_other_and_join() -> None:
    """A step that waits for two is scheduled by whichever of them completes last."""
    story = started(
        "order",
        step("pay", after=("order",)),
        step("pack", after=("order",)),
        step("ship", after=("pay", "pack")),
    )
    story.do("order")
    assert [d.step for d in sorted(due(story.run), key=lambda d: d.step)] == ["pack", "pay"]
    story.claim("pay")
    story.do("pack")
    assert story.states()["ship"] is PhaseStatus.IDLE
    assert [d.step for d in story.complete("pay").dispatches] == ["ship"]


def test_a_claim_twice_is_one_claim() -> None:
    """Whoever lost the reply to a claim may claim again, and holds the same attempt (I11)."""
    story = started("reserve")
    story.claim("reserve", holder="me")
    done = story.claim("reserve", attempt=1, holder="me")

    assert not done.events
    assert done.run.step("reserve").do.attempt == 1


def test_a_doubled_message_is_not_run_twice() -> None:
    """The second copy of a message finds the attempt taken (I3)."""
    story = started("reserve")
    story.claim("reserve")
    with refused("not_due"):
        story.claim("reserve", attempt=1, holder="other")


def test_a_step_with_a_result_is_not_run_again() -> None:
    """A redelivered message of a completed step is told so: the chain it is in may go on."""
    story = started("reserve", "charge").do("reserve")
    with refused("completed"):
        story.claim("reserve", attempt=1, holder="other")


def test_an_old_message_does_not_take_a_newer_attempt() -> None:
    """A message names its attempt: one that was delayed past its retry is stale."""
    story = started("reserve")
    story.claim("reserve")
    story.fail("reserve")
    story.advance(1_000)
    with refused("stale"):
        story.claim("reserve", attempt=1, holder="other")


def test_a_step_is_not_claimed_before_its_turn() -> None:
    """A link of a chain that overtook the one before it does nothing (I8)."""
    story = started("reserve", "charge")
    with refused("not_due"):
        story.claim("charge")


def test_nothing_is_claimed_of_a_run_at_rest() -> None:
    """The messages of a run that has ended find nothing to do."""
    story = started("reserve", "charge")
    story.cancel()
    assert story.status == "compensated"
    with refused("not_due"):
        story.claim("reserve")


# --- failing -----------------------------------------------------------------------------------


def test_a_failed_step_is_tried_again() -> None:
    """With attempts left, a failure schedules the next attempt after the policy's delay."""
    story = started(step("reserve", retry=budget(attempts=3)), "charge")
    story.claim("reserve")
    done = story.fail("reserve")

    assert list(done.dispatches) == [Dispatch("reserve", "do", 2, NOON + 1_000)]
    assert story["reserve"].status is StepStatus.RETRYING
    story.advance(1_000).do("reserve")
    assert story["reserve"].do.attempt == 2


def test_a_long_delay_is_not_sent_ahead() -> None:
    """A retry that is far off waits in the wake index, never as a message with an ETA."""
    story = started(step("reserve", retry=budget(delay=60_000)))
    story.claim("reserve")
    done = story.fail("reserve")
    assert not done.dispatches
    assert done.wake_at == NOON + 60_000

    with refused("not_due"):
        story.claim("reserve")
    story.advance(60_000)
    assert list(story.wake().dispatches) == [Dispatch("reserve", "do", 2, story.now)]
    story.do("reserve")
    assert story.status == "completed"


def test_how_a_task_wants_to_be_sent_is_kept() -> None:
    """From the attempt that asked on, also over a loss, until the step ends or has a new budget."""
    story = started(step("reserve", retry=budget(4, delay=60_000)))
    story.claim("reserve")
    story.fail("reserve", via=FAR)
    assert story["reserve"].do.via == FAR
    story.advance(60_000)
    story.lose("reserve")
    assert story["reserve"].do.via == FAR
    story.advance(60_000)
    story.claim("reserve")
    story.fail("reserve")  # asks for nothing else
    assert story["reserve"].do.via == FAR
    story.advance(60_000)
    story.claim("reserve")
    story.fail("reserve", via='{"queue": "farther"}')
    assert not story["reserve"].do.via  # there is no other attempt
    assert "via" not in story.history[-2].data


def test_what_was_asked_for_ends_with_the_budget() -> None:
    """An operator's retry, and a success, know nothing of it."""
    story = started(step("reserve", retry=budget(2, delay=60_000), on_unknown="operator"))
    story.claim("reserve")
    story.fail("reserve", via=FAR)
    story.advance(60_000)
    story.lose("reserve")
    story.retry("reserve")
    assert not story["reserve"].do.via
    story.claim("reserve")
    story.fail("reserve", via=FAR)
    story.advance(60_000)
    story.do("reserve")
    assert not story["reserve"].do.via


def test_where_no_message_is_held_back_no_retry_is_sent_ahead() -> None:
    """However short its delay, also after a time-out, it waits in the wake index."""
    story = started(step("reserve", retry=budget(3, delay=500), timeout=1_000))
    story.claim("reserve")
    done = story.fail("reserve", longest_eta=0)
    assert not done.dispatches
    assert done.wake_at == NOON + 500
    story.advance(500)
    assert list(story.wake(longest_eta=0).dispatches) == [Dispatch("reserve", "do", 2, story.now)]
    story.claim("reserve")
    story.advance(60_000)
    assert not story.wake(longest_eta=0).dispatches
    assert (story["reserve"].do.state, story["reserve"].do.sent) == ("retrying", False)


def test_a_message_may_come_a_little_early() -> None:
    """A worker whose clock is ahead takes a short retry early; that is no harm."""
    story = started("reserve")
    story.claim("reserve")
    story.fail("reserve")
    story.claim("reserve")
    assert story["reserve"].do.attempt == 2


def test_a_step_may_ask_for_its_own_delay() -> None:
    """`self.retry(countdown=)` of a Celery task overrides the policy's delay, not its budget."""
    story = started("reserve", "charge")
    story.claim("reserve")
    assert story.fail("reserve", delay=1_500).dispatches[0].at == NOON + 1_500
    story.advance(1_500).claim("reserve")
    story.fail("reserve", delay=1_500)
    assert story.status == "compensating"


def test_delays_grow_with_the_attempts() -> None:
    """The policy's backoff counts the attempts that were made."""
    rule = RetryRule(max_attempts=4, initial_delay=10_000, jitter=False)
    story = started(step("reserve", retry=rule))
    waits = []
    for _ in range(3):
        story.claim("reserve")
        story.fail("reserve")
        waits.append(story["reserve"].do.at - story.now)
        story.now = story["reserve"].do.at
        story.wake()
    assert waits == [10_000, 20_000, 40_000]


def test_a_poison_step_is_capped() -> None:
    """Attempts are counted when they are claimed, so one that kills its worker ends too (L3)."""
    story = started(step("reserve", retry=budget(attempts=3)))
    for _ in range(3):
        story.lose("reserve")
    assert story["reserve"].do.state is PhaseStatus.UNKNOWN
    assert story.status == "compensating"


def test_a_step_may_be_tried_for_ever() -> None:
    """Without a limit on attempts the run never turns round by itself."""
    story = started(step("reserve", retry=budget(attempts=None)))
    for _ in range(50):
        story.claim("reserve")
        story.fail("reserve")
    assert story.status == "running"
    assert story["reserve"].do.attempt == 50


@pytest.mark.parametrize("how", [{"kind": "abort"}, {"retryable": False}])
def test_some_errors_are_not_tried_again(how: dict[str, Any]) -> None:
    """`Abort`, and what the policy says is not worth it, turn the run round at once."""
    story = started("reserve")
    story.claim("reserve")
    story.fail("reserve", **how)
    assert story.status == "compensating"
    assert (story.run.why, story.run.failed_step) == ("failed", "reserve")


def test_a_failure_that_proves_it_had_no_effect_leaves_nothing_to_undo() -> None:
    """`Abort(effect=False)` in the first attempt: the step's own undo does not run."""
    story = started("reserve", "charge").do("reserve").give_up("charge", effect=False)

    assert story["charge"].status is StepStatus.FAILED
    assert story.states("undo") == {"reserve": PhaseStatus.SCHEDULED, "charge": PhaseStatus.IDLE}
    story.undo("reserve")
    assert story.status == "compensated"


@pytest.mark.parametrize("effect", [None, True])
def test_a_failure_that_does_not_is_undone_too(effect: bool | None) -> None:
    """A step that failed in any other way may have had its effect: its undo runs first."""
    story = started("reserve", "charge").do("reserve").give_up("charge", effect=effect)

    assert story.states("undo")["charge"] is PhaseStatus.SCHEDULED
    story.undo("charge", "reserve")
    assert story.status == "compensated"


def test_the_last_failure_does_not_speak_for_the_earlier_ones() -> None:
    """Unknown is sticky: attempt 1 may have had the effect that attempt 2 was refused (I6)."""
    story = started("reserve").lose("reserve").give_up("reserve", effect=False)
    assert story["reserve"].may_have_effect
    assert story["reserve"].undo.state is PhaseStatus.SCHEDULED


def test_every_failure_without_effect_leaves_nothing_to_undo() -> None:
    """Only if every attempt proves that it had no effect, the step counts as not applied."""
    story = started("reserve")
    story.claim("reserve")
    story.fail("reserve", effect=False)
    story.claim("reserve")
    story.fail("reserve", effect=False)
    assert story.status == "compensated"
    assert story["reserve"].undo.attempt == 0


# --- settling twice, and by others -------------------------------------------------------------


def test_a_result_twice_is_one_result() -> None:
    """Whoever lost the reply may report again: the step is not completed twice (I11, I15)."""
    story = started("reserve", "charge").do("reserve")
    assert not story.complete("reserve").events


def test_a_failure_twice_is_one_failure() -> None:
    """A repeated report does not use up another attempt (I11)."""
    story = started("reserve")
    story.claim("reserve")
    story.fail("reserve")
    assert not story.fail("reserve").events
    assert story["reserve"].do.attempt == 1


def test_a_report_of_somebody_else_is_refused() -> None:
    """Only the holder of an attempt's token can record how it ended (I4)."""
    story = started("reserve")
    story.claim("reserve", holder="me")
    for command in (
        Complete("reserve", "do", 1, "somebody"),
        Complete("reserve", "do", 1, ""),
        Complete("reserve", "do", 2, "me"),
        Complete("reserve", "do", 0, "me"),
    ):
        with refused("stale"):
            story.give(command)
    story.fail("reserve", effect=False)
    with refused("stale"):
        story.give(Complete("reserve", "do", 1, "somebody"))
    assert story["reserve"].status is StepStatus.RETRYING


def test_a_heartbeat_says_whether_the_attempt_counts() -> None:
    """It changes nothing, and is refused once another attempt was given the step."""
    story = started("reserve")
    story.claim("reserve")
    assert not story.heartbeat("reserve").events
    story.expire("reserve")
    with refused("stale"):
        story.heartbeat("reserve")
    story.claim("reserve")
    with refused("stale"):
        story.heartbeat("reserve", attempt=1)


def test_a_heartbeat_tells_a_cancelled_step_to_stop() -> None:
    """A step whose run turned round learns it at its next heartbeat."""
    story = started("reserve")
    story.claim("reserve")
    story.cancel()
    with refused("stopping"):
        story.heartbeat("reserve")


def test_the_attempt_of_a_former_run_is_refused() -> None:
    """After a restart, tokens of the run before are good for nothing."""
    story = started("reserve")
    story.claim("reserve", holder="old")
    story.terminate()
    story.start(nonce="call-2", if_exists="restart")
    with refused("stale"):
        story.give(Complete("reserve", "do", 1, "old"))
    with refused("stale"):
        story.give(Claim("reserve", "do", 1, "old"))


# --- past the pivot ----------------------------------------------------------------------------


def test_past_the_pivot_a_step_is_tried_until_it_succeeds() -> None:
    """After the pivot there is no way back, so the budget of a step does not end it."""
    story = started(step("charge", pivot=True), step("ship", retry=budget(attempts=1)))
    story.do("charge")
    for _ in range(5):
        story.claim("ship")
        story.fail("ship", retryable=False)
        story.lose("ship")
    story.do("ship")
    assert story.status == "completed"
    assert story["ship"].do.attempt == 11


def test_past_the_pivot_an_abort_waits_for_an_operator() -> None:
    """A step that gives up after the pivot is owed; a retry goes on where it stopped."""
    story = started(step("charge", pivot=True), "ship").do("charge").give_up("ship")

    assert story.status == "failed"
    assert story.run.owed == ("ship",)
    assert story["charge"].undo.state is PhaseStatus.IDLE

    assert [d.attempt for d in story.retry().dispatches] == [2]
    assert story.status == "running"
    story.do("ship")
    assert story.status == "completed"
    assert story.run.failed_step == "", "nothing failed in the end"
    story.check_history()


def test_past_the_pivot_a_branch_at_work_goes_to_its_end() -> None:
    """Where one branch gave up, another's result is recorded, and nothing is undone (I8)."""
    order = ("order",)
    story = started(
        step("order", pivot=True),
        step("pay", after=order),
        step("pack", after=order),
        step("label", after=("pack",)),
    )
    story.do("order")
    story.claim("pack")
    story.give_up("pay")
    story.complete("pack")
    assert story.status == "failed"
    assert story.run.owed == ("pay",)

    assert [d.step for d in story.retry().dispatches] == ["label", "pay"]
    story.do("pay", "label")
    assert story.status == "completed"


def test_before_the_pivot_completed_a_run_turns_round_as_ever() -> None:
    """The pivot itself may fail, and then what came before it is undone."""
    story = started("reserve", step("charge", pivot=True)).do("reserve")
    story.give_up("charge", effect=False).undo("reserve")
    assert story.status == "compensated"


def test_an_event_for_a_step_is_kept_in_the_history() -> None:
    """The history tells each attempt with its error, and what became of it."""
    story = started("reserve")
    story.claim("reserve")
    story.fail("reserve", code="card_declined", effect=False)
    failed = story.history[-1]
    assert (failed.kind, failed.attempt) == (EventKind.FAILED, 1)
    assert failed.data["error"] == "BankDown"
    assert failed.data["code"] == "card_declined"
    assert failed.data["effect"] is False
    story.check_history()
