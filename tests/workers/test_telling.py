"""What a step tells while it is at work, as somebody in another process sees it.

Owns: that it is there soon, and leaves no event.  Refuses to know: how it is shown (`tests/views`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import EventKind
from tests.workers.histories import events
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def test_what_a_step_tells_is_seen_at_once(world: World) -> None:
    """The last value of many is there while the step goes on, and the run is found by its tag."""
    world.worker()
    run = world.kit.trip.start(Trip(script={"pay": ["tell"]}), id="t-1", tags={"region": "us"})
    world.reached(run, "pay")
    world.until(lambda: str(run.progress().get("pay")).startswith("100 of"), "the last is seen")
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
