"""A worker is stopped for longer than its lease and comes back: what it still does changes nothing.

Owns: processes that are stopped and continued (SIGSTOP, SIGCONT), and their late reports.
Refuses to know: processes that stay dead (`test_kills`).
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.workers import edge_case_steps
from tests.workers.histories import bodies, claims, effects, events, step_of
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from celeriac.machine.events import Event
    from tests.processes import Process
    from tests.workers.world import World

EXTRAS = ("-I", "tests.workers.extra_tasks")
ONCE = dict.fromkeys(("book", "pay", "send"), 1)
Script = dict[str, list[str]]


class Stopped(NamedTuple):
    """A run whose worker was stopped at a gate, and the worker that is up instead."""

    run: RunHandle[Any]
    zombie: Process
    other: Process


def _stopped_at(world: World, script: Script, gate: str, *, child_too: bool = True) -> Stopped:
    first = world.worker("first")
    world.beat()
    run = world.kit.trip.start(Trip(script=script), id="run")
    world.reached(run, gate)
    (first.signal_all if child_too else first.signal)(signal.SIGSTOP)
    return Stopped(run, first, world.worker("second"))


def _continue(world: World, stopped: Stopped, gate: str) -> Event:
    """Let a stopped worker go on, through its gate; return its report in the history."""
    assert _reports(stopped.run) == []
    world.open(stopped.run, gate)
    stopped.zombie.signal_all(signal.SIGCONT)
    return _reported(world, stopped.run)


def _reported(world: World, run: RunHandle[Any]) -> Event:
    [report] = world.until(lambda: _reports(run), "the late report is in the history")
    return report


def _reports(run: RunHandle[Any]) -> list[Event]:
    """What was reported by attempts that had been given up."""
    used = [event for event in events(run, "completed") if event.data.get("late")]
    return used + events(run, "late")


def _works_alone(world: World, stopped: Stopped) -> None:
    """The zombie does what a worker does: it runs a saga from end to end, all by itself."""
    stopped.other.kill()
    assert world.rest(world.kit.trip.start(Trip(), id="later")).status == "completed"


# --- the run went on without it ----------------------------------------------------------------


@pytest.mark.parametrize("gate", ["gate", "gate-after"])
def test_the_second_attempt_stands(world: World, gate: str) -> None:
    """A step done again elsewhere stands; the zombie's report is late, and nothing follows it."""
    stopped = _stopped_at(world, {"pay": [gate]}, "pay")
    run = stopped.run
    assert world.rest(run).status == "completed"
    steps, sent = run.state().steps, world.published("run:")
    late = _continue(world, stopped, "pay")
    assert (late.kind, late.step, late.attempt) == ("late", "pay", 1)
    assert late.data == {"outcome": "completed"}
    _works_alone(world, stopped)
    # It had the next link of its chain in its hands, and dropped it.
    assert world.published("run:") == sent
    assert claims(run, "send") == [1]
    assert bodies(world, run) == {**ONCE, "pay": 2}
    assert sorted(effects(world, run)) == ["again pay", "do book", "do pay", "do send"]
    assert run.state().steps == steps
    assert run.result(timeout=5).number == "send-run"
    world.check(run)


def test_a_zombie_beside_the_second_attempt(world: World) -> None:
    """A zombie that comes back while the second attempt is at work does not disturb it."""
    stopped = _stopped_at(world, {"pay": ["gate-after", "gate-after"]}, "pay")
    run = stopped.run
    world.until(lambda: bodies(world, run)["pay"] == 2, "attempt 2 has begun")
    stopped.zombie.signal_all(signal.SIGCONT)
    assert step_of(run, "pay").status == "running"
    world.open(run, "pay")  # both report now, in whatever order
    assert world.rest(run).status == "completed"
    assert _reported(world, run).attempt == 1
    assert bodies(world, run) == {**ONCE, "pay": 2}
    assert effects(world, run) == ["do book", "do pay", "again pay", "do send"]
    world.check(run)


def test_a_parent_stopped_alone(world: World) -> None:
    """A child whose parent no longer renews its lease is a zombie, however lively it is."""
    stopped = _stopped_at(world, {"pay": ["gate-after"]}, "pay", child_too=False)
    run = stopped.run
    assert world.rest(run).status == "completed"
    world.open(run, "pay")
    assert _reported(world, run).data == {"outcome": "completed"}
    stopped.zombie.signal(signal.SIGCONT)
    _works_alone(world, stopped)
    assert bodies(world, run) == {**ONCE, "pay": 2}
    world.check(run)


