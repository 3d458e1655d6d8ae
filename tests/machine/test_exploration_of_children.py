"""Every order of things in a small world in which a step is a run of its own.

Owns: which worlds with a child are looked at (I22).  Refuses to know: how the search goes, that it
can fail (`test_exploration`), and who carries what is told (`tests/testing/test_children.py`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine import Child, Node, Plan, Undo
from tests.machine.participants import Participant
from tests.machine.search import explore, small_world
from tests.machine.story import budget, mapped, saga, step
from tests.machine.test_exploration import told

ONCE, TWICE = budget(1), budget(2, delay=0)
INNER = saga("label", saga="ship")


def child(name: str = "ship", **values: Any) -> Node:
    """A step that is a run, tried once."""
    undo = Undo(task="", wants=(), retry=ONCE)
    known: dict[str, Any] = {"retry": ONCE, "on_unknown": "operator", "undo": undo}
    return Node(**{"name": name, "task": "", "child": Child(plan=INNER), **known, **values})


def _between(**values: Any) -> Plan:
    return saga(step("reserve", retry=ONCE), child(**values), step("charge", retry=ONCE))


def _beside() -> Plan:
    last = step("confirm", retry=ONCE, after=("ship", "car"))
    return Plan(saga="trip", nodes=(child(), step("car", retry=ONCE), last))


def _tried() -> Plan:
    return saga(child(), step("charge", retry=ONCE), retries=1, retry_delay=0)


def _mapped() -> Plan:
    return saga(mapped("ship", child("ship[]")), step("tell", retry=ONCE))


FAMILIES: dict[str, tuple[Plan, dict[str, int]]] = {
    "doubled reports": (_between(), {"told again": 2, "cancel": 1}),
    "reports that come early": (_between(), {"told early": 2, "cancel": 1}),
    "a zombie beside it": (_between(), {"cancel": 1, "stall": 1, "told again": 1}),
    "an operator": (_between(), {"pause": 1, "resume": 1, "cancel": 1, "skip": 1}),
    "terminated": (_between(), {"fumble": 1, "terminate": 1, "told again": 1}),
    "another run for the next attempt": (_between(retry=TWICE), {"told again": 2, "cancel": 1}),
    "started anew": (_between(), {"restart": 1, "told again": 1}),
    "a branch": (_beside(), {"give up": 1, "cancel": 1, "told again": 1}),
    "two tries": (_tried(), {"give up": 1, "told again": 2}),
    "rewound": (_between(), {"rewind": 1, "told again": 1}),
    "elements": (_mapped(), {"cancel": 1, "told again": 1}),
}


@pytest.mark.parametrize(("plan", "faults"), FAMILIES.values(), ids=FAMILIES)
def test_all_of_it_holds_for_children(plan: Plan, faults: dict[str, int]) -> None:
    """It completes or is undone whenever it likes, and may be told of late and twice (I22)."""
    found = explore(small_world(faults, Participant.KEYED, plan=plan))
    assert found.problem is None, told(found)
    assert {"completed", "compensated"} <= found.endings
    assert found.worlds > 50, "a dead system must not pass"
