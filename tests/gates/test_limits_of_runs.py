"""Limits of whole runs: what counts as under way, and what such a limit cannot be.

Owns: `@saga(limit=…)` where a run begins with another run, or its steps have limits of their own.
Refuses to know: the limits of steps (`test_gates_in_lab`).
"""

from __future__ import annotations

import pytest
from celery import Celery

from celeriac import DefinitionError, Flow, Limit, Sagas
from celeriac.testing import Lab


def test_a_step_does_not_wait_for_the_place_of_its_own_run() -> None:
    """It would wait for ever: a run has its place until it is at rest."""
    sagas = Sagas(Celery("itself", broker="memory://"))

    @sagas.step(limit=Limit(1, name="orders"))
    def charge(order: str) -> None:
        """Charge."""

    with pytest.raises(DefinitionError, match="a place that its own run has taken there") as told:

        @sagas.saga(limit=Limit(1, name="orders"))
        def place(flow: Flow, order: str) -> None:
            flow.step(charge, order)

    assert told.value.step == "charge"


def test_runs_that_begin_with_a_child_count_from_its_start() -> None:
    """So many at a time, also where no step of their own has been claimed."""
    sagas, lab = Sagas(Celery("families", broker="memory://")), Lab()

    @sagas.step(name="work")
    def work(order: str) -> str:
        under_way.append(sum(run.state().steps[0].status == "running" for run in runs))
        return order

    @sagas.saga
    def inner(flow: Flow, order: str) -> str:
        return flow.step(work, order)

    @sagas.saga(limit=Limit(1, name="families"))
    def outer(flow: Flow, order: str) -> None:
        flow.child(inner, order)

    under_way: list[int] = []
    runs = [lab.start(outer, "o", id=f"order-{number}") for number in range(3)]
    lab.run()
    assert under_way == [1, 1, 1]
    assert [run.status for run in runs] == ["completed"] * 3
