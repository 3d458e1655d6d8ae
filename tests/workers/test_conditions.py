"""Conditions in real workers: predicates are tasks, and messages go where the answer says.

Owns: what is sent, claimed and run.  Refuses to know: what is decided
(`tests/machine/test_choices.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.workers.histories import bodies, claims
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World


@pytest.mark.parametrize(
    ("answer", "does", "skips"),
    [("long", ["long", "longer"], ["short"]), ("short", ["short"], ["long", "longer"])],
)
def test_what_was_not_chosen_is_never_claimed(
    world: World, answer: str, does: list[str], skips: list[str]
) -> None:
    """Whatever its chain has brought along; each step that was chosen runs once."""
    world.worker()
    world.beat()
    run = world.kit.asking.start(Trip(script={"is_long": [answer]}), id="c-1")
    state = world.rest(run)
    assert state.status == "completed"
    assert bodies(world, run) == dict.fromkeys(["first", *does, "last"], 1)
    assert state.step("is_long").choice == ("true" if answer == "long" else "false")
    for name in skips:
        assert (state.step(name).status, claims(run, name)) == ("skipped", [])
    # No message was sent for what nobody chose.
    assert not [sent for name in skips for sent in world.published(f"c-1:{name}:")]


def test_a_step_that_skips_itself_ends_as_a_success(world: World) -> None:
    """Celery and Flower are told of no failure, and what follows is not undone."""
    worker = world.worker()
    world.beat()
    run = world.kit.asking.start(Trip(script={"idle": ["yes"]}), id="c-2")
    state = world.rest(run)
    assert (state.status, state.step("short").status) == ("completed", "skipped")
    assert bodies(world, run) == {"first": 1, "last": 1}
    assert worker.says("[c-2:short:1] succeeded")
    assert state.step("short").because == "nothing to do"
    assert [e.data for e in run.history() if e.kind == "skipped"] == [{"said": "nothing to do"}]


def test_a_predicate_whose_worker_dies_is_asked_again(world: World) -> None:
    """The answer is not lost with the message that follows from it."""
    world.worker()
    world.beat()
    with world.fault("drop", "c-3:long:1"):
        run = world.kit.asking.start(Trip(script={"is_long": ["long"]}), id="c-3")
        world.until(lambda: world.published("c-3:long:1", "-"), "the message is lost")
    assert world.rest(run).status == "completed"
    assert claims(run, "is_long") == [1]


def test_what_was_chosen_is_undone_and_nothing_else(world: World) -> None:
    """When the last step gives up."""
    world.worker()
    world.beat()
    run = world.kit.asking.start(
        Trip(script={"is_long": ["long"], "last": ["abort-clean"]}), id="c-4"
    )
    assert world.rest(run).status == "compensated"
    undone = {name for name in bodies(world, run) if name.endswith(".undo")}
    assert undone == {"longer.undo", "long.undo", "first.undo"}
