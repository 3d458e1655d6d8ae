"""Groups: the plans that come of them, and mistakes found when a saga or a step is defined.

Owns: `flow.group`, `routes=`, and values of other groups.  Refuses to know: what a run makes of it
(`tests/machine/test_groups.py`, `tests/testing/test_groups.py`).  The file is long because each
mistake is a saga.
"""

# ruff: noqa: ARG001 -- the sagas here are planned, and never run
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import BaseModel

from celeriac import DefinitionError, Flow, Sagas
from celeriac.machine import Constant, FirstOf, FromStep

if TYPE_CHECKING:
    from celeriac.machine import Plan

app = Celery("groups", set_as_current=False)
sagas = Sagas(app)
Build = Callable[[Flow, str], object]


class Hold(BaseModel):
    """What is held."""

    id: str


@sagas.step
def hold(card: str) -> Hold:
    """Hold an amount."""
    return Hold(id=card)


@sagas.step
def check(hold: str) -> bool:
    """Take nothing but text."""
    return bool(hold)


@sagas.step
def tell(hold: Hold | None, id: str | None = None) -> str:  # noqa: A002 -- a field of theirs
    """Take what there is."""
    return "told"


@sagas.step(routes=("manual",))
def to_manual(card: str) -> str:
    """Perhaps go on with the manual group."""
    return card


@sagas.step
def prepare(card: str) -> str:
    """Prepare."""
    return card


@prepare.compensation
def cancel(card: str) -> None:
    """Cancel."""


@prepare.confirm
def confirm(card: str) -> None:
    """Confirm."""


@sagas.step
def all_of_it(holds: list[Hold] | None) -> str:
    """Take a list, if there is one."""
    return ""


def is_far(card: str) -> bool:
    """A predicate."""
    return bool(card)


def planned(build: Build, returns: Any = None, **options: Any) -> Plan:
    """The plan of a saga."""

    def pay(flow: Flow, card: str) -> Any:
        return build(flow, card)

    pay.__annotations__["return"] = returns
    return sagas.saga(name=f"pay-{len(sagas.defined)}", **options)(pay).planned.plan


def test_each_group_begins_anew() -> None:
    """No step of one waits for a step of another."""

    def build(flow: Flow, card: str) -> None:
        with flow.group("entry"):
            held = flow.step(hold, card)
            flow.step(tell, held)
        with flow.group("manual"):
            flow.step(tell, held, held.id)

    plan = planned(build)
    assert plan.groups == ("entry", "manual")
    assert [(node.name, node.after, node.group) for node in plan.nodes] == [
        ("hold", (), "entry"),
        ("tell", ("hold",), "entry"),
        ("tell-2", (), "manual"),
    ]


def test_a_plan_without_groups_is_what_it_was() -> None:
    """Fields that are not used make no other plan of it, and what was stored before is read."""

    def build(flow: Flow, card: str) -> None:
        flow.step(hold, card)

    plan = planned(build)
    written = plan.model_dump_json(exclude_defaults=True)
    assert '"group":' not in written
    assert '"routes":' not in written
    assert plan.groups == ()
    assert plan.whole is plan


