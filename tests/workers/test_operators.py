"""What operators do to runs that real workers are at: hold them, answer them, skip a step.

Owns: that messages, workers and the sweep do what the state says.  Refuses to know: when a command
is possible (`tests/machine/test_holding.py`, `test_skipping.py`, `test_effects.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.workers.histories import bodies
from tests.workers.kit import GRACE, SWEEP, Ticket, Trip

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.workers.world import World


def asking(world: World, run_id: str) -> RunHandle[Any]:
    """A run whose mail was lost with its worker, so that nobody knows whether it was sent."""
    world.worker()
    world.beat()
    run = world.kit.mailing.start(Trip(script={"mail": ["kill-after"]}), id=run_id)
    state = world.rest(run)
    assert (state.status, state.owed) == ("failed", ("mail",))
    assert state.step("mail").asks
    return run


def test_nobody_mails_twice_unasked(world: World) -> None:
    """A step that honours no key is neither repeated nor undone when its worker dies."""
    run = asking(world, "m-1")
    assert bodies(world, run) == {"book": 1, "mail": 1}
    assert run.skip("mail", Ticket(number="as seen"), "it is in her inbox", by="ada")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {"book": 1, "mail": 1, "pay": 1}


def test_an_operator_has_it_done_again(world: World) -> None:
    """The next attempt is a worker's, under the same key."""
    run = asking(world, "m-2")
    assert run.retry("mail", by="ada")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {"book": 1, "mail": 2, "pay": 1}


def test_an_operator_has_all_of_it_undone(world: World) -> None:
    """The mail that nobody knows of too."""
    run = asking(world, "m-3")
    assert run.cancel("too late now", by="ada")
    assert world.rest(run).status == "compensated"
    assert world.ledger.live("m-3") == set()


def test_a_held_run_waits_for_as_long_as_it_takes(world: World) -> None:
    """What is at work ends; nothing follows before the run is let go, and then at once."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"book": ["gate"]}), id="h-1")
    world.reached(run, "book")
    assert run.pause("the bank is down", by="ada")
    world.open(run, "book")
    world.until(lambda: run.state().step("book").status == "completed", "the step ends")
    other = world.kit.trip.start(Trip(), id="h-2")
    assert world.rest(other).status == "completed"
    # Sweeps have looked since, and more than once.
    sweeps = world.kit.sagas.runtime.engine.store.last_sweep
    before = world.until(sweeps, "the first sweep has ended")
    assert before is not None
    world.until(
        lambda: (mark := sweeps()) is not None and mark.at - before.at > 1000 * (GRACE + 2 * SWEEP),
        "the sweep has looked again and again",
    )
    assert (run.status, bodies(world, run)) == ("paused", {"book": 1})
    assert run.resume("it is back", by="ada")
    assert world.rest(run).status == "completed"
    assert bodies(world, run) == {"book": 1, "pay": 1, "send": 1}


def test_an_undo_is_held(world: World) -> None:
    """A run that turns round while it is held undoes nothing before it is let go."""
    world.worker()
    world.beat()
    run = world.kit.trip.start(Trip(script={"pay": ["gate", "abort"], "send": ["gate"]}), id="h-3")
    world.reached(run, "pay")
    run.pause("wait", by="ada")
    run.cancel("no", by="bob")  # lets go
    run.pause("wait again", by="ada")
    world.open(run, "pay")
    world.until(lambda: run.state().step("pay").status == "compensating", "the run turns round")
    assert run.status == "paused"
    assert world.ledger.rows("h-3:%", "undo") == []
    run.resume(by="ada")
    assert world.rest(run).status == "compensated"
