"""Runs as programs get them: nothing that people are shown is kept from them.

Owns: that a document has every field of the state.  Refuses to know: who asks for one.
"""

from __future__ import annotations

import pytest

from celeriac.views import RunState, StepView, run_document, times
from tests.in_memory import ask_outside, keep_in_memory
from tests.web import shop

#: The answer to the caller is a payload; the parent is told as one field.
APART = {"answer", "parent_step"}


@pytest.fixture(autouse=True)
def _store() -> None:
    """A shop without runs."""
    keep_in_memory(shop.sagas)


def test_programs_get_what_people_see() -> None:
    """Each field of a run and of a step is in the document, under its own name."""
    document = run_document(shop.sagas.run(shop.completed("o-1")).state())
    assert set(RunState.model_fields) - APART - set(document) == set()
    assert set(StepView.model_fields) - set(document["steps"][0]) == set()


def test_what_a_step_waits_for_is_told() -> None:
    """A signal or a result from outside, and until when."""
    shop.place_order.start(shop.Order(sku="tea"), id="o-1")
    ask_outside(shop.sagas, "o-1", "reserve")
    for run_id, what in (("o-1", "a result"), (shop.asking("e-1"), "verdict")):
        state = shop.sagas.run(run_id).state()
        view = state.steps[0]
        told = run_document(state)["steps"][0]
        assert told["waits_for"] == what
        assert told["waits_until"] == times.iso(view.waits_until)
        assert told["waits_until"]
