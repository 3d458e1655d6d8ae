"""A run is undone: what is undone, in which order, with which arguments, and what stays owed.

Owns: compensation after failures, and what operators ask for: cancel, terminate, retry, waive.
Refuses to know: processes that die, and time that runs out.

The file is long because each way back is a run of its own, in real workers.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import CommandRefused, RunCompensated, RunFailed, RunTerminated
from tests.workers import edge_case_steps
from tests.workers.histories import bodies, effects, events, step_of
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World

EXTRAS = ("-I", "tests.workers.extra_tasks")
STEPS = ("book", "pay", "send")
ONCE = dict.fromkeys(STEPS, 1)


def _undone(*steps: str) -> dict[str, int]:
    """One body of the compensation of each of *steps*."""
    return {f"{step}.undo": 1 for step in steps}


def _until(world: World, run: RunHandle[Any], status: str) -> None:
    world.until(lambda: run.status == status, f"{run.id} is {status}")


def _all_at_rest(
    world: World, scripts: dict[str, dict[str, list[str]]]
) -> dict[str, RunHandle[Any]]:
    """Runs of these scripts, all started before the first is waited for."""
    runs = {name: world.kit.trip.start(Trip(script=s), id=name) for name, s in scripts.items()}
    for run in runs.values():
        world.rest(run)
    return runs


# --- what is undone ----------------------------------------------------------------------------


def test_each_way_to_fail_is_undone_in_reverse(world: World) -> None:
    """What may have taken effect is undone in reverse order of start, and nothing else."""
    world.worker()
    world.beat()
    runs = _all_at_rest(
        world,
        {
            "clean": {"pay": ["abort-clean"]},
            "unclear": {"pay": ["abort"]},
            "first": {"book": ["abort"]},
            "first-clean": {"book": ["abort-clean"]},
            "errors": {"send": ["raise", "raise-after", "raise"]},
            "then-clean": {"send": ["raise-after", "abort-clean"]},
        },
    )
    back = ["undo pay", "undo book"]
    assert {name: effects(world, run) for name, run in runs.items()} == {
        "clean": ["do book", "undo book"],
        "unclear": ["do book", "undone pay", "undo book"],
        "first": ["undone book"],
        "first-clean": [],
        "errors": ["do book", "do pay", "do send", "undo send", *back],
        "then-clean": ["do book", "do pay", "do send", "undo send", *back],
    }
    assert bodies(world, runs["clean"]) == {"book": 1, "pay": 1, **_undone("book")}
    assert bodies(world, runs["unclear"]) == {"book": 1, "pay": 1, **_undone("pay", "book")}
    assert bodies(world, runs["first-clean"]) == {"book": 1}
    assert bodies(world, runs["errors"]) == {**ONCE, "send": 3, **_undone(*STEPS)}
    assert bodies(world, runs["then-clean"]) == {**ONCE, "send": 2, **_undone(*STEPS)}
    assert {run.status for run in runs.values()} == {"compensated"}


def test_errors_that_pass_are_not_undone(world: World) -> None:
    """A step that fails twice and then succeeds has failed nobody: the run completes."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["raise", "raise-after"]}), id="flaky")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {**ONCE, "pay": 3}
    assert effects(world, run) == ["do book", "do pay", "again pay", "do send"]
    assert events(run, "compensation_started") == []