def test_a_value_of_another_group_may_be_missing() -> None:
    """So it goes only where None may, also in the result; a field of it is None then, too."""

    def build(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            held = flow.step(hold, card)
        with flow.group("manual"):
            flow.step(tell, held, held.id)
        return held

    plan = planned(build, Hold | None)
    assert plan.result == FromStep(step="hold")
    with pytest.raises(DefinitionError, match=r"should be Hold, and .* is of another group"):
        planned(build, Hold)

    def wrong(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            held = flow.step(hold, card)
        with flow.group("manual"):
            flow.step(check, held.id)

    with pytest.raises(DefinitionError, match=r"should be str, and .* is of another group"):
        planned(wrong)


def test_what_always_exists_needs_no_none() -> None:
    """The input, what is written in the saga, and values of the same group or the only one."""

    def build(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            held = flow.step(hold, card)
            flow.step(check, held.id)
        return held

    assert planned(build, Hold).result == FromStep(step="hold")

    def two(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            flow.step(hold, card)
        with flow.group("manual"):
            flow.step(check, card)
        return card

    planned(two, str)


def test_either_of_all_groups_exists() -> None:
    """A run has ended in one of them; with a constant at the end, it always exists."""

    def build(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            held = flow.step(hold, card)
        with flow.group("manual"):
            other = flow.step(hold, card)
            flow.step(tell, flow.either(held, None))
        return flow.either(held, other)

    plan = planned(build, Hold)
    assert plan.result == FirstOf(first=(FromStep(step="hold"), FromStep(step="hold-2")))
    assert plan.by_name["tell"].args["hold"] == FirstOf(
        first=(FromStep(step="hold"), Constant(value=None))
    )

    def too_few(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            held = flow.step(hold, card)
        with flow.group("manual"):
            other = flow.step(hold, card)
        with flow.group("third"):
            flow.step(hold, card)
        return flow.either(held, other)

    with pytest.raises(DefinitionError, match="add another value to flow"):
        planned(too_few, Hold)


def test_steps_of_an_element_use_one_another() -> None:
    """They are in the group of their map: what one gives is there for the next one."""

    def piece(flow: Flow, card: str) -> Any:
        held = flow.step(hold, card)
        flow.step(tell, held)
        return held

    def build(flow: Flow, cards: list[str]) -> Any:
        with flow.group("entry"):
            first = flow.map(piece, cards)
        with flow.group("manual"):
            second = flow.map(piece, cards)
        return flow.either(first, second)

    build.__annotations__["return"] = list[Hold]
    plan = sagas.saga(name="pay-all")(build).planned.plan
    used = [node.args["hold"] for node in plan.all_nodes if node.task.endswith("tell")]
    assert used == [FromStep(step="piece[].hold"), FromStep(step="piece-2[].hold")]


def test_either_of_a_condition_leaves_its_group() -> None:
    """One of the two exists if the group was visited to its end."""

    def build(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            with flow.when(is_far, card):
                one = flow.step(hold, card)
            with flow.otherwise():
                two = flow.step(hold, card)
            either = flow.either(one, two)
        with flow.group("manual"):
            flow.step(tell, either, either.id)
        return either

    planned(build, Hold | None)
    with pytest.raises(DefinitionError, match="its result should be Hold"):
        planned(build, Hold)

    def wrong(flow: Flow, card: str) -> Any:
        with flow.group("entry"), flow.when(is_far, card):
            one = flow.step(hold, card)
        with flow.group("manual"):
            flow.step(tell, one)

    with pytest.raises(DefinitionError, match="made inside of a condition and leaves it"):
        planned(wrong)


def test_a_list_that_may_be_missing_cannot_be_mapped() -> None:
    """A map in a group has a list; outside of the group there may be none."""

    def build(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            holds = flow.map(hold, flow.step(cards, card))
        with flow.group("manual"):
            flow.step(all_of_it, holds)
        return holds

    planned(build, list[Hold] | None)

    def wrong(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            several = flow.step(cards, card)
        with flow.group("manual"):
            flow.map(hold, several)

    with pytest.raises(DefinitionError, match="step 'hold'"):
        planned(wrong)


def test_a_mapped_function_may_return_what_is_missing() -> None:
    """Then each element of the list may be None."""

    def each(flow: Flow, card: str, held: Any) -> Any:
        flow.step(hold, card)
        return held

    def build(flow: Flow, card: str) -> Any:
        with flow.group("entry"):
            held = flow.step(hold, card)
        with flow.group("manual"):
            holds = flow.map(each, flow.step(cards, card), held)
            flow.step(all_of_it, holds)

    with pytest.raises(DefinitionError, match=r"should be .*, and <results of each> is"):
        planned(build)


@sagas.step
def cards(card: str) -> list[str]:
    """Several."""
    return [card]


# --- mistakes ----------------------------------------------------------------------------------


def outside(flow: Flow, card: str) -> None:
    """A step before the groups."""
    flow.step(hold, card)
    with flow.group("entry"):
        flow.step(hold, card)


def empty(flow: Flow, card: str) -> None:
    """A group without steps."""
    with flow.group("entry"):
        pass


def twice(flow: Flow, card: str) -> None:
    """Two groups of one name."""
    for _ in range(2):
        with flow.group("entry"):
            flow.step(hold, card)


def odd(flow: Flow, card: str) -> None:
    """A name that a step could not have either."""
    with flow.group("entry~2"):
        flow.step(hold, card)


def nested(flow: Flow, card: str) -> None:
    """A group in a group."""
    with flow.group("entry"), flow.group("manual"):
        flow.step(hold, card)


def in_parallel(flow: Flow, card: str) -> None:
    """A group as a branch."""
    with flow.parallel(), flow.group("entry"):
        flow.step(hold, card)


def in_condition(flow: Flow, card: str) -> None:
    """A group under a condition."""
    with flow.when(is_far, card), flow.group("entry"):
        flow.step(hold, card)


def each_in_a_group(flow: Flow, card: str) -> None:
    """What is mapped."""
    with flow.group("inner"):
        flow.step(hold, card)


def in_a_map(flow: Flow, card: str) -> None:
    """A group in a fragment that is mapped."""
    with flow.group("entry"):
        flow.map(each_in_a_group, flow.step(cards, card))


def not_entered(flow: Flow, card: str) -> None:
    """A group that is no block."""
    flow.step(hold, card)
    flow.group("entry")


def waits_for_another(flow: Flow, card: str) -> None:
    """A step that waits for one of another group."""
    with flow.group("entry"):
        held = flow.step(hold, card)
    with flow.group("manual"):
        flow.options(after=[held]).step(hold, card)


def kind_of(card: str) -> str:
    """What kind it is."""
    return card


def asked_elsewhere(flow: Flow, card: str) -> None:
    """A case in another group than the one that it asks in, where the run may not have been."""
    with flow.group("entry"):
        flow.step(to_manual, card)
    with flow.group("other"):
        route = flow.choose(kind_of, card)
        with route.case("a"):
            flow.step(hold, card)
    with flow.group("manual"), route.case("b"):
        flow.step(hold, card)


def default_elsewhere(flow: Flow, card: str) -> None:
    """The same, for all other answers."""
    with flow.group("entry"):
        route = flow.choose(kind_of, card)
        with route.case("a"):
            flow.step(hold, card)
    with flow.group("manual"), route.default():
        flow.step(hold, card)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (waits_for_another, "hold is of group 'entry', and no step waits for one of another group"),
        (asked_elsewhere, "step 'kind_of': answers in group 'other', where the run may never have"),
        (default_elsewhere, "step 'kind_of': answers in group 'entry'"),
        (outside, "has groups, and hold outside of them: .* write each step inside of a group"),
        (empty, "group 'entry' has no steps"),
        (twice, "group 'entry': stands in the saga twice"),
        (odd, "group 'entry~2': a name is text without"),
        (nested, "group 'manual': stands inside of another block"),
        (in_parallel, "group 'entry': stands inside of another block"),
        (in_condition, "group 'entry': stands inside of another block"),
        (in_a_map, "group 'inner': stands inside of another block"),
        (not_entered, "flow.group\\(\\) does nothing by itself"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_can_be_no_group(build: Build, problem: str) -> None:
    """The error says so, and what to write."""
    with pytest.raises(DefinitionError, match=problem) as found:
        planned(build)
    assert "saga 'pay-" in str(found.value)


def no_groups(flow: Flow, card: str) -> None:
    """A saga without any."""
    flow.step(to_manual, card)


def another(flow: Flow, card: str) -> None:
    """Without that group."""
    with flow.group("entry"):
        flow.step(to_manual, card)


def mapped(flow: Flow, card: str) -> None:
    """In a map."""
    with flow.group("manual"):
        flow.map(to_manual, flow.step(cards, card))


def branch(flow: Flow, card: str) -> None:
    """In a branch."""
    with flow.group("manual"), flow.parallel():
        flow.step(to_manual, card)
        flow.step(hold, card)


def prepared(flow: Flow, card: str) -> None:
    """Between what is prepared and what confirms it."""
    with flow.group("manual"), flow.two_phase():
        flow.step(prepare, card)
        flow.step(to_manual, card)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (no_groups, "its saga has none: write `with flow.group"),
        (another, "there is no group 'manual': the saga has 'entry'"),
        (mapped, "it is a step of an element of a map"),
        (branch, "hold may be at work beside it"),
        (prepared, "neither confirmed nor cancelled"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_step_that_may_not_leave_its_group(build: Build, problem: str) -> None:
    """It says where it goes, and cannot."""
    with pytest.raises(DefinitionError, match=problem) as found:
        planned(build)
    assert "says that it may go on with 'manual' (routes=)" in str(found.value)
    assert "step 'to_manual" in str(found.value)


def test_a_step_may_leave_before_and_behind_a_block() -> None:
    """What is prepared is confirmed by then, or not prepared yet."""

    def build(flow: Flow, card: str) -> None:
        with flow.group("manual"):
            flow.step(to_manual, card)
            with flow.two_phase():
                flow.step(prepare, card)
            flow.step(to_manual, card)

    assert planned(build).by_name["to_manual"].routes == ("manual",)


@pytest.mark.parametrize("routes", ["manual", (1,), ("manual", None)])
def test_routes_are_names(routes: Any) -> None:
    """A bare text would be its letters."""
    with pytest.raises(DefinitionError, match="routes are names of groups"):
        sagas.step(name="odd", routes=routes)(hold.function)