# --- the run was undone without it -------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "first_undo", "zombie_does"),
    [
        # It takes effect after the undo: the participant's tombstone forbids it.
        (["gate", "abort"], "undone pay", ["forbidden pay"]),
        # The second attempt proves that *it* had no effect; the first is unknown all the same.
        (["gate", "abort-clean"], "undone pay", ["forbidden pay"]),
        # It took effect before, and that was undone already.
        (["gate-after", "abort-clean"], "undo pay", []),
    ],
    ids=["before", "before-clean", "after"],
)
def test_a_late_success_is_undone_again(
    world: World, script: list[str], first_undo: str, zombie_does: list[str]
) -> None:
    """A zombie that succeeds after its step was undone makes a new generation undo it once more."""
    stopped = _stopped_at(world, {"pay": script}, "pay")
    run = stopped.run
    assert world.rest(run).status == "compensated"
    assert bodies(world, run) == {"book": 1, "pay": 2, "pay.undo": 1, "book.undo": 1}
    late = _continue(world, stopped, "pay")
    assert (late.kind, late.step, late.attempt) == ("completed", "pay", 1)
    world.until(lambda: bodies(world, run)["pay.undo"] == 2, "it is undone once more")
    assert world.rest(run).status == "compensated"
    _works_alone(world, stopped)
    assert bodies(world, run) == {"book": 1, "pay": 2, "pay.undo": 2, "book.undo": 1}
    did = ["do pay"] if script[0] == "gate-after" else []
    undone = [first_undo, "undo book", *zombie_does, "undone pay"]
    assert effects(world, run) == ["do book", *did, *undone]
    assert [(e.step, e.attempt) for e in events(run, "reopened")] == [("pay", 1)]
    assert len(events(run, "finished")) == 2


def test_a_late_failure_is_undone_again(world: World) -> None:
    """A zombie that takes effect, and fails, after its step was undone is undone once more."""
    brittle = edge_case_steps.extend(world.kit).brittle
    first = world.worker("first", args=EXTRAS)
    world.beat()
    run = brittle.start(Trip(script={"crack": ["gate", "clean"]}), id="run")
    world.reached(run, "crack")
    first.signal_all(signal.SIGSTOP)
    stopped = Stopped(run, first, world.worker("second", args=EXTRAS))
    assert world.rest(run).status == "compensated"
    assert bodies(world, run) == {"crack": 2, "crack.undo": 1}
    late = _continue(world, stopped, "crack")
    assert (late.kind, late.attempt, late.data["outcome"]) == ("late", 1, "failed")
    world.until(lambda: bodies(world, run)["crack.undo"] == 2, "it is undone once more")
    assert world.rest(run).status == "compensated"
    _works_alone(world, stopped)
    assert bodies(world, run) == {"crack": 2, "crack.undo": 2}
    assert effects(world, run) == ["do crack", "undo crack", "undone crack"]


def test_a_zombie_of_an_undo(world: World) -> None:
    """An undo that was done again elsewhere is done; the zombie's report of it changes nothing."""
    script = {"send": ["abort-clean"], "pay.undo": ["gate-after"]}
    stopped = _stopped_at(world, script, "pay.undo")
    run = stopped.run
    assert world.rest(run).status == "compensated"
    steps, sent = run.state().steps, world.published("run:")
    late = _continue(world, stopped, "pay.undo")
    assert (late.kind, late.phase, late.attempt) == ("late", "undo", 1)
    _works_alone(world, stopped)
    assert world.published("run:") == sent
    assert bodies(world, run) == {**ONCE, "pay.undo": 2, "book.undo": 1}
    assert effects(world, run) == ["do book", "do pay", "undo pay", "undone pay", "undo book"]
    assert run.state().steps == steps
    world.check(run)


def test_a_late_undo_settles_what_was_owed(world: World) -> None:
    """A compensation that was given up and succeeds after all is owed no longer."""
    script = {"send": ["abort-clean"], "pay.undo": ["gate-after", "raise", "raise"]}
    stopped = _stopped_at(world, script, "pay.undo")
    run = stopped.run
    state = world.rest(run)
    assert (state.status, state.owed) == ("failed", ("pay",))
    _continue(world, stopped, "pay.undo")
    world.until(lambda: run.status == "compensated", "the late undo settles the run")
    assert run.state().owed == ()
    assert bodies(world, run) == {**ONCE, "pay.undo": 3, "book.undo": 1}
    assert effects(world, run) == ["do book", "do pay", "undo pay", "undo book"]
    world.check(run)


def test_a_zombie_of_an_earlier_life_of_the_id(world: World) -> None:
    """What an attempt of an abandoned run still reports says nothing about the run started anew."""
    worker = world.worker(children=3)
    world.beat()
    old = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="again")
    world.reached(old, "pay")
    old.terminate("the customer called")
    new = world.kit.trip.start(Trip(), id="again", if_exists="restart")
    assert new.result(timeout=20).number == "send-again"
    before = new.history()
    world.open(old, "pay")
    world.until(lambda: worker.says("its report was refused"), "the zombie was refused")
    assert new.history() == before
    assert new.status == "completed"
