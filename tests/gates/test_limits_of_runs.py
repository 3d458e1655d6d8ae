"""Limits of whole runs: what such a limit cannot be.

Owns: `@saga(limit=…)` where its steps have limits of their own.
Refuses to know: the limits of steps (`test_gates_in_lab`).
"""

from __future__ import annotations

import pytest
from celery import Celery

from celeriac import DefinitionError, Flow, Limit, Sagas


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
