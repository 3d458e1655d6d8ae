"""Children as they are written: which nodes they become, and which mistakes are found at once.

Owns: that, and what is said instead.  Refuses to know: what a run makes of them
(`tests/machine/test_children.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import DefinitionError, Flow, Retry, Sagas
from celeriac.machine import Constant, FromInput, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

sagas = Sagas(Celery("trips", set_as_current=False))


@sagas.step
def reserve(hotel: str) -> str:
    """A step."""
    return hotel


@reserve.compensation
def release(hotel: str) -> None:
    """Its undo."""


@sagas.step(pivot=True)
def charge(hotel: str) -> str:
    """A pivot."""
    return hotel


@sagas.step
def release_all(hotel: str) -> None:
    """What undoes several."""


@sagas.saga
def book(flow: Flow, hotel: str, nights: int = 1) -> str:
    """What is a child."""
    del nights
    return flow.step(reserve, hotel)


@sagas.saga
def pay(flow: Flow, hotel: str) -> str:
    """A child with a pivot."""
    return flow.step(charge, hotel)


def planned(function: Callable[..., Any], **options: Any) -> Plan:
    """Define a saga, and return its plan."""
    named = {"name": f"{function.__name__}_{len(sagas.defined)}", **options}
    return sagas.saga(**named)(function).planned.plan


def test_a_child_is_a_node_with_the_plan_of_its_saga() -> None:
    """Its inputs are given by name, those left out with their defaults."""

    def trip(flow: Flow, hotel: str) -> str:
        flow.options(name="first", timeout="1h", give_up_after="1d").child(book, hotel, 3)
        return flow.options(retry=Retry(max_attempts=2)).child(book, hotel)

    first, second = planned(trip).nodes
    assert first.child is not None
    assert first.child.plan == book.planned.plan
    assert (first.name, first.task, first.timeout) == ("first", "", 3_600_000)
    assert second.args == {"hotel": FromInput(input="hotel"), "nights": Constant(value=1)}
    assert (second.name, second.after, second.retry.max_attempts) == ("book", ("first",), 2)
    assert first.retry.max_attempts == 1
    assert not planned(trip).addresses, "nobody is sent anything"


def test_a_plan_changes_with_those_of_its_children() -> None:
    """So a run is what it was accepted as, its children included."""

    def trip(flow: Flow, hotel: str) -> str:
        return flow.child(book, hotel)

    plan = planned(trip, name="the_trip")
    changed = plan.nodes[0].child
    assert changed is not None
    other = changed.model_copy(update={"plan": pay.planned.plan})
    nodes = (plan.nodes[0].model_copy(update={"child": other}),)
    fields = {name: getattr(plan, name) for name in Plan.model_fields}
    assert Plan(**{**fields, "nodes": nodes}).fingerprint != plan.fingerprint
    assert Plan.model_validate_json(plan.model_dump_json(exclude_defaults=True)) == plan


def test_a_child_with_a_pivot_is_the_pivot_or_comes_after_it() -> None:
    """Behind it, it is a step like others."""

    def first(flow: Flow, hotel: str) -> str:
        flow.step(reserve, hotel)
        return flow.child(pay, hotel)

    def behind(flow: Flow, hotel: str) -> str:
        flow.step(charge, hotel)
        return flow.child(pay, hotel)

    assert planned(first).pivot == "pay"
    assert planned(behind).pivot == "charge"


def nothing(flow: Flow, hotel: str) -> Any:
    """A step is no saga."""
    return flow.child(reserve, hotel)


def too_much(flow: Flow, hotel: str) -> Any:
    """More than it takes."""
    return flow.child(book, hotel, 1, 2)


def another_type(flow: Flow, hotel: str) -> Any:
    """A number in place of a text."""
    del hotel
    return flow.child(book, 3, 1)


def queued(flow: Flow, hotel: str) -> Any:
    """It has no messages."""
    return flow.options(queue="fast").child(book, hotel)


def covered(flow: Flow, hotel: str) -> Any:
    """It undoes itself."""
    with flow.undone_by(release_all, hotel):
        flow.child(book, hotel)
    return hotel


def before_the_pivot(flow: Flow, hotel: str) -> Any:
    """It could not be undone."""
    flow.child(pay, hotel)
    return flow.step(charge, hotel)


def beside(flow: Flow, hotel: str) -> Any:
    """Nothing stands beside a pivot."""
    with flow.parallel():
        flow.child(pay, hotel)
        flow.step(reserve, hotel)
    return hotel


def as_a_step(flow: Flow, hotel: str) -> Any:
    """A saga is no task."""
    return flow.step(book, hotel)


@sagas.saga
def stay(flow: Flow, hotel: str) -> None:
    """A child with a child."""
    flow.child(book, hotel)


def two_of_one_name(flow: Flow, hotel: str) -> Any:
    """A child called `a.book`, and one called `a` with a child called `book`."""
    flow.options(name="a").child(stay, hotel)
    with flow.named("a"):
        return flow.child(book, hotel)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (nothing, "takes a saga and its inputs"),
        (too_much, "takes 2 positional arguments, 3 were given"),
        (another_type, "hotel"),
        (queued, "say queue of the steps of its saga"),
        (covered, "write flow.child outside of flow.undone_by"),
        (before_the_pivot, "has to be the pivot of this saga, or come after that"),
        (beside, "reserve may still be at work when it ends"),
        (two_of_one_name, "two runs that would both be called <its id>.a.book"),
        (as_a_step, r"flow\.child\(saga, …\) makes a run of it a step"),
    ],
)
def test_a_mistake_is_an_error_at_import(function: Callable[..., Any], problem: str) -> None:
    """With the saga, and what to write instead."""
    with pytest.raises(DefinitionError, match=problem) as caught:
        planned(function)
    assert caught.value.saga is not None
