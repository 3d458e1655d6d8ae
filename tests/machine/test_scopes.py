"""Scopes: several steps that one compensation undoes, as a whole.

Owns: what is particular to a node that covers others (I19).  Refuses to know: how a plan is written
(`tests/authoring`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine.awaited import Wait
from celeriac.machine.commands import Wake
from celeriac.machine.events import EventKind
from celeriac.machine.guards import Choice
from celeriac.machine.plans import Node, Undo
from celeriac.machine.shown_status import shown_step
from celeriac.machine.steps import PhaseStatus, StepStatus
from tests.machine.story import GRACE, Story, budget, refused, started, step


def scope(name: str, *covers: str) -> Node:
    """What undoes several steps."""
    undo = Undo(task=f"shop.{name}", wants=(), retry=budget())
    return Node(name=name, task=undo.task, undo=undo, covers=covers)


def bare(name: str, *after: str, **values: Any) -> Node:
    """A step without an undo of its own."""
    return step(name, undo=None, after=after, **values)


def trip(**values: Any) -> Story:
    """Pay, then a hotel and a car that are undone as one, then a confirmation."""
    nodes = bare("hotel", "pay"), bare("car", "hotel")
    return started("pay", scope("call_off", "hotel", "car"), *nodes, step("confirm"), **values)


def test_several_steps_are_undone_once_in_the_place_of_the_first() -> None:
    """After all that came after them, and before what came before (I19)."""
    story = trip().do("pay", "hotel", "car")
    story.give_up("confirm")
    story.undo("confirm", "call_off", "pay")
    assert story.happened(EventKind.CLAIMED, "undo") == ["confirm", "call_off", "pay"]
    assert story.status == "compensated"


def test_a_run_that_completes_never_looks_at_a_scope() -> None:
    """It is no step: nothing waits for it, and it leaves nothing behind."""
    story = trip().do("pay", "hotel", "car", "confirm")
    assert story.status == "completed"
    assert "call_off" not in story.run.steps
    with refused("not_due"):
        story.claim("call_off")


def test_what_asks_or_waits_is_no_reason_to_undo() -> None:
    """A predicate and a wait inside have no effect, though they were done."""
    ask = bare("is_far", "pay", choice=Choice(labels=("yes", "no")))
    wait = Wait(timeout=1_000, on_timeout="continue")
    pause = Node(name="pause", task="", after=("is_far",), wait=wait)
    inside = ask, pause, bare("hotel", "pause")
    story = started("pay", scope("call_off", *(node.name for node in inside)), *inside)
    story.do("pay").choose("is_far", "yes")
    story.now += 1_000
    story.give(Wake())
    story.give_up("hotel", effect=False)
    story.undo("pay")
    assert story.happened(EventKind.CLAIMED, "undo") == ["pay"]
    assert story.status == "compensated"


def test_one_step_that_may_have_had_its_effect_is_enough() -> None:
    """The others never started, or have proved that they did nothing."""
    story = trip().do("pay")
    story.give_up("hotel")  # no proof
    story.undo("call_off", "pay")
    assert story.status == "compensated"


def test_without_any_effect_nothing_is_undone() -> None:
    """The first step inside has proved that it did nothing; the second never started."""
    story = trip().do("pay")
    story.give_up("hotel", effect=False)
    story.undo("pay")
    assert story.happened(EventKind.CLAIMED, "undo") == ["pay"]
    assert story.status == "compensated"


def test_the_undo_waits_for_a_member_at_work() -> None:
    """What it still reports is recorded, and undone with the rest (I7)."""
    story = trip().do("pay", "hotel")
    story.claim("car")
    story.cancel()
    with refused("not_due"):
        story.claim("call_off", "undo")
    story.complete("car")
    story.undo("call_off", "pay")
    assert story.status == "compensated"


def test_a_member_whose_outcome_is_unknown_counts() -> None:
    """It is waited for until its effect must have landed."""
    story = trip().do("pay")
    story.lose("hotel").advance(1_000)
    story.lose("hotel")
    with refused("not_due"):
        story.claim("call_off", "undo")
    story.advance(GRACE).undo("call_off", "pay")
    assert story.status == "compensated"


def test_a_barrier_does_not_shorten_the_wait_of_a_scope() -> None:
    """A barrier knows a step by its own key, and nobody lays a tombstone under that here."""
    story = started(scope("call_off", "hotel"), bare("hotel", effect="barrier", retry=budget(1)))
    story.lose("hotel")
    with refused("not_due"):
        story.claim("call_off", "undo")
    story.advance(GRACE).undo("call_off")
    assert story.status == "compensated"


def test_a_late_effect_of_a_member_reopens_the_scope_once() -> None:
    """One more undo, of the next generation; another look changes nothing."""
    story = trip().do("pay", "hotel")
    story.lose("car").advance(1_000)
    story.lose("car").advance(GRACE)
    story.undo("call_off", "pay")
    assert story.status == "compensated"
    story.complete("car", attempt=1)
    assert story["call_off"].generation == 1
    story.complete("car", attempt=1)
    assert story["call_off"].generation == 1
    story.undo("call_off")
    assert story.status == "compensated"
    assert story.happened(EventKind.REOPENED, "undo") == ["call_off"]


def test_an_undo_that_gives_up_is_owed_retried_or_waived() -> None:
    """Under the name of what undoes; the others go on."""
    story = trip().do("pay", "hotel")
    story.cancel()
    story.give_up("call_off", "undo").undo("pay")
    assert (story.status, story.run.owed) == ("failed", ("call_off",))
    story.retry("call_off")
    story.give_up("call_off", "undo")
    story.waive("call_off")
    assert story.status == "compensated"


def test_what_undoes_others_cannot_be_skipped() -> None:
    """It is no step; an undo is waived."""
    story = trip().do("pay")
    with refused("not_owed"):
        story.skip("call_off")


def test_its_steps_stand_where_their_undo_stands() -> None:
    """A step that had no effect stands for itself."""
    story = trip().do("pay", "hotel")
    story.give_up("car", effect=False)
    shown = {name: shown_step(story.plan, story.run, name) for name in ("hotel", "car")}
    assert shown == {"hotel": StepStatus.COMPENSATING, "car": StepStatus.FAILED}
    story.undo("call_off")
    assert shown_step(story.plan, story.run, "hotel") is StepStatus.COMPENSATED


def branches(order: Any) -> Story:
    """A scope over two branches, beside a third."""
    return started(
        "pay",
        scope("call_off", "hotel", "car"),
        bare("hotel", "pay"),
        bare("car", "pay"),
        step("tour", after=("pay",)),
        step("confirm", after=("hotel", "car", "tour")),
        compensation_order=order,
    )


def test_over_branches_it_has_the_place_of_the_first_that_was_started() -> None:
    """In reverse order of start, whatever the plan says."""
    story = branches("reverse").do("pay", "car", "tour", "hotel")
    story.cancel()
    story.undo("tour", "call_off", "pay")
    assert story.status == "compensated"


def test_in_the_order_of_the_graph_it_waits_for_what_came_after_any_member() -> None:
    """And what came before any of them waits for it."""
    story = branches("graph").do("pay", "hotel", "tour", "car", "confirm")
    assert [d.step for d in story.cancel().dispatches] == ["confirm"]
    story.claim("confirm", "undo")
    after = story.complete("confirm", "undo")
    assert [d.step for d in after.dispatches] == ["call_off", "tour"]
    story.undo("tour")
    with refused("not_due"):
        story.claim("pay", "undo")
    story.undo("call_off", "pay")
    assert story.status == "compensated"


@pytest.mark.parametrize("order", ["forward", "parallel"])
def test_in_other_orders_it_is_undone_once_too(order: Any) -> None:
    """A scope is one undo in any of them."""
    story = branches(order).do("pay", "hotel", "tour", "car")
    story.cancel()
    story.undo("pay", "call_off", "tour")
    assert story.status == "compensated"
    assert story.states("undo")["call_off"] is PhaseStatus.DONE


def test_what_comes_to_light_when_all_is_over_is_undone_by_its_scope() -> None:
    """Also where its step swore that it had no effect, so that nobody ever looked at the scope."""
    story = trip().do("pay")
    story.claim("hotel")
    story.fail("hotel", kind="abort", effect=False)
    story.undo("pay")
    assert (story.status, "call_off" in story.run.steps) == ("compensated", False)
    story.say("hotel", attempt=1)
    assert story.status == "compensating"
    story.undo("call_off")
    assert story.status == "compensated"
    story.check_history()
