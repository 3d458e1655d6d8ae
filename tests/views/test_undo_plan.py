"""What a cancel would undo: the preview says what then happens."""

from __future__ import annotations

import json

from celeriac.machine.expressions import FromInput, FromStep
from celeriac.machine.plans import Node, Undo
from celeriac.store import payloads
from celeriac.views.undo_plan import undo_fields, undo_plan_of
from tests.machine.story import Story, budget, started, step

WANTS = Undo(task="shop.refund", wants=("order", "hold", "result"), retry=budget())
CHARGE = step(
    "charge", undo=WANTS, args={"order": FromInput(input="order"), "hold": FromStep(step="reserve")}
)
FIELDS = {
    payloads.input_field("order"): json.dumps({"id": 42}),
    payloads.output_field("reserve"): json.dumps("hold-7"),
    payloads.output_field("charge"): json.dumps("paid"),
}


def preview(story: Story) -> tuple[list[str], list[str]]:
    """The steps that would be undone, and those that would stay."""
    plan = undo_plan_of(story.plan, story.run, FIELDS, story.now)
    return [each.step for each in plan.undone], [each.step for each in plan.staying]


def test_the_preview_is_what_happens() -> None:
    """The same steps, in the same order."""
    story = started("reserve", "charge", "ship").do("reserve", "charge", "ship")
    steps, stays = preview(story)
    assert (steps, stays) == (["ship", "charge", "reserve"], [])
    before = story.run
    story.cancel()
    assert before.status == "completed", "a preview changes nothing"
    story.undo(*steps)
    assert story.status == "compensated"


def test_each_saga_has_its_own_order() -> None:
    """As it is declared."""
    story = started("reserve", "charge", compensation_order="forward").do("reserve", "charge")
    assert preview(story)[0] == ["reserve", "charge"]


def test_the_inputs_are_those_of_the_compensation() -> None:
    """By parameter: the step's arguments, and its result."""
    story = started("reserve", CHARGE).do("reserve", "charge")
    assert set(undo_fields(story.plan, story.run)) >= set(FIELDS)
    (charge, _) = undo_plan_of(story.plan, story.run, FIELDS, story.now).steps
    assert charge.task == "shop.refund"
    assert charge.inputs == {"order": {"id": 42}, "hold": "hold-7", "result": "paid"}
    assert charge.certain


def test_what_is_not_known_is_said() -> None:
    """An attempt at work may take effect, and one that was lost may have."""
    story = started("reserve", "charge").lose("reserve").do("reserve")
    story.claim("charge")
    plan = undo_plan_of(story.plan, story.run, FIELDS, story.now)
    assert [(each.step, each.certain) for each in plan.steps] == [
        ("charge", False),
        ("reserve", True),
    ]


def test_what_cannot_be_undone_stays() -> None:
    """With the reason; steps that never started are not mentioned."""
    story = started("reserve", step("mail", undo=None), "ship").do("reserve", "mail")
    plan = undo_plan_of(story.plan, story.run, FIELDS, story.now)
    assert [(each.step, each.stays) for each in plan.staying] == [
        ("mail", "it has no compensation")
    ]
    assert [each.step for each in plan.undone] == ["reserve"]


def test_past_the_pivot_nothing_is_undone() -> None:
    """The preview says why, in the words of the refusal."""
    story = started("reserve", step("charge", pivot=True), "ship").do("reserve", "charge")
    plan = undo_plan_of(story.plan, story.run, FIELDS, story.now)
    assert plan.steps == ()
    assert plan.refused is not None
    assert "only goes forward" in plan.refused


def test_a_run_on_its_way_back_shows_what_is_left() -> None:
    """What is undone already, what is owed, and what is still to be undone."""
    story = started("reserve", "charge", "ship").do("reserve", "charge", "ship")
    story.cancel()
    story.undo("ship").give_up("charge", "undo")
    plan = undo_plan_of(story.plan, story.run, FIELDS, story.now)
    assert [each.step for each in plan.undone] == ["reserve"]
    told = {each.step: each.stays for each in plan.staying}
    assert told["ship"] == "it is undone already"
    assert "owed" in (told["charge"] or "")


def test_several_steps_are_undone_as_one() -> None:
    """In the place of the first of them; it says which."""
    undo = Undo(task="shop.call_off", wants=())
    scope = Node(name="call_off", task=undo.task, undo=undo, covers=("hotel", "car", "tour"))
    names = ("hotel", "car", "tour")
    story = started("pay", scope, *(step(name, undo=None) for name in names), "confirm")
    story.do("pay", "hotel").claim("car")
    plan = undo_plan_of(story.plan, story.run, {}, story.now)
    assert [(each.step, each.covers, each.certain) for each in plan.undone] == [
        ("call_off", ("hotel", "car"), True),
        ("pay", (), True),
    ]
