"""The state of a run: what is quickly told of most steps is what is told of them at length.

Owns: that.  Refuses to know: which parts are shown where.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.machine import StepState
from celeriac.machine.steps import PhaseState, PhaseStatus
from celeriac.store.payloads import error_field
from celeriac.views import state, state_of
from tests.in_memory import keep_in_memory
from tests.web import shop

if TYPE_CHECKING:
    from celeriac.machine import Plan, Run

MAKERS = (shop.running, shop.completed, shop.failed, shop.unsure, shop.paused, shop.asking)


def both_ways(plan: Plan, run: Run, fields: dict[str, str], patch: pytest.MonkeyPatch) -> Any:
    """The state, made with and without the shorter way, which must be the same."""
    quick = state_of(plan, run, fields)
    with patch.context() as without:
        without.setattr(state, "_is_plain", lambda *_: False)
        slow = state_of(plan, run, fields)
    assert quick == slow
    return quick


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_plain_step_is_told_as_any_other(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs of each kind."""
    keep_in_memory(shop.sagas)
    plan, run, _ = shop.sagas.run(make("o-1")).look()
    both_ways(plan, run, {}, monkeypatch)


@pytest.mark.parametrize(
    "odd",
    [
        {"blocked": "nobody knows it"},
        {"choice": "yes"},
        {"inherited": True},
        {"undo": PhaseState(PhaseStatus.RUNNING, 1)},
        {"undo": PhaseState(PhaseStatus.FAILED, 2)},
        {"do": PhaseState(PhaseStatus.RETRYING, 1)},
        {"do": PhaseState(PhaseStatus.DONE, 1, child=2)},
        {"do": PhaseState(PhaseStatus.DEFERRED, 1)},
        {"do": PhaseState(PhaseStatus.DONE, 3)},
    ],
    ids=str,
)
def test_whatever_is_odd_of_a_step_is_told(
    odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of it is lost on the shorter way."""
    keep_in_memory(shop.sagas)
    shop.running("o-1")
    plan, run, _ = shop.sagas.run("o-1").look()
    step = replace(StepState(PhaseState(PhaseStatus.DONE, 1), order=1), **odd)
    both_ways(plan, replace(run, steps=run.steps.put({"reserve": step})), {}, monkeypatch)


def test_the_error_of_a_step_that_has_its_turn_still_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is that of a try before."""
    keep_in_memory(shop.sagas)
    plan, run, _ = shop.sagas.run(shop.running("o-1")).look()
    fields = {error_field("charge", "do"): '{"type": "BankDown"}'}
    found = both_ways(plan, run, fields, monkeypatch).step("charge").failure
    assert found is not None
    assert found.type == "BankDown"
