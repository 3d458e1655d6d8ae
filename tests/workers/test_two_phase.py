"""Two phases in real workers: all is confirmed, or all is cancelled, whatever becomes of messages.

Owns: what is sent and run of it.  Refuses to know: what is decided
(`tests/machine/test_two_phase.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.workers.histories import bodies, claims, effects
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def test_what_is_prepared_is_confirmed_whatever_becomes_of_it(world: World) -> None:
    """A lost message is sent again, a confirm whose worker died is tried again; none is undone."""
    world.worker()
    world.beat()
    script = {"debit.confirm": ["raise", "kill"]}
    with world.fault("drop", "p-1:credit.confirm:1"):
        run = world.kit.transfer.start(Trip(script=script), id="p-1")
        world.until(lambda: world.published("p-1:credit.confirm:1", "-"), "its message is lost")
    state = world.rest(run)
    shown = {step.name: step.status.value for step in state.steps}
    assert shown == {
        "first": "completed",
        "debit": "confirmed",
        "credit": "confirmed",
        "last": "completed",
    }
    assert claims(run, "debit.confirm") == [1, 2, 3]
    assert claims(run, "credit.confirm") == [1]
    assert not [told for told in effects(world, run) if told.startswith("undo")]


def test_what_cannot_be_prepared_is_cancelled(world: World) -> None:
    """In reverse, and nothing is confirmed."""
    world.worker()
    world.beat()
    run = world.kit.transfer.start(Trip(script={"credit": ["abort-clean"]}), id="p-2")
    assert world.rest(run).status == "compensated"
    assert effects(world, run) == ["do first", "do debit", "undo debit", "undo first"]
    assert not [name for name in bodies(world, run) if name.endswith("confirm")]
