"""Answers in place of results, in real workers: what Celery is told, and what is sent.

Owns: messages and bodies.  Refuses to know: what is decided (`tests/machine/test_answers.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac import RunCompensated
from tests.workers.histories import bodies, claims
from tests.workers.kit import Ticket, Trip

if TYPE_CHECKING:
    from tests.workers.world import World


def test_a_step_that_ends_the_run_ends_as_a_success(world: World) -> None:
    """Celery and Flower are told of no failure, and the rest of the chain is not sent."""
    worker = world.worker()
    world.beat()
    run = world.kit.replying.start(Trip(script={"answer": ["done"]}), id="a-1")
    state = world.rest(run)
    assert state.status == "completed"
    assert run.result(timeout=0) == Ticket(number="reply-a-1")
    assert bodies(world, run) == {"first": 1, "reply": 1}
    assert (state.step("last").status, claims(run, "last")) == ("skipped", [])
    assert worker.says("[a-1:reply:1] succeeded")


def test_a_run_that_a_step_has_ended_is_undone(world: World) -> None:
    """By a cancel, the step that ended it as well."""
    world.worker()
    world.beat()
    run = world.kit.replying.start(Trip(script={"answer": ["done"]}), id="a-2")
    assert world.rest(run).status == "completed"
    run.cancel("changed my mind")
    assert world.rest(run).status == "compensated"
    assert {name for name in bodies(world, run) if name.endswith(".undo")} == {
        "first.undo",
        "reply.undo",
    }


def test_the_caller_gets_an_answer(world: World) -> None:
    """From the state, which no message carries, nor does Celery hear of it."""
    worker = world.worker()
    world.beat()
    run = world.kit.replying.start(Trip(script={"answer": ["decline"]}), id="a-3")
    state = world.rest(run)
    assert (state.status, state.answer) == ("compensated", {"code": "05"})
    with pytest.raises(RunCompensated) as caught:
        world.kit.replying.start(Trip(script={"answer": ["decline"]}), id="a-3").result(timeout=0)
    assert caught.value.answer == {"code": "05"}
    assert bodies(world, run) == {"first": 1, "reply": 1, "reply.undo": 1, "first.undo": 1}
    assert not worker.says("'05'")


def test_a_run_begins_anew(world: World) -> None:
    """When its time has come, under keys of its own; whoever waits hears of the last end."""
    world.worker()
    world.beat()
    run = world.kit.replying.start(Trip(script={"answer": ["busy"]}), id="a-5")
    assert run.result(timeout=30) == Ticket(number="last-a-5")
    state = world.rest(run)
    assert (state.status, state.tries, state.why) == ("completed", 2, None)
    assert claims(run, "reply") == [1, 1]
    assert (world.kit.ledger.live("a-5"), world.kit.ledger.live("a-5~2")) == (
        set(),
        {"first", "reply", "last"},
    )
    assert world.kit.replying.start(Trip(script={"answer": ["busy"]}), id="a-5").joined


def test_a_step_is_asked_again_soon_and_later(world: World) -> None:
    """Celery is told of a retry and of no failure; later ones have no message meanwhile."""
    worker = world.worker()
    world.beat()
    run = world.kit.replying.start(Trip(script={"later": ["200ms", "2500ms"]}), id="a-4")
    state = world.rest(run)
    assert state.status == "completed"
    assert (state.step("reply").attempts, claims(run, "last")) == (3, [1])
    assert bodies(world, run) == {"first": 1, "reply": 1, "last": 1}
    assert worker.says("[a-4:reply:1] retry")
    told = [event for event in run.history() if event.kind == "postponed"]
    assert [event.data.get("count") for event in told] == [2]
