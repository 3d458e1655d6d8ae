"""Scopes in real workers: one task undoes several steps, whatever becomes of its messages.

Owns: what is sent and run of it.  Refuses to know: what is decided
(`tests/machine/test_scopes.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.workers.histories import bodies, claims, effects
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def test_several_steps_are_undone_by_one_task(world: World) -> None:
    """Once, after what came after them and before what came before; Flower has its message."""
    world.worker(children=2)
    world.beat()
    run = world.kit.bundle.start(Trip(script={"last": ["abort"]}), id="s-1")
    state = world.rest(run)
    assert state.status == "compensated"
    assert claims(run, "call_off", "undo") == [1]
    assert claims(run, "left", "undo") == claims(run, "right", "undo") == []
    told = effects(world, run)
    assert told[-4] == "undone last"
    assert sorted(told[-3:-1]) == ["undo left", "undo right"]
    assert told[-1] == "undo first"
    assert world.published("s-1:call_off:undo:1")
    shown = {step.name: step.status.value for step in state.steps}
    assert shown == dict.fromkeys(["first", "left", "right", "call_off", "last"], "compensated")


def test_a_lost_message_and_a_dead_worker_do_not_leave_anything_standing(world: World) -> None:
    """The undo is sent again, and tried again where its worker died half way."""
    world.worker(children=2)
    world.beat()
    script = {"last": ["abort-clean"], "right.undo": ["kill"]}
    with world.fault("drop", "s-2:call_off:undo:1"):
        run = world.kit.bundle.start(Trip(script=script), id="s-2")
        world.until(lambda: world.published("s-2:call_off:undo:1", "-"), "the message is lost")
    assert world.rest(run).status == "compensated"
    assert claims(run, "call_off", "undo") == [1, 2]
    assert {"undo left", "undo right", "undo first"} <= {*effects(world, run)}
    assert bodies(world, run)["right.undo"] == 2
