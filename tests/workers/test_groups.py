"""Groups in real workers: a route is followed, whatever becomes of messages and workers.

Owns: what is sent and run of them.  Refuses to know: what is decided
(`tests/machine/test_groups.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.workers.histories import bodies, claims, effects
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def test_a_group_is_left_and_visited_again(world: World) -> None:
    """Each visit has messages and keys of its own, also where a worker dies or one is lost."""
    world.worker(children=2)
    world.beat()
    script = {"first.goes": ["manual"], "decide.goes": ["entry"], "decide": ["kill"]}
    with world.fault("drop", "g-1:first~2:1"):
        run = world.kit.rounds.start(Trip(script=script), id="g-1")
        world.until(lambda: world.published("g-1:first~2:1", "-"), "the message is lost")
    state = world.rest(run)
    assert state.status == "completed"
    assert [(step.name, step.status.value) for step in state.steps] == [
        ("first", "completed"),
        ("then", "skipped"),
        ("decide", "completed"),
        ("first~2", "completed"),
        ("then~2", "completed"),
    ]
    assert claims(run, "decide") == [1, 2]
    assert claims(run, "first~2") == [1]
    assert bodies(world, run) == {"first": 1, "decide": 2, "first~2": 1, "then~2": 1}
    assert {"do first", "do decide", "do first~2", "do then~2"} <= {*effects(world, run)}


def test_all_visits_are_undone(world: World) -> None:
    """The last step first, over all of them."""
    world.worker(children=2)
    world.beat()
    script = {"first.goes": ["manual"], "decide.goes": ["entry"], "then~2": ["abort-clean"]}
    run = world.kit.rounds.start(Trip(script=script), id="g-2")
    assert world.rest(run).status == "compensated"
    undone = [each for each in effects(world, run) if each.startswith("undo")]
    assert undone == ["undo first~2", "undo decide", "undo first"]
