"""Forks in the lab: results are copied, effects have keys of their own.

Owns: what a user sees of a fork.  Refuses to know: the rules (`tests/machine/test_forks.py`).
"""

from __future__ import annotations

import pytest
from celery import Celery

from celeriac import CommandRefused, Flow, RunConflict, Saga, Sagas, StepContext
from celeriac.testing import Lab


class Books:
    """Every effect by its key."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.undone: list[str] = []


@pytest.fixture
def books() -> Books:
    """Nothing has happened yet."""
    return Books()


@pytest.fixture
def deliver(books: Books) -> Saga[int, str]:
    """Labels a number of parcels side by side, then ships them."""
    sagas = Sagas(Celery("shop"))

    @sagas.step(name="shop.reserve")
    def reserve(ctx: StepContext, parcels: int) -> list[int]:
        books.kept[ctx.idempotency_key] = "reserve"
        return [*range(parcels)]

    @reserve.compensation
    def release() -> None:
        books.undone.append("reserve")

    @sagas.step(name="shop.label")
    def label(parcel: int) -> str:
        return f"label {parcel}"

    @sagas.step(name="shop.ship")
    def ship(ctx: StepContext, labels: list[str], parcels: list[int]) -> str:
        books.kept[ctx.idempotency_key] = "ship"
        return f"{len(parcels)}: {', '.join(labels)}"

    @ship.compensation
    def call_back() -> None:
        books.undone.append("ship")

    @sagas.saga
    def deliver(flow: Flow, parcels: int) -> str:
        reserved = flow.step(reserve, parcels)
        labels = flow.map(label, reserved)
        return flow.step(ship, labels, reserved)

    return deliver


def test_a_fork_goes_on_with_recorded_results(deliver: Saga[int, str], books: Books) -> None:
    """Those of a map too; what is done anew has a key of its own."""
    lab = Lab()
    run = lab.start(deliver, 2, id="a", tags={"region": "eu"})
    assert run.result() == "2: label 0, label 1"
    fork = run.fork(at="ship", id="b", reason="damaged", by="eve")
    assert fork.result() == run.result()
    assert fork.done == ["ship"]
    assert sorted(books.kept.values()) == ["reserve", "ship", "ship"]
    state = fork.state()
    assert state.origin == "a"
    assert state.tags == {"region": "eu"}
    assert state.step("reserve").because == "its result is that of a"
    first = fork.history()[0]
    assert (first.data["origin"], first.data["reason"], first.data["by"]) == ("a", "damaged", "eve")
    fork.cancel()
    lab.run()
    assert books.undone == ["ship"]
    assert run.status == "completed"


def test_the_same_fork_again_is_the_same_run(deliver: Saga[int, str]) -> None:
    """Another one under its id is a conflict."""
    lab = Lab()
    run = lab.start(deliver, 1, id="a")
    with pytest.raises(CommandRefused, match="it still goes on"):
        run.fork(at="ship")
    lab.run()
    assert not run.fork(at="ship", id="b").joined
    assert run.fork(at="ship", id="b").joined
    with pytest.raises(RunConflict):
        run.fork(at="reserve", id="b")
    with pytest.raises(CommandRefused, match="is an element: fork at 'label'"):
        run.fork(at="label[0]")
    whole = run.fork(at="reserve", id="c")
    assert whole.result() == run.result()
