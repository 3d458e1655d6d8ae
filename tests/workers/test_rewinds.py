"""A run that goes back to a step, among real processes that die on the way.

Owns: that what stands is left alone, and that of what is done again one effect stands.  Refuses to
know: what is decided (`tests/machine/test_rewinds.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.workers.kit import Ticket, Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def test_a_run_goes_back_and_forward_again(world: World) -> None:
    """A process is killed as it undoes a step, and others just after they did the last one."""
    world.worker()
    world.beat()
    deadly = {"pay.undo": ["kill"], "send": ["kill-after"]}
    run = world.kit.trip.start(Trip(script=deadly), id="r-1")
    assert world.rest(run).status == "completed"
    assert run.rewind(to="pay", reason="the wrong card")
    world.until(lambda: run.state().rewinds == 1, "it goes forward again")
    assert world.rest(run).status == "completed"
    assert run.result() == Ticket(number="send-r-1")
    assert world.ledger.live("r-1") == {"book"}, "what came before stands"
    assert world.ledger.live("r-1~2") == {"pay", "send"}
    run.cancel("after all")
    assert world.rest(run).status == "compensated"
    assert world.ledger.live("r-1") | world.ledger.live("r-1~2") == set()
