"""What time does to a run: leases, time limits, deadlines, outages, messages that do not come.

Owns: every decision in which the clock has a say.  Refuses to know: who looks at the clock.

The file is long because each decision of the clock is shown before and after its moment.
"""

from __future__ import annotations

import pytest

from celeriac.machine import Undo
from celeriac.machine.commands import Block, Expire, Redispatch, Unblock
from celeriac.machine.events import Dispatch, Event, EventKind
from celeriac.machine.moves import fold
from celeriac.machine.steps import NOT_SENT, PhaseStatus
from celeriac.machine.timing import PATROL, overdue
from tests.machine.story import GRACE, NOON, Story, budget, refused, saga, started, step

TIMEOUT = 30_000
DEADLINE = 600_000


# --- leases ------------------------------------------------------------------------------------


def test_a_lost_attempt_is_tried_again_at_once() -> None:
    """When a lease runs out the outcome is unknown, and the step is tried again under its key."""
    story = started("reserve")
    story.claim("reserve")
    done = story.expire("reserve")

    assert list(done.dispatches) == [Dispatch("reserve", "do", 2, NOON)]
    assert story["reserve"].may_have_effect
    story.do("reserve")
    assert story.status == "completed"


def test_the_last_lost_attempt_turns_the_run_round() -> None:
    """With the budget used up the step's outcome stays unknown, and it is undone."""
    story = started("reserve").lose("reserve").lose("reserve")
    assert story["reserve"].do.state is PhaseStatus.UNKNOWN
    assert (story.status, story.run.failed_step) == ("compensating", "reserve")


def test_a_policy_may_not_try_again_after_a_loss() -> None:
    """A step that must not run twice without an answer is undone after its first lost attempt."""
    careful = step("reserve", retry=budget(attempts=5, after_loss=False))
    assert started(careful).lose("reserve").status == "compensating"

    story = started(careful)
    story.claim("reserve")
    story.fail("reserve", kind="timeout")
    assert story.status == "compensating"


def test_a_lease_that_runs_out_twice_loses_one_attempt() -> None:
    """Two sweeps that see the same lease are one loss (I11)."""
    story = started("reserve").lose("reserve")
    assert not story.expire("reserve", attempt=1).events


def test_the_lease_of_an_older_attempt_loses_nothing() -> None:
    """An entry of the wake index that was left behind does not touch the attempt at work."""
    story = started("reserve").lose("reserve")
    story.claim("reserve")
    assert not story.expire("reserve", attempt=1).events
    assert story["reserve"].do.state is PhaseStatus.RUNNING


def test_the_lease_of_a_settled_attempt_loses_nothing() -> None:
    """A result that was recorded stays recorded."""
    story = started("reserve").do("reserve")
    assert not story.expire("reserve", attempt=1).events
    assert story.status == "completed"


# --- time limits -------------------------------------------------------------------------------


def test_an_attempt_over_its_limit_is_given_up() -> None:
    """The state enforces a timeout where the pool cannot: limit and grace after the claim."""
    story = started(step("reserve", timeout=TIMEOUT))
    done = story.claim("reserve")
    assert done.wake_at == NOON + TIMEOUT + GRACE

    story.advance(TIMEOUT + GRACE - 1)
    assert not story.wake().events
    story.advance(1)
    done = story.wake()

    assert [(e.kind, e.data["why"]) for e in done.events] == [(EventKind.LOST, "timeout")]
    assert story["reserve"].do.state is PhaseStatus.RETRYING
    assert done.dispatches[0].at == story.now + 1_000, "after the policy's delay, unlike a lost one"


def test_the_last_attempt_over_its_limit_turns_the_run_round() -> None:
    """A timeout is an unknown outcome: the step is compensated."""
    story = started(step("reserve", timeout=TIMEOUT, retry=budget(attempts=1)))
    story.claim("reserve")
    story.advance(TIMEOUT + GRACE)
    story.wake()
    assert story.status == "compensating"
    assert story["reserve"].do.state is PhaseStatus.UNKNOWN


def test_an_undo_has_a_limit_too() -> None:
    """A compensation that hangs is given up, tried again, and owed in the end."""
    undo = Undo(task="shop.undo_reserve", wants=(), retry=budget(), timeout=TIMEOUT)
    story = started(step("reserve", undo=undo)).do("reserve")
    story.cancel()
    for _ in range(2):
        story.claim("reserve", "undo")
        story.advance(TIMEOUT + GRACE)
        story.wake()
        story.advance(1_000)
    assert story.status == "failed"
    assert story.run.owed == ("reserve",)


