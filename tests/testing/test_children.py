"""Children in the lab: a parent and the runs that are its steps, in virtual time.

Owns: what becomes of payloads, links and undos, and that nothing breaks whatever fails meanwhile.
Refuses to know: what the state machine decides (`tests/machine/test_children.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import Abort, Flow, RunCompensated, Sagas, StepContext

if TYPE_CHECKING:
    from celeriac.testing import Lab

app = Celery("trips", set_as_current=False)
sagas = Sagas(app)
ledger: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing was done."""
    ledger.clear()


@sagas.step
def reserve(ctx: StepContext, what: str) -> str:
    """Reserve something."""
    ledger.append(f"+{ctx.idempotency_key}")
    return what.upper()


@reserve.compensation
def release(ctx: StepContext, what: str) -> None:
    """Release it."""
    del what
    ledger.append(f"-{ctx.idempotency_key}")


@sagas.step
def label(what: str) -> str:
    """Print a label."""
    if what == "bad":
        raise Abort("no labels for that", code="no_label")
    return f"label of {what}"


@sagas.step
def check(what: str) -> str:
    """Fail for what is late."""
    if what == "late":
        raise Abort("too late", code="late")
    return what


@sagas.saga
def ship(flow: Flow, what: str) -> str:
    """Reserve and label."""
    flow.step(reserve, what)
    return flow.step(label, what)


@sagas.saga
def order(flow: Flow, what: str, last: str) -> str:
    """Reserve, ship in a run of its own, check."""
    flow.step(reserve, what)
    shipped = flow.child(ship, what)
    flow.step(check, last)
    return shipped


def test_the_result_of_a_child_is_that_of_its_step(lab: Lab) -> None:
    """It is called after its parent and step, and names its parent."""
    run = lab.start(order, "book", "ok", id="order-1")
    lab.run()
    assert run.result() == "label of book"
    child = lab.find("order-1.ship")
    assert child.status == "completed"


def test_a_completed_child_is_undone_with_its_step(lab: Lab) -> None:
    """In its place: after what came behind it, before what came before it."""
    run = lab.start(order, "book", "late", id="order-1")
    lab.run()
    with pytest.raises(RunCompensated, match="too late"):
        run.result()
    assert lab.find("order-1.ship").status == "compensated"
    assert ledger == [
        "+order-1:reserve",
        "+order-1.ship:reserve",
        "-order-1.ship:reserve",
        "-order-1:reserve",
    ]


def test_a_child_that_is_undone_has_failed_its_step(lab: Lab) -> None:
    """There is nothing to undo of it, and the error says why."""
    run = lab.start(order, "bad", "ok", id="order-1")
    lab.run()
    with pytest.raises(RunCompensated, match="no labels for that"):
        run.result()
    assert ledger[-2:] == ["-order-1.ship:reserve", "-order-1:reserve"]