def test_what_the_caller_learns(world: World) -> None:
    """`result` of a run that was undone raises RunCompensated with how the step had failed."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["abort-clean"]}), id="refused")
    with pytest.raises(RunCompensated) as caught:
        run.result(timeout=20)
    failure = caught.value.failure
    assert failure is not None
    assert (failure.type, failure.message, failure.code) == ("Abort", "refused", "refused")
    state = run.state()
    assert (state.why, state.failed_step, state.failure, state.owed) == (
        "failed",
        "pay",
        failure,
        (),
    )
    assert [(step.name, step.status) for step in state.steps] == [
        ("book", "compensated"),
        ("pay", "failed"),
        ("send", "skipped"),
    ]


def test_what_a_compensation_receives(world: World) -> None:
    """An undo gets the step's arguments by name, its result or None, the error, and the key."""
    probe = edge_case_steps.extend(world.kit).probe
    world.worker(args=EXTRAS)
    world.beat()
    later = probe.start(Trip(script={"judge": []}), id="later", tags={"shop": "north"})
    itself = probe.start(Trip(script={"measure": []}), id="itself")
    cancelled = probe.start(Trip(), id="cancelled")
    assert cancelled.result(timeout=20).number == "7 cm"
    cancelled.cancel("changed my mind")
    common = {"trip": "Trip", "unit": "cm", "attempt": 1, "tags": {}}
    expected: dict[str, dict[str, Any]] = {
        "later": {
            "result": "7 cm",
            "error": ["Abort", "too_much", "too much"],
            "reason": "judge failed",
            "tags": {"shop": "north"},
        },
        "itself": {
            "result": None,
            "error": ["Abort", "range", "out of range"],
            "reason": "measure failed",
        },
        "cancelled": {"result": "7 cm", "error": None, "reason": "changed my mind"},
    }
    for run in (later, itself, cancelled):
        _until(world, run, "compensated")
        key = {"key": f"{run.id}:measure"}
        assert edge_case_steps.told(world.kit, run) == {**common, **key, **expected[run.id]}


# --- compensations that fail -------------------------------------------------------------------


def test_a_compensation_is_retried(world: World) -> None:
    """An undo that fails, before or after its effect, is tried again under the same key."""
    world.worker()
    world.beat()
    script = {"send": ["abort-clean"], "pay.undo": ["raise", "raise-after"]}
    run = world.kit.trip.start(Trip(script=script), id="flaky")
    assert world.rest(run).status == "compensated"
    assert bodies(world, run) == {**ONCE, "pay.undo": 3, "book.undo": 1}
    assert effects(world, run) == ["do book", "do pay", "undo pay", "undone pay", "undo book"]


#: Undoes that fail for good, by the words of `pay.undo`; how many bodies each gets at first.
BROKEN = {"raise": 3, "abort": 1}


def _broken(world: World, word: str, run_id: str) -> RunHandle[Any]:
    """A run that rests in `failed`: the undo of pay has failed for good, the others have run."""
    words = [word] * BROKEN[word]
    script = {"send": ["abort"], "pay.undo": words}
    run = world.kit.trip.start(Trip(script=script), id=run_id)
    state = world.rest(run)
    assert (state.status, state.owed) == ("failed", ("pay",))
    assert bodies(world, run) == {**ONCE, **_undone(*STEPS), "pay.undo": len(words)}
    assert effects(world, run) == ["do book", "do pay", "undone send", "undo book"]
    assert world.ledger.live(run.id) == {"pay"}
    return run


@pytest.mark.parametrize("word", BROKEN)
def test_a_compensation_that_fails_for_good(world: World, word: str) -> None:
    """The others still run, the run rests in `failed`, and says what is owed and why."""
    world.worker()
    world.beat()
    run = _broken(world, word, "broken")
    with pytest.raises(RunFailed) as caught:
        run.result(timeout=5)
    assert caught.value.owed == ("pay",)
    assert "pay" in str(caught.value)
    step = step_of(run, "pay")
    assert (step.status, step.undo_attempts) == ("compensation_failed", BROKEN[word])
    assert step.undo_failure is not None
    assert step.undo_failure.type == {"raise": "ConnectionError", "abort": "Abort"}[word]
    [handle] = world.kit.sagas.runs(status="failed")
    assert handle.id == run.id


def test_retry_settles_what_is_owed(world: World) -> None:
    """`retry` gives the failed undo a new budget; what it undoes is owed no longer."""
    world.worker()
    world.beat()
    run = _broken(world, "raise", "broken")
    run.retry("pay", "the bank is back")
    _until(world, run, "compensated")
    assert bodies(world, run) == {**ONCE, **_undone(*STEPS), "pay.undo": 4}
    assert effects(world, run)[-1] == "undo pay"
    assert (run.state().owed, world.ledger.live(run.id)) == ((), set())
    [event] = events(run, "retried")
    assert (event.step, event.phase, event.data["reason"]) == ("pay", "undo", "the bank is back")
    with pytest.raises(CommandRefused) as caught:
        run.retry("pay")
    assert caught.value.reason == "nothing_to_retry"
    with pytest.raises(RunCompensated):
        run.result(timeout=5)


