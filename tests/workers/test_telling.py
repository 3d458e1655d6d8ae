"""What a step tells while it is at work, as somebody in another process sees it.

Owns: that it is there soon, and leaves no event.  Refuses to know: how it is shown (`tests/views`).
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from celeriac.flower import format_task
from celeriac.machine import EventKind
from tests.workers.histories import events
from tests.workers.kit import Trip
from tests.workers.monitors import Events

if TYPE_CHECKING:
    from tests.workers.world import World


def _in_flower(world: World, stream: Events, task_id: str) -> str:
    """What Flower shows for a task's arguments, by the events that there were."""
    state = world.kit.app.events.State()
    for event in list(stream.seen):
        state.event({**event})
    task = state.tasks.get(task_id)
    return str(format_task(copy(task)).args) if task else ""  # a copy, as Flower makes it


def test_what_a_step_tells_is_seen_at_once(world: World) -> None:
    """The last value of many is there while the step goes on, and the run is found by its tag."""
    world.worker()
    with Events(world.kit.app) as stream:
        script = {"pay": ["tell"]}
        run = world.kit.trip.start(Trip(script=script), id="t-1", tags={"region": "us"})
        world.reached(run, "pay")
        world.until(lambda: str(run.progress().get("pay")).startswith("100 of"), "the last is seen")
        flower = "t-1 · pay · #1 · 100 of 100 labels printed"
        world.until(lambda: _in_flower(world, stream, "t-1:pay:1") == flower, "Flower has it too")
    step = run.state().step("pay")
    assert str(step.progress) == "100 of 100 labels printed"
    sagas = world.kit.sagas
    assert [each.id for each in sagas.runs(tags={"region": "eu"}).runs] == ["t-1"]
    assert not sagas.runs(tags={"region": "us"}).runs
    assert len(events(run, EventKind.TAGGED)) == 1
    world.open(run, "pay")
    assert world.rest(run).status == "completed"
    assert run.state().tags == {"region": "eu"}
    assert run.progress() == {}
    told = [event.kind for event in run.history() if event.step == "pay"]
    assert told == [EventKind.CLAIMED, EventKind.TAGGED, EventKind.COMPLETED]
    world.check(run)