def test_a_limit_ends_with_its_attempt() -> None:
    """A settled attempt is not given up later."""
    story = started(step("reserve", timeout=TIMEOUT), "charge").do("reserve")
    story.claim("charge")
    story.advance(10 * TIMEOUT)
    assert not story.wake().events


def test_a_step_without_a_limit_may_take_its_time() -> None:
    """The run is looked at now and then all the same."""
    story = started("reserve")
    assert story.claim("reserve").wake_at == NOON + PATROL
    story.advance(PATROL)
    assert not story.wake().events


# --- deadlines ---------------------------------------------------------------------------------


def test_a_deadline_turns_the_run_round() -> None:
    """What was done is undone when the run is not done at its deadline."""
    story = started("reserve", "charge", deadline=DEADLINE).do("reserve")
    assert story.wake().wake_at == NOON + GRACE, "the message of charge comes first"
    story.advance(DEADLINE - 1)
    assert not story.wake().events
    story.advance(1)
    story.wake()
    assert (story.status, story.run.why) == ("compensating", "deadline")
    assert story.run.failed_step == ""


def test_a_deadline_waits_for_the_attempt_at_work() -> None:
    """The step that runs over the deadline is told to stop, waited for, and undone (I7)."""
    story = started("reserve", deadline=DEADLINE)
    story.claim("reserve")
    story.advance(DEADLINE)
    story.wake()
    with refused("stopping"):
        story.heartbeat("reserve")
    assert story["reserve"].undo.state is PhaseStatus.IDLE
    story.complete("reserve")
    story.undo("reserve")
    assert story.status == "compensated"


def test_a_deadline_may_only_alert() -> None:
    """`on_deadline="alert"` tells once, and the run goes on."""
    story = started("reserve", deadline=DEADLINE, on_deadline="alert")
    story.advance(DEADLINE)
    done = story.wake()
    assert [event.kind for event in done.events] == [EventKind.OVERDUE]
    assert done.wake_at == NOON + GRACE, "for its message; the deadline is done with"
    assert not story.wake().events
    assert story.claim("reserve").wake_at == story.now + PATROL
    story.complete("reserve")
    assert story.status == "completed"


def test_past_the_pivot_a_deadline_only_alerts() -> None:
    """There is no way back any more, so somebody is told."""
    story = started(step("charge", pivot=True), "ship", deadline=DEADLINE).do("charge")
    story.advance(DEADLINE)
    story.wake()
    assert story.status == "running"
    assert story.run.overdue


@pytest.mark.parametrize("end", ["completed", "compensating"])
def test_a_deadline_that_does_not_matter_any_more(end: str) -> None:
    """A run that ended in time, or goes back already, has no deadline."""
    story = started("reserve", "charge", deadline=DEADLINE).do("reserve")
    if end == "completed":
        story.do("charge")
    else:
        story.cancel()
    version = story.run.version
    story.advance(DEADLINE)
    story.wake()
    assert not story.happened(EventKind.OVERDUE)
    assert story.run.why != "deadline"
    assert story.run.version == version


def test_an_outage_is_added_to_the_deadline() -> None:
    """The time in which nobody could work does not count, and is credited once (L5)."""
    story = started("reserve", deadline=DEADLINE)
    story.advance(DEADLINE)
    story.wake(credit=60_000)
    assert story.status == "running"
    assert story.run.deadline == NOON + DEADLINE + 60_000

    story.advance(59_999)
    assert not story.wake(credit=60_000).events
    story.advance(1)
    story.wake(credit=60_000)
    assert story.run.why == "deadline"
    assert len(story.happened(EventKind.EXTENDED)) == 1
    story.check_history()


def test_two_outages_are_added_up() -> None:
    """What was credited before is not credited again."""
    story = started("reserve", deadline=DEADLINE)
    story.advance(DEADLINE)
    story.wake(credit=60_000)
    story.advance(60_000)
    story.wake(credit=100_000)
    assert story.run.deadline == NOON + DEADLINE + 100_000
    assert story.run.credited == 100_000


