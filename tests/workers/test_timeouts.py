"""Deadlines of runs and time limits of steps: what comes too late does not stand.

Owns: time that runs out.  Refuses to know: workers that die or are stopped, which have files of
their own.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import RunCompensated
from tests.workers import edge_case_steps
from tests.workers.histories import bodies, effects, events, step_of
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World

EXTRAS = ("-I", "tests.workers.extra_tasks")
LATE = "took longer than its timeout of 1 s"
THREADS = ("--pool", "threads")


# --- the deadline of a run ---------------------------------------------------------------------


def test_a_step_that_succeeds_after_the_deadline_is_undone(world: World) -> None:
    """When the deadline passes, the step at work is waited for, and then undone with the others."""
    world.worker(children=3)  # two are at the gates, one sweeps
    world.beat()
    scripts = {"before": ["gate"], "after": ["gate-after"]}
    runs = [
        world.kit.lenient.start(Trip(script={"pay": words}), id=name)
        for name, words in scripts.items()
    ]
    for run in runs:
        world.reached(run, "pay")
        assert run.status == "running"
    for run in runs:
        _turned_round(world, run)
    for _ in range(3):
        world.kit.sagas.sweep()
    for run in runs:
        assert bodies(world, run) == {"book": 1, "pay": 1}  # nothing is undone beside it (I7)
        world.open(run, "pay")
        state = world.rest(run)
        assert (state.status, state.why) == ("compensated", "deadline")
        assert state.failure is not None
        assert state.failure.code == "deadline"
        assert bodies(world, run) == {"book": 1, "pay": 1, "pay.undo": 1, "book.undo": 1}
        assert effects(world, run) == ["do book", "do pay", "undo pay", "undo book"]
        with pytest.raises(RunCompensated) as caught:
            run.result(timeout=5)
        assert caught.value.failure == state.failure


def _turned_round(world: World, run: RunHandle[Any]) -> None:
    world.until(lambda: run.status == "compensating", "the deadline passes")


def test_a_deadline_that_passes_while_the_worker_is_dead(world: World) -> None:
    """A step whose worker is dead at the deadline is not tried again: it is undone as unknown."""
    first = world.worker("first")
    world.beat()
    run = world.kit.lenient.start(Trip(script={"pay": ["gate-after"]}), id="late")
    world.reached(run, "pay")
    first.kill()
    deadline = run.state().deadline
    assert deadline is not None
    world.until(lambda: time.time() > deadline.timestamp(), "the deadline passes")
    world.worker("second")
    state = world.rest(run)
    assert (state.status, state.why) == ("compensated", "deadline")
    assert bodies(world, run) == {"book": 1, "pay": 1, "pay.undo": 1, "book.undo": 1}
    assert effects(world, run) == ["do book", "do pay", "undo pay", "undo book"]


# --- the time limit of an attempt, prefork -----------------------------------------------------


def test_a_step_that_takes_too_long_once(world: World) -> None:
    """An attempt that reaches its time limit has an unknown outcome, and is tried again."""
    world.worker()
    world.beat()
    before = world.kit.hasty.start(Trip(script={"rush": ["spin"]}), id="before")
    after = world.kit.hasty.start(Trip(script={"rush": ["gate-after"]}), id="after")
    for run in (before, after):
        assert world.rest(run).status == "completed"
        assert bodies(world, run) == {"book": 1, "rush": 2}
    assert effects(world, before) == ["do book", "do rush"]
    assert effects(world, after) == ["do book", "do rush", "again rush"]


def test_a_step_that_always_takes_too_long(world: World) -> None:
    """A step that reaches its time limit in every attempt is undone after its budget."""
    worker = world.worker()
    world.beat()
    before = world.kit.hasty.start(Trip(script={"rush": ["spin"] * 9}), id="before")
    after = world.kit.hasty.start(Trip(script={"rush": ["gate-after"] * 9}), id="after")
    for run in (before, after):
        state = world.rest(run)
        assert (state.status, state.failed_step) == ("compensated", "rush")
        assert bodies(world, run) == {"book": 1, "rush": 3, "rush.undo": 1, "book.undo": 1}
    assert effects(world, before) == ["do book", "undone rush", "undo book"]
    did = ["do rush", "again rush", "again rush", "undo rush"]
    assert effects(world, after) == ["do book", *did, "undo book"]
    # The soft limit lets the step itself tell; only a machine that is too slow loses an attempt.
    ended = [*events(before, "failed", "rush"), *events(after, "failed", "rush")]
    assert max(event.attempt for event in ended) > 1  # a retry has the limits as well
    told = {(event.data["why"], event.data["error"]) for event in ended}
    assert told == {("timeout", "SoftTimeLimitExceeded")}
    failure = before.state().failure
    assert failure is not None
    assert failure.message.startswith(LATE)
    assert worker.says(f"before · rush · #1 failed ({LATE})")


def test_a_step_that_ignores_the_soft_limit_is_killed(world: World) -> None:
    """What swallows the soft limit is killed by the hard one: retried, then undone."""
    stubborn = edge_case_steps.extend(world.kit).stubborn
    world.worker(args=EXTRAS)
    world.beat()
    run = stubborn.start(Trip(script={"insist": []}), id="stubborn")
    state = world.rest(run)
    assert (state.status, state.failed_step) == ("compensated", "insist")
    began = bodies(world, run)
    assert began.pop("soft") >= 1  # one for each attempt, unless the machine is very slow
    assert began == {"insist": 3, "insist.undo": 1}
    assert effects(world, run) == ["do insist", "again insist", "again insist", "undo insist"]
    assert [event.attempt for event in events(run, "lost", "insist")] == [1, 2, 3]
    killed = {row.pid for row in world.ledger.rows(f"{run.id}:insist", "begin")}
    world.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in killed), "all are gone")


def test_an_undo_that_ignores_the_soft_limit_is_owed(world: World) -> None:
    """A compensation has a time limit and a budget like a step; after that it is owed."""
    stubborn = edge_case_steps.extend(world.kit).stubborn
    world.worker(args=EXTRAS)
    world.beat()
    run = stubborn.start(Trip(script={"insist.undo": []}), id="stubborn")
    state = world.rest(run)
    assert (state.status, state.owed) == ("failed", ("insist",))
    began = bodies(world, run)
    assert began.pop("soft") >= 1
    assert began == {"insist": 1, "insist.undo": 3}
    assert world.ledger.live(run.id) == {"insist"}


def test_a_child_that_is_stopped_is_killed_at_the_limit(world: World) -> None:
    """A pool child that cannot even take a signal does not hold up its step for ever."""
    world.worker()
    world.beat()
    run = world.kit.hasty.start(Trip(script={"rush": ["gate-after"]}), id="frozen")
    world.reached(run, "rush")
    os.kill(world.ledger.rows("frozen:rush", "begin")[0].pid, signal.SIGSTOP)
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {"book": 1, "rush": 2}
    assert effects(world, run) == ["do book", "do rush", "again rush"]


# --- the time limit of an attempt, threads -----------------------------------------------------


def test_a_thread_that_takes_too_long_is_given_up(world: World) -> None:
    """Threads cannot be interrupted: the state gives the attempt up, and its success is late."""
    world.worker(args=THREADS, children=4)
    world.beat()
    run = world.kit.hasty.start(Trip(script={"rush": ["gate-after"]}), id="run")
    assert world.rest(run).status == "completed"
    [lost] = events(run, "lost", "rush")
    assert (lost.attempt, lost.data["why"]) == (1, "timeout")
    world.open(run, "rush")
    [late] = world.until(lambda: events(run, "late", "rush"), "the thread reports")
    assert (late.attempt, late.data) == (1, {"outcome": "completed"})
    assert bodies(world, run) == {"book": 1, "rush": 2}
    assert effects(world, run) == ["do book", "do rush", "again rush"]
    world.check(run)


def test_a_thread_that_succeeds_after_its_step_was_undone(world: World) -> None:
    """The late success of a thread that was given up is undone once more."""
    world.worker(args=THREADS, children=4)
    world.beat()
    run = world.kit.hasty.start(Trip(script={"rush": ["gate", "abort-clean"]}), id="run")
    assert world.rest(run).status == "compensated"
    assert bodies(world, run) == {"book": 1, "rush": 2, "rush.undo": 1, "book.undo": 1}
    world.open(run, "rush")
    world.until(lambda: bodies(world, run)["rush.undo"] == 2, "it is undone once more")
    assert world.rest(run).status == "compensated"
    undone = ["undone rush", "undo book", "forbidden rush", "undone rush"]
    assert effects(world, run) == ["do book", *undone]
    assert step_of(run, "rush").status == "compensated"


def test_threads_that_never_end(world: World) -> None:
    """A step whose threads all hang is undone after its budget, while they still hang."""
    world.worker(args=THREADS, children=5)
    world.beat()
    run = world.kit.hasty.start(Trip(script={"rush": ["gate-after"] * 9}), id="run")
    state = world.rest(run)
    assert (state.status, state.failed_step) == ("compensated", "rush")
    assert state.failure is not None
    assert state.failure.code == "timeout"
    assert bodies(world, run) == {"book": 1, "rush": 3, "rush.undo": 1, "book.undo": 1}