def test_retry_of_everything_that_is_owed(world: World) -> None:
    """`retry` without a step tries all that is owed; what fails again is owed again."""
    world.worker()
    world.beat()
    script = {"send": ["abort"], "pay.undo": ["abort"], "book.undo": ["abort", "abort"]}
    run = world.kit.trip.start(Trip(script=script), id="broken")
    state = world.rest(run)
    assert (state.status, set(state.owed)) == ("failed", {"pay", "book"})
    run.retry()
    world.until(lambda: len(events(run, "finished")) == 2, "it comes to rest again")
    assert (run.status, run.state().owed) == ("failed", ("book",))
    run.retry()
    _until(world, run, "compensated")
    assert bodies(world, run) == {**ONCE, "send.undo": 1, "pay.undo": 2, "book.undo": 3}
    assert effects(world, run)[-2:] == ["undo pay", "undo book"]
    world.check(run)


def test_a_retry_in_vain_is_bounded(world: World) -> None:
    """A new budget is as large as the first one, not larger."""
    world.worker()
    world.beat()
    script = {"send": ["abort"], "book.undo": ["raise"] * 99}
    run = world.kit.trip.start(Trip(script=script), id="broken")
    assert world.rest(run).status == "failed"
    run.retry("book")
    world.until(lambda: len(events(run, "finished")) == 2, "it comes to rest again")
    assert (run.status, run.state().owed) == ("failed", ("book",))
    assert bodies(world, run)["book.undo"] == 6
    assert world.ledger.live(run.id) == {"book"}


def test_waive_settles_what_is_owed(world: World) -> None:
    """`waive` declares an owed undo settled, with a reason, and runs nothing."""
    world.worker()
    world.beat()
    run = _broken(world, "abort", "broken")
    with pytest.raises(CommandRefused) as refused:
        run.waive("pay", " ")
    assert refused.value.reason == "no_reason"
    with pytest.raises(CommandRefused) as refused:
        run.waive("book", "it was undone already")
    assert refused.value.reason == "not_owed"
    run.waive("pay", "refunded by hand", by="ann")
    assert (run.status, run.state().owed) == ("compensated", ())
    assert step_of(run, "pay").status == "waived"
    assert bodies(world, run) == {**ONCE, **_undone(*STEPS)}
    [event] = events(run, "waived")
    assert event.data == {"reason": "refunded by hand", "by": "ann"}
    history = run.history()
    run.waive("pay", "twice equals once")
    assert run.history() == history


# --- cancel and terminate ----------------------------------------------------------------------


def test_cancel_waits_for_the_step_at_work(world: World) -> None:
    """A running run that is cancelled finishes the step at work, starts no other, and is undone."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="unwanted")
    world.reached(run, "pay")
    run.cancel("not wanted any more", by="ann")
    run.cancel("twice equals once")
    for _ in range(3):
        world.kit.sagas.sweep()
    assert run.status == "compensating"
    assert bodies(world, run) == {"book": 1, "pay": 1}  # nothing is undone beside it (I7)
    world.open(run, "pay")
    state = world.rest(run)
    assert (state.status, state.why, state.reason) == (
        "compensated",
        "cancelled",
        "not wanted any more",
    )
    assert bodies(world, run) == {"book": 1, "pay": 1, **_undone("pay", "book")}
    assert effects(world, run) == ["do book", "do pay", "undo pay", "undo book"]
    [event] = events(run, "compensation_started")
    assert event.data == {"why": "cancelled", "reason": "not wanted any more", "by": "ann"}
    with pytest.raises(RunCompensated, match="not wanted any more"):
        run.result(timeout=5)


def test_cancel_of_a_step_whose_process_then_dies(world: World) -> None:
    """A step that is lost after the cancel is not tried again: it is undone as unknown."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id="unwanted")
    world.reached(run, "pay")
    run.cancel("not wanted any more")
    os.kill(world.ledger.rows("unwanted:pay", "begin")[0].pid, signal.SIGKILL)
    assert world.rest(run).status == "compensated"
    assert bodies(world, run) == {"book": 1, "pay": 1, **_undone("pay", "book")}
    assert effects(world, run) == ["do book", "do pay", "undo pay", "undo book"]