def test_an_outage_shorter_than_the_delay_does_not_save_the_run() -> None:
    """The deadline is passed with the credit too: both are told."""
    story = started("reserve", deadline=DEADLINE)
    story.advance(DEADLINE + 60_000)
    kinds = [event.kind for event in story.wake(credit=1_000).events]
    assert kinds[:2] == [EventKind.EXTENDED, EventKind.COMPENSATION_STARTED]


def test_while_outages_are_not_known_nothing_is_judged() -> None:
    """Just after an outage neither deadlines nor limits turn a run round; retries go out (L5)."""
    rule = budget(attempts=1)
    late = started(step("reserve", timeout=TIMEOUT, retry=rule), deadline=DEADLINE)
    late.claim("reserve")
    late.advance(DEADLINE)
    assert not late.wake(credit=None).events
    assert late.wake().events

    waiting = started(step("reserve", retry=budget(delay=10_000)))
    waiting.claim("reserve")
    waiting.fail("reserve")
    waiting.advance(10_000)
    assert [d.attempt for d in waiting.wake(credit=None).dispatches] == [2]


def test_a_deadline_and_a_limit_at_the_same_moment() -> None:
    """The attempt is given up and the run turns round once, for the first of both reasons."""
    story = started(step("reserve", timeout=TIMEOUT), deadline=TIMEOUT + GRACE)
    story.claim("reserve")
    story.advance(TIMEOUT + GRACE)
    story.wake()
    assert story.happened(EventKind.LOST) == ["reserve"]
    assert story.run.why == "deadline"
    assert len(story.happened(EventKind.COMPENSATION_STARTED)) == 1
    assert story["reserve"].do.state is PhaseStatus.UNKNOWN


# --- messages ----------------------------------------------------------------------------------


def lost_message(story: Story, ms: int) -> list[Dispatch]:
    """Let *ms* pass and return what should have arrived by then."""
    story.advance(ms)
    return overdue(story.run, story.now)


def test_a_message_that_does_not_come_is_sent_again() -> None:
    """After the grace it counts as overdue; sent again, it has the grace again."""
    story = started("reserve")
    assert lost_message(story, GRACE - 1) == []
    (dispatch,) = lost_message(story, 1)
    assert not story.wake().events, "whether it is lost or waits in a queue is not known here"

    done = story.give(Redispatch(dispatch))
    assert list(done.dispatches) == [Dispatch("reserve", "do", 1, story.now)]
    assert not story.give(Redispatch(dispatch)).events, "two sweeps send one message"
    story.do("reserve")
    assert story.status == "completed"


def test_patience_grows_with_each_message() -> None:
    """The longer nobody answers, the rarer it is sent again, so that a backlog is no storm."""
    story = started("reserve")
    waits = []
    for _ in range(7):
        sent_at = story.now
        while not (late := lost_message(story, 1_000)):
            pass
        waits.append(story.now - sent_at)
        story.give(Redispatch(late[0]))
    assert waits == [5_000, 10_000, 20_000, 40_000, 60_000, 60_000, 60_000]

    story.claim("reserve")
    story.fail("reserve")
    assert story["reserve"].do.sends == 0, "a new attempt is looked for as soon as the first"


def test_patience_ends_sooner_where_a_worker_said_that_it_cannot() -> None:
    """A step that some worker does not know is offered again before long: another may know it."""
    story = started("reserve")
    story.give(Block("reserve", "worker w1 does not know the task"))
    waits = []
    for _ in range(4):
        sent_at = story.now
        while not (late := lost_message(story, 1_000)):
            pass
        waits.append(story.now - sent_at)
        story.give(Redispatch(late[0]))
    assert waits == [5_000, 10_000, 20_000, 20_000]


def test_each_message_of_an_attempt_has_its_number() -> None:
    """Also where patience no longer grows: whoever revokes one must not revoke the next."""
    story = started("reserve")
    story.give(Block("reserve", "worker w1 does not know the task"))
    numbers = []
    for _ in range(6):
        while not (late := lost_message(story, 1_000)):
            pass
        done = story.give(Redispatch(late[0]))
        numbers.append((done.events[0].data["again"], done.run.step("reserve").do.sends))
    assert numbers == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]


