"""Scopes in the lab and under the explorer: real functions that undo several steps at once.

Owns: what such a function is given, and that nothing is left standing.  Refuses to know: what the
state machine decides (`tests/machine/test_scopes.py`), and how scopes are written
(`tests/authoring/test_scopes.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import Abort, Flow, InputInvalid, Sagas, StepContext
from celeriac.testing import Lab, explore

if TYPE_CHECKING:
    from celeriac.machine import CompensationOrder
    from celeriac.testing import LabRun

app = Celery("scopes", set_as_current=False)
sagas = Sagas(app)
standing: dict[str, str] = {}
tombstones: set[str] = set()
given: list[tuple[str, list[str], int, str | None]] = []


def forget() -> None:
    """Let nothing be booked."""
    for each in (standing, tombstones, given):
        each.clear()


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what was booked before."""
    forget()


def book(ctx: StepContext, what: str, city: str) -> str:
    """Book something, unless it was called off before it came."""
    if ctx.idempotency_key in tombstones:
        raise Abort("called off", effect=False)
    standing[ctx.idempotency_key] = what
    return f"{what} in {city}"


@sagas.step
def hotel(ctx: StepContext, city: str) -> str:
    """Book."""
    return book(ctx, "hotel", city)


@sagas.step
def car(ctx: StepContext, city: str) -> str:
    """Book."""
    return book(ctx, "car", city)


@sagas.step
def call_off(ctx: StepContext, city: str) -> None:
    """Undo whatever was booked."""
    given.append((city, [each.step for each in ctx.each()], ctx.generation, ctx.reason))
    for each in ctx.each():
        standing.pop(each.idempotency_key, None)
        tombstones.add(each.idempotency_key)


@sagas.step
def confirm(hotel: str, car: str) -> str:
    """The end."""
    return f"{hotel}, {car}"


def _trip(flow: Flow, city: str) -> str:
    with flow.undone_by(call_off, city), flow.parallel():
        room = flow.step(hotel, city)
        wheels = flow.step(car, city)
    return flow.step(confirm, room, wheels)


ORDERS: list[CompensationOrder] = ["reverse", "graph", "parallel", "forward"]
TRIPS: dict[str, Any] = {
    order: sagas.saga(name=f"trip-{order}", compensation_order=order)(_trip) for order in ORDERS
}


@pytest.mark.parametrize("order", ORDERS)
def test_several_steps_are_undone_by_one_call(lab: Lab, order: str) -> None:
    """It is told which, and has a reason as any compensation has."""
    lab.fail("confirm", error=Abort("no room after all"))
    run = lab.start(TRIPS[order], "Jena", id="t")
    lab.run()
    assert run.status == "compensated"
    assert standing == {}
    [(city, steps, generation, reason)] = given
    assert (city, sorted(steps), generation, reason) == (
        "Jena",
        ["car", "hotel"],
        0,
        "confirm failed",
    )


def test_it_is_told_only_of_what_may_have_had_an_effect(lab: Lab) -> None:
    """A step that has proved otherwise is left out."""
    lab.fail("hotel", error=Abort("no room left", effect=False))
    lab.start(TRIPS["reverse"], "Jena", id="t")
    lab.run()
    assert [steps for _, steps, _, _ in given] == [["car"]]


def test_what_only_undoes_fails_as_an_undo(lab: Lab) -> None:
    """As a step nobody ever gets there, so a test would try nothing."""
    lab.fail("call_off")
    with pytest.raises(InputInvalid, match=r"knows no step 'call_off'; it knows .*undo call_off"):
        lab.start(TRIPS["reverse"], "Jena", id="t")
    other = Lab()
    other.fail("confirm", error=Abort("no room after all"))
    other.fail("undo call_off", error=Abort("nobody there"))
    run = other.start(TRIPS["reverse"], "Jena", id="t")
    other.run()
    assert run.state().owed == ("call_off",)


def test_people_see_what_undoes_a_step_and_where_that_stands(lab: Lab) -> None:
    """The undo is listed once its turn has come."""
    run = lab.start(TRIPS["reverse"], "Jena", id="t")
    run.result()
    assert [step.name for step in run.state().steps] == ["hotel", "car", "confirm"]
    assert run.state().step("car").undone_by == "call_off"
    run.cancel()
    lab.run()
    shown = {step.name: step.status.value for step in run.state().steps}
    assert shown == {
        "hotel": "compensated",
        "car": "compensated",
        "call_off": "compensated",
        "confirm": "completed",
    }


def test_whatever_goes_wrong_nothing_is_left_standing() -> None:
    """With any one fault: crashes, zombies, lost and doubled messages, cancels."""

    def check(run: LabRun[Any]) -> None:
        assert sorted(standing.values()) == (["car", "hotel"] if run.status == "completed" else [])

    for order in ("reverse", "graph"):
        report = explore(
            TRIPS[order], "Jena", check=check, fresh=forget, pairs=False, most=150, seconds=120
        )
        assert report.ok, report