def test_cancel_before_the_first_step(world: World) -> None:
    """A run that is cancelled before anything started ends with nothing done."""
    run = world.kit.trip.start(Trip(), id="early")
    run.cancel("a mistake")
    assert run.status == "compensated"
    world.worker()
    world.beat()
    assert world.rest(world.kit.trip.start(Trip(), id="later")).status == "completed"
    assert bodies(world, run) == {}
    world.check(run)


def test_cancel_of_a_completed_run(world: World) -> None:
    """Cancelling a run that has completed undoes it, in reverse order."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(), id="done")
    assert world.rest(run).status == "completed"
    run.cancel("sent back")
    _until(world, run, "compensated")
    world.check(run)
    assert bodies(world, run) == {**ONCE, **_undone(*STEPS)}
    back = [f"undo {step}" for step in reversed(STEPS)]
    assert effects(world, run) == [*(f"do {step}" for step in STEPS), *back]
    history = run.history()
    run.cancel("twice equals once")
    assert run.history() == history


def test_terminate_abandons_without_undo(world: World) -> None:
    """A terminated run stays as it is: the step at work is late, nothing follows or is undone."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id="abandoned")
    world.reached(run, "pay")
    with pytest.raises(CommandRefused) as refused:
        run.terminate("")
    assert refused.value.reason == "no_reason"
    run.terminate("the shop has closed", by="ann")
    history = run.history()
    run.terminate("twice equals once")
    assert run.history() == history
    world.open(run, "pay")
    [late] = world.until(lambda: events(run, "late"), "the step reports")
    assert (late.step, late.data) == ("pay", {"outcome": "completed"})
    assert world.rest(world.kit.trip.start(Trip(), id="later")).status == "completed"
    state = world.rest(run)
    assert (state.status, state.reason) == ("terminated", "the shop has closed")
    assert bodies(world, run) == {"book": 1, "pay": 1}
    assert world.ledger.live(run.id) == {"book", "pay"}
    with pytest.raises(RunTerminated, match="the shop has closed"):
        run.result(timeout=5)


def test_terminate_of_what_is_owed(world: World) -> None:
    """A run that rests in `failed` can be given up: what was owed is tried no more."""
    world.worker()
    world.beat()
    run = _broken(world, "raise", "broken")
    run.cancel("changes nothing: it is undone as far as it can be")
    assert run.status == "failed"
    run.terminate("written off")
    assert run.status == "terminated"
    with pytest.raises(CommandRefused):
        run.retry("pay")
    with pytest.raises(CommandRefused):
        run.waive("pay", "too late")
    with pytest.raises(RunTerminated, match="written off"):
        run.result(timeout=5)
    assert world.rest(world.kit.trip.start(Trip(), id="later")).status == "completed"
    assert bodies(world, run)["pay.undo"] == 3
    assert world.ledger.live(run.id) == {"pay"}


def test_commands_that_are_refused(world: World) -> None:
    """A command that makes no sense now is refused with one word, and changes nothing."""
    world.worker()
    world.beat()
    runs = _all_at_rest(world, {"done": {}, "undone": {"pay": ["abort"]}})
    ended = world.kit.trip.start(Trip(script={"book": ["gate"]}), id="ended")
    world.reached(ended, "book")
    ended.terminate("enough")
    before = {run.id: run.history() for run in (*runs.values(), ended)}

    def reason(command: Any, *given: str) -> str:
        with pytest.raises(CommandRefused) as refused:
            command(*given)
        return refused.value.reason

    assert reason(runs["done"].terminate, "why not") == "at_rest"
    assert reason(runs["undone"].terminate, "why not") == "at_rest"
    assert reason(ended.cancel, "after all") == "at_rest"
    assert reason(runs["done"].retry) == "nothing_to_retry"
    assert reason(runs["done"].retry, "fly") == "unknown_step"
    assert reason(runs["done"].waive, "pay", "why not") == "not_owed"
    assert reason(runs["undone"].waive, "pay", "why not") == "not_owed"
    assert {run.id: run.history() for run in (*runs.values(), ended)} == before
    world.open(ended, "book")
