"""Branches in real workers: side by side, joined once, and stopped together.

Owns: that messages of a fork are sent, each to its queue, and those of a join once, whatever gets
lost.  Refuses to know: what may start when (`tests/machine/test_branches.py`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from celeriac.machine import Plan
from celeriac.workers.canvas import CeleryDispatcher
from tests.machine.story import Story, step
from tests.workers.histories import bodies, claims, effects
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World

STEPS = ("first", "left", "right", "further", "last")
QUEUES = ("-Q", "celery,celeriac,elsewhere")


def test_branches_are_at_work_at_the_same_time_and_joined_once(world: World) -> None:
    """One of them is sent to a queue that the saga names; a message published twice joins once."""
    world.worker(children=3, args=QUEUES)
    world.beat()
    run = world.kit.tour.start(Trip(script={"left": ["gate"], "right": ["gate"]}), id="t-1")
    with world.fault("double", "t-1:last"):
        world.reached(run, "left")
        world.reached(run, "right")
        world.open(run, "right")
        world.until(lambda: run.state().step("further").status == "completed", "a branch is done")
        assert run.state().step("last").status == "pending"
        world.open(run, "left")
        assert world.rest(run).status == "completed"
    assert bodies(world, run) == dict.fromkeys(STEPS, 1)
    assert claims(run, "last") == [1]


def test_a_branch_waits_for_its_own_queue(world: World) -> None:
    """Nobody takes from it: the other branch goes on, and the join does not."""
    world.worker()
    world.beat()
    run = world.kit.tour.start(Trip(), id="t-2")
    world.until(lambda: run.state().step("further").status == "completed", "a branch is done")
    assert claims(run, "left") == claims(run, "last") == []
    world.worker("w2", args=("-Q", "elsewhere"))
    assert world.rest(run).status == "completed"


def test_a_branch_that_fails_stops_the_others(world: World) -> None:
    """What is at work is waited for, recorded and undone; nothing new starts."""
    world.worker()
    world.beat()
    run = world.kit.tour.start(Trip(script={"left": ["abort-clean"], "right": ["gate"]}), id="t-3")
    world.reached(run, "right")
    world.worker("w2", args=("-Q", "elsewhere"))
    world.until(lambda: run.status == "compensating", "the run has turned round")
    assert effects(world, run) == ["do first"]
    world.open(run, "right")
    state = world.rest(run)
    assert effects(world, run) == ["do first", "do right", "undo right", "undo first"]
    assert bodies(world, run).keys() == {"first", "left", "right", "right.undo", "first.undo"}
    assert {each.name: (each.status, each.because) for each in state.steps}["last"] == (
        "skipped",
        "left failed",
    )


def test_the_worker_of_the_last_branch_dies_before_it_sends_the_join(world: World) -> None:
    """The sweep sends it, once; a branch whose worker died is tried again before."""
    world.worker(children=3, args=QUEUES)
    world.beat()
    with world.fault("drop", "t-4:last:1"):
        run = world.kit.tour.start(Trip(script={"left": ["kill-after"]}), id="t-4")
        world.until(lambda: world.published("t-4:last:1", "-"), "the join's message is lost")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {**dict.fromkeys(STEPS, 1), "left": 2}
    assert claims(run, "last") == [1]


def _bytes_on_the_wire(world: World, blocks: int, wide: int) -> int:
    """Of all messages of a run with blocks of so many steps side by side, one after the other."""
    nodes, before = [], tuple[str, ...]()
    for block in range(blocks):
        made = [step(f"s{block}-{n}", after=before) for n in range(wide)]
        nodes += made
        before = tuple(node.name for node in made)
    story = Story(Plan(saga="wide", nodes=tuple(nodes)))
    dispatcher, size = CeleryDispatcher(world.kit.app), 0
    waiting = list(story.start().dispatches)
    while waiting:
        dispatch = waiting.pop(0)
        links = dispatcher.links(story.plan, story.run, dispatch)
        size += len(json.dumps(links))
        story.claim(dispatch.step)
        waiting += story.complete(dispatch.step).dispatches
    assert story.status == "completed"
    return size


def test_bytes_on_the_wire_grow_linearly(world: World) -> None:
    """Twice the blocks are twice the bytes, and a wide saga costs what a long one does."""
    assert _bytes_on_the_wire(world, 6, 10) < 2.1 * _bytes_on_the_wire(world, 3, 10)
    assert _bytes_on_the_wire(world, 6, 10) < 10 * _bytes_on_the_wire(world, 6, 1) * 1.1