def test_a_history_of_version_0_1_0_makes_the_run_it_made_then() -> None:
    """Its events do not tell how often a message was sent: that was counted, up to a limit."""
    story = started("reserve")
    story.give(Block("reserve", "worker w1 does not know the task"))
    again = Event(NOON, EventKind.DISPATCHED, "reserve", "do", 1, {"why": "unclaimed"})
    run = fold(story.plan, "order-42", [*story.history, *[again] * 5])
    assert run is not None
    assert run.step("reserve").do.sends == 2


def test_a_message_that_came_is_not_sent_again() -> None:
    """Redispatching what has been claimed meanwhile does nothing."""
    story = started("reserve")
    (dispatch,) = lost_message(story, GRACE)
    story.claim("reserve")
    assert not story.give(Redispatch(dispatch)).events


def test_a_message_is_not_sent_again_before_its_time() -> None:
    """Only what is overdue is sent again, whatever somebody asks for."""
    story = started("reserve")
    assert not story.give(Redispatch(Dispatch("reserve", "do", 1, NOON))).events
    assert not story.give(Redispatch(Dispatch("nothing", "do", 1, NOON))).events


# --- nobody can run it -------------------------------------------------------------------------


def test_a_worker_without_the_task_says_so() -> None:
    """The run waits, uses nothing up, and shows the reason until somebody takes the step (I14)."""
    story = started("reserve", "charge")
    story.give(Block("reserve", "worker a does not know the task shop.reserve"))
    assert story["reserve"].blocked == "worker a does not know the task shop.reserve"
    assert story["reserve"].do.attempt == 0

    done = story.give(Block("reserve", "worker a does not know the task shop.reserve"))
    assert not done.events
    story.claim("reserve")
    assert story["reserve"].blocked == ""


def test_a_worker_without_the_task_of_an_undo_says_so_too() -> None:
    """A compensation that nobody can run shows its reason at its step."""
    story = started("reserve").do("reserve")
    story.cancel()
    story.give(Block("reserve", "worker a does not know the task shop.undo_reserve"))
    assert story["reserve"].blocked
    story.undo("reserve")
    assert story["reserve"].blocked == ""


def test_a_message_that_cannot_be_sent() -> None:
    """The reason is shown until the message is sent; sending says nothing of what a worker said."""
    story = started("reserve")
    assert not story.give(Unblock("reserve")).events
    story.give(Block("reserve", NOT_SENT + "QueueNotFound"))
    assert story["reserve"].unsent
    done = story.give(Unblock("reserve"))
    assert [event.kind for event in done.events] == [EventKind.BLOCKED]
    assert (story["reserve"].blocked, story["reserve"].unsent) == ("", False)

    story.give(Block("reserve", "worker a does not know the task shop.reserve"))
    assert not story.give(Unblock("reserve")).events
    assert story["reserve"].blocked


@pytest.mark.parametrize("when", ["running", "completed", "later", "rest"])
def test_what_nobody_waits_for_is_not_blocked(when: str) -> None:
    """A stray message at a worker without the task is no reason to call a step blocked."""
    story = started("reserve", "charge")
    if when == "running":
        story.claim("reserve")
    elif when == "completed":
        story.do("reserve")
    elif when == "rest":
        story.cancel()
    name = "charge" if when == "later" else "reserve"
    assert not story.give(Block(name, "worker a does not know the task")).events


# --- at rest -----------------------------------------------------------------------------------


def test_time_does_nothing_to_a_run_at_rest() -> None:
    """A terminated run is left alone, with its deadline, its limit and the lease it had."""
    story = started(step("reserve", timeout=TIMEOUT), deadline=DEADLINE)
    story.claim("reserve")
    assert story.terminate().wake_at is None
    story.advance(DEADLINE)
    assert not story.wake().events
    assert not story.give(Expire("reserve", "do", 1)).events


def test_a_clock_that_jumps_back_is_no_reason_to_undo_early() -> None:
    """An attempt lost after the jump does not shorten the wait after one lost before it."""
    story = started("order", step("pay", after=("order",)), step("pack", after=("order",)))
    story.do("order")
    story.claim("pack")
    story.lose("pay")
    quiet = story.run.compensate_not_before
    story.advance(-3_600_000)
    story.expire("pack")
    assert story.run.compensate_not_before == quiet


def test_a_new_plan_has_nothing_overdue() -> None:
    """A run that was just started is not looked for before its grace has passed."""
    story = Story(saga("reserve", deadline=DEADLINE))
    assert story.start().wake_at == NOON + GRACE
