"""Every order of things in a small map: a few elements, an operator, and a few faults (I18).

Owns: which worlds with maps are looked at.  Refuses to know: how the search goes, and that it can
fail (`test_exploration`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine import Choice, Guard
from tests.machine.participants import Participant
from tests.machine.search import explore, small_world
from tests.machine.story import budget, mapped, saga, step
from tests.machine.test_exploration import told


@pytest.mark.parametrize("order", ["reverse", "forward"])
@pytest.mark.parametrize(
    "faults",
    [{"cancel": 1}, {"stall": 1}, {"fumble": 1, "find nothing": 1}, {"crash in flight": 1}],
    ids=str,
)
def test_all_of_it_holds_for_a_map(faults: dict[str, int], order: Any) -> None:
    """Three elements, two at a time, and a step behind them (I18)."""
    each, rule = step("ship[]", retry=budget(2, delay=0)), budget(1, delay=0)
    last = step("tell", undo=None, retry=rule)
    plan = saga(mapped("ship", each), last, compensation_order=order)
    found = explore(small_world(faults, Participant.KEYED, plan=plan, elements=3))
    assert found.problem is None, told(found)
    assert "completed" in found.endings
    assert found.worlds > 100, "a dead system must not pass"


@pytest.mark.parametrize(
    "faults",
    [{"give up": 2, "retry": 1, "skip": 1}, {"give up": 1, "pause": 1, "resume": 1, "skip": 1}],
    ids=str,
)
def test_operators_act_on_elements(faults: dict[str, int]) -> None:
    """Two elements past the pivot, each of which may give up, be retried or skipped (I18)."""
    rule = budget(1, delay=0)
    pay = step("pay", retry=rule, pivot=True)
    plan = saga(pay, mapped("ship", step("ship[]", retry=rule)), step("tell", retry=rule))
    found = explore(small_world(faults, Participant.KEYED, plan=plan))
    assert found.problem is None, told(found)
    assert {"completed", "failed"} <= found.endings


@pytest.mark.parametrize("faults", [{"cancel": 1}, {"fumble": 1}], ids=str)
def test_all_of_it_holds_for_elements_of_several_steps(faults: dict[str, int]) -> None:
    """Each element chooses for itself which of its steps are done (I16, I18)."""
    rule, choice = budget(1, delay=0), Choice(labels=("yes", "no"))
    ask = step("pack[].ask", undo=None, choice=choice, retry=rule)
    yes = (Guard(step="pack[].ask", among=("yes",)),)
    lift = step("pack[].lift", retry=rule, guards=yes, after=("pack[].ask",))
    stick = step("pack[].stick", retry=rule, after=("pack[].lift",))
    plan = saga(mapped("pack", ask, lift, stick))
    found = explore(small_world(faults, Participant.KEYED, plan=plan))
    assert found.problem is None, told(found)
    assert {"completed", "compensated"} <= found.endings
