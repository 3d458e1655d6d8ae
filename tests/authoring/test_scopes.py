"""Steps that are undone as a whole: plans, and mistakes found when a saga is defined.

Owns: `undone_by`.  Refuses to know: what a run makes of it (`tests/machine/test_scopes.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import DefinitionError, Flow, Retry, Sagas
from celeriac.machine import Constant, FromInput, FromStep

if TYPE_CHECKING:
    from celeriac.machine import Plan

app = Celery("scopes", set_as_current=False)
sagas = Sagas(app)
Build = Callable[[Flow, str], object]


@sagas.step
def book(what: str) -> str:
    """Book anything."""
    return what


@book.compensation
def unbook(what: str) -> None:
    """Its own undo."""


@sagas.step(retry=Retry(max_attempts=7), timeout="3s")
def call_off(what: str, why: str = "no reason") -> None:
    """Undo several."""


@sagas.step(pivot=True)
def pay(what: str) -> str:
    """No way back from here."""
    return what


@app.task(name="legacy.call_off", autoretry_for=(OSError,))  # type: ignore[untyped-decorator]
def legacy(what: str) -> None:
    """An existing task."""


def is_far(city: str) -> bool:
    """A predicate."""
    return bool(city)


def planned(build: Build, **options: Any) -> Plan:
    """The plan of a saga."""

    def trip(flow: Flow, city: str) -> None:
        build(flow, city)

    count = len(sagas.defined)
    return sagas.saga(name=f"scoped-{count}", **options)(trip).planned.plan


def test_a_scope_covers_all_steps_inside_however_deep() -> None:
    """Their own undo is replaced; a condition has nothing to undo, so it is not covered."""

    def build(flow: Flow, city: str) -> None:
        with flow.undone_by(call_off, city), flow.parallel():
            flow.step(book, city)
            with flow.when(is_far, city):
                flow.options(name="car").step(book, city)
        flow.options(name="last").step(book, city)

    plan = planned(build)
    assert [node.name for node in plan.nodes] == ["call_off", "book", "is_far", "car", "last"]
    scope = plan.by_name["call_off"]
    assert scope.covers == ("book", "car")
    assert [node.name for node in plan.nodes if node.undo] == ["call_off", "last"]
    assert plan.by_name["last"].after == ("book", "car")
    assert scope.args == {"what": FromInput(input="city")}


def test_what_undoes_is_retried_as_it_says_itself() -> None:
    """With its own policy, time limit and arguments, as a compensation has them."""

    def build(flow: Flow, city: str) -> None:
        with flow.undone_by(call_off, city, why="bad weather"):
            flow.step(book, city)

    undo = planned(build).by_name["call_off"].undo
    assert undo is not None
    assert (undo.retry.max_attempts, undo.timeout, undo.wants) == (7, 3_000, ("what", "why"))


def test_an_existing_task_may_undo() -> None:
    """It keeps its own way of being retried."""

    def build(flow: Flow, city: str) -> None:
        with flow.undone_by(legacy, city):
            flow.step(book, city)

    plan = planned(build)
    scope = plan.by_name["call_off"]
    assert (scope.task, scope.covers, scope.undo and scope.undo.wants) == (
        "legacy.call_off",
        ("book",),
        ("what",),
    )
    assert ("legacy.call_off", None) in plan.addresses


def test_in_a_graph_all_inside_waits_for_what_the_undo_is_given() -> None:
    """Or it might be owed before its arguments are there."""

    def build(flow: Flow, city: str) -> None:
        with flow.graph():
            hotel = flow.options(name="hotel").step(book, city)
            with flow.undone_by(call_off, hotel):
                flow.options(name="car").step(book, city)

    plan = planned(build)
    assert plan.by_name["car"].after == ("hotel",)
    assert plan.by_name["call_off"].args == {"what": FromStep(step="hotel")}


def test_two_scopes_of_one_task_have_names_of_their_own() -> None:
    """As steps have."""

    def build(flow: Flow, city: str) -> None:
        for name in ("a", "b"):
            with flow.undone_by(call_off, "x"):
                flow.options(name=name).step(book, city)

    plan = planned(build)
    assert {node.name: node.covers for node in plan.nodes if node.covers} == {
        "call_off": ("a",),
        "call_off-2": ("b",),
    }
    assert plan.by_name["call_off-2"].args == {"what": Constant(value="x")}


def _empty(flow: Flow, city: str) -> None:
    flow.step(book, city)
    with flow.undone_by(call_off, city):
        pass


def _only_asks(flow: Flow, city: str) -> None:
    with flow.undone_by(call_off, city), flow.when(is_far, city):
        pass


def _not_entered(flow: Flow, city: str) -> None:
    flow.undone_by(call_off, city)
    flow.step(book, city)


def _nested(flow: Flow, city: str) -> None:
    with flow.undone_by(call_off, city), flow.sequence(), flow.undone_by(call_off, city):
        flow.step(book, city)


def _pivot(flow: Flow, city: str) -> None:
    with flow.undone_by(call_off, city):
        flow.step(pay, city)


def _undone_itself(flow: Flow, city: str) -> None:
    with flow.undone_by(book, city):
        flow.step(book, city)


def _compensation(flow: Flow, city: str) -> None:
    with flow.undone_by(unbook, city):
        flow.step(book, city)


def _wrong_argument(flow: Flow, city: str) -> None:
    with flow.undone_by(call_off, 3):  # type: ignore[call-overload]
        flow.step(book, city)


def _from_beside(flow: Flow, city: str) -> None:
    with flow.parallel():
        hotel = flow.options(name="hotel").step(book, city)
        with flow.undone_by(call_off, hotel):
            flow.step(book, city)


def _from_a_condition(flow: Flow, city: str) -> None:
    with flow.when(is_far, city):
        hotel = flow.options(name="hotel").step(book, city)
    with flow.undone_by(call_off, hotel):
        flow.step(book, city)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (_empty, "step 'call_off'.*there is none: write them there"),
        (_only_asks, "step 'call_off'.*there is none: write them there"),
        (_not_entered, r"with flow.undone_by\(…\):"),
        (_nested, "step 'call_off-2'.*scopes do not nest"),
        (_pivot, "step 'pay'.*is a pivot inside of flow.undone_by.*outside of the block"),
        (_undone_itself, "has no compensation and no confirm of its own"),
        (_compensation, "runs by itself when its step is undone"),
        (_wrong_argument, "step 'call_off', parameter 'what'"),
        (_from_beside, "parameter 'what'.*hotel runs side by side"),
        (_from_a_condition, "parameter 'what'.*made inside of a condition"),
    ],
)
def test_what_cannot_be_is_an_error_when_the_saga_is_defined(build: Build, told: str) -> None:
    """With saga, step and parameter, and what to write in its place."""
    with pytest.raises(DefinitionError, match=told):
        planned(build)
