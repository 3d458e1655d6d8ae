"""Processes die, and every accepted run still ends as it must.

Owns: kills of pool children, workers and beat.  Refuses to know: lost messages and outages of
Redis, which have files of their own, and clients that die (`tests/crash/test_clients`).
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.workers.histories import (
    bodies,
    claimed_after,
    claims,
    effects,
    events,
    step_of,
)
from tests.workers.kit import RECOVERY, Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World

STEPS = ("book", "pay", "send")
ONCE = dict.fromkeys(STEPS, 1)


# --- a pool child ------------------------------------------------------------------------------


def test_a_child_killed_in_any_step(world: World) -> None:
    """A pool child that dies before or after the effect of any step costs that step one attempt."""
    world.worker()
    world.beat()
    runs = {
        (step, word): world.kit.trip.start(Trip(script={step: [word]}), id=f"{step}-{word}")
        for step in STEPS
        for word in ("kill", "kill-after")
    }
    for (step, word), run in runs.items():
        state = world.rest(run)
        assert state.status == "completed"
        assert bodies(world, run) == {**ONCE, step: 2}
        again = [f"again {step}"] if word == "kill-after" else []
        assert sorted(effects(world, run)) == sorted([*again, *(f"do {name}" for name in STEPS)])
        assert [event.attempt for event in events(run, "lost")] == [1]


def test_poison_is_capped_and_undone(world: World) -> None:
    """A step that always kills its process gets three bodies, is undone, and holds up nobody."""
    world.worker()
    world.beat()
    poison = {
        word: world.kit.trip.start(Trip(script={"pay": [word] * 9}), id=f"poison-{word}")
        for word in ("kill", "kill-after")
    }
    others = [world.kit.trip.start(Trip(), id=f"other-{number}") for number in range(4)]
    for run in others:
        assert world.rest(run).status == "completed"
        assert bodies(world, run) == ONCE
    for word, run in poison.items():
        state = world.rest(run)
        assert (state.status, state.failed_step) == ("compensated", "pay")
        assert bodies(world, run) == {"book": 1, "pay": 3, "pay.undo": 1, "book.undo": 1}
        paid = (
            ["undone pay"] if word == "kill" else ["do pay", "again pay", "again pay", "undo pay"]
        )
        assert effects(world, run) == ["do book", *paid, "undo book"]
        assert step_of(run, "pay").attempts == 3


def test_poison_in_a_compensation_is_owed(world: World) -> None:
    """A compensation that always kills its process is owed after its budget; the others run."""
    world.worker()
    world.beat()
    runs = {
        word: world.kit.trip.start(
            Trip(script={"send": ["abort"], "pay.undo": [word] * 9}), id=f"bitter-{word}"
        )
        for word in ("kill", "kill-after")
    }
    for word, run in runs.items():
        state = world.rest(run)
        assert (state.status, state.owed) == ("failed", ("pay",))
        undone = {"send.undo": 1, "pay.undo": 3, "book.undo": 1}
        assert bodies(world, run) == {**ONCE, **undone}
        assert step_of(run, "pay").status == "compensation_failed"
        assert world.ledger.live(run.id) == ({"pay"} if word == "kill" else set())


# --- a whole worker ----------------------------------------------------------------------------


def test_a_worker_killed_while_another_is_up(world: World) -> None:
    """What a killed worker was doing is done again by another within the lease bound."""
    first = world.worker("first")
    world.beat()
    before = world.kit.trip.start(Trip(script={"pay": ["gate"]}), id="before")
    after = world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id="after")
    for run in (before, after):
        world.reached(run, "pay")
        # Counted before the body: the attempt is on record while its body still runs.
        assert (run.status, claims(run, "pay"), step_of(run, "pay").attempts) == ("running", [1], 1)
    world.worker("second")
    killed = time.time()
    first.kill()
    for run in (before, after):
        assert world.rest(run).status == "completed"
        assert claimed_after(run, "pay", killed) <= RECOVERY
        assert bodies(world, run) == {**ONCE, "pay": 2}
        assert claims(run, "pay") == [1, 2]
    assert effects(world, before) == ["do book", "do pay", "do send"]
    assert effects(world, after) == ["do book", "do pay", "again pay", "do send"]


def test_a_parent_killed_alone(world: World) -> None:
    """Pool children do not outlive their parent, and what they were doing is done again."""
    first = world.worker("first")
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate-after"]}), id="orphan")
    world.reached(run, "pay")
    children = first.children()
    first.signal(signal.SIGKILL)
    world.until(lambda: first.ended, "the parent is gone")
    world.until(lambda: not any(_lives(pid) for pid in children), "and so are its children")
    world.worker("second")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {**ONCE, "pay": 2}
    assert effects(world, run) == ["do book", "do pay", "again pay", "do send"]


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # dead, and nobody has buried it yet


def test_a_worker_started_after_the_only_one_was_killed(world: World) -> None:
    """A worker that starts later finishes what the killed one had at work and in its hands."""
    only = world.worker("only", children=1)
    world.beat()
    caught = world.kit.trip.start(Trip(script={"book": ["gate-after"]}), id="caught")
    world.reached(caught, "book")
    # The only child is busy: these wait in the queue, and one of them in the worker's hands.
    waiting = [world.kit.trip.start(Trip(), id=f"waiting-{number}") for number in range(3)]
    only.kill()
    assert [run.status for run in (caught, *waiting)] == ["running"] * 4
    started = time.time()
    world.worker("later")
    assert world.rest(caught).status == "completed"
    assert claimed_after(caught, "book", started) <= RECOVERY
    assert bodies(world, caught) == {**ONCE, "book": 2}
    for run in waiting:
        assert world.rest(run).status == "completed"
        assert bodies(world, run) == ONCE


def test_a_worker_killed_in_every_attempt(world: World) -> None:
    """A step that has cost three workers is undone, and never tried a fourth time."""
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate-after"] * 9}), id="doomed")
    for attempt in (1, 2, 3):
        worker = world.worker(f"w{attempt}")
        _begun(world, run, attempt)
        worker.kill()
    world.worker("last")
    state = world.rest(run)
    assert (state.status, state.failed_step) == ("compensated", "pay")
    assert bodies(world, run) == {"book": 1, "pay": 3, "pay.undo": 1, "book.undo": 1}
    assert [event.attempt for event in events(run, "lost", "pay")] == [1, 2, 3]


def _begun(world: World, run: RunHandle[Any], attempt: int) -> None:
    world.until(lambda: bodies(world, run).get("pay") == attempt, f"body {attempt} began")


def test_a_worker_killed_in_a_compensation(world: World) -> None:
    """An undo whose worker is killed is done again, under the same key, and the rest follow."""
    first = world.worker("first")
    world.beat()
    script = {"send": ["abort-clean"], "pay.undo": ["gate-after"]}
    run = world.kit.trip.start(Trip(script=script), id="halfway")
    world.reached(run, "pay.undo")
    world.worker("second")  # how long one takes to start says nothing about recovery
    killed = time.time()
    first.kill()
    assert world.rest(run).status == "compensated"
    assert claimed_after(run, "pay", killed, "undo") <= RECOVERY
    assert bodies(world, run) == {**ONCE, "pay.undo": 2, "book.undo": 1}
    assert effects(world, run) == ["do book", "do pay", "undo pay", "undone pay", "undo book"]


# --- beat --------------------------------------------------------------------------------------


def test_a_second_beat_takes_over(world: World) -> None:
    """When beat is killed, another one started later sweeps what was lost meanwhile."""
    world.worker()
    beat = world.beat("beat")
    with world.fault("drop"):
        first = world.kit.trip.start(Trip(), id="first")
    assert world.rest(first).status == "completed"
    beat.kill()
    with world.fault("drop"):
        second = world.kit.trip.start(Trip(script={"pay": ["kill-after"]}), id="second")
    world.beat("other")
    assert world.rest(second).status == "completed"
    assert {event.data["why"] for event in events(second, "dispatched", "book")} == {"unclaimed"}
    assert bodies(world, second) == {**ONCE, "pay": 2}


def test_two_beats_and_two_workers_do_no_harm(world: World) -> None:
    """Sweeping twice at once repeats nothing: every attempt has one body, every run its end."""
    world.worker("w1")
    world.worker("w2")
    world.beat("b1")
    world.beat("b2")
    scripts: dict[str, dict[str, list[str]]] = {
        "fine": {},
        "flaky": {"pay": ["raise", "raise-after"]},
        "refused": {"send": ["abort"]},
        "deadly": {"pay": ["kill-after"]},
    }
    with world.fault("drop"):
        runs = {
            (kind, number): world.kit.trip.start(Trip(script=script), id=f"{kind}-{number}")
            for number in range(3)
            for kind, script in scripts.items()
        }
    undone = {"send.undo": 1, "pay.undo": 1, "book.undo": 1}
    expected = {
        "fine": ONCE,
        "flaky": {**ONCE, "pay": 3},
        "refused": {**ONCE, **undone},
        "deadly": {**ONCE, "pay": 2},
    }
    for (kind, _), run in runs.items():
        assert world.rest(run).status == ("compensated" if kind == "refused" else "completed")
        assert bodies(world, run) == expected[kind]
        assert len(events(run, "claimed")) == sum(expected[kind].values())
