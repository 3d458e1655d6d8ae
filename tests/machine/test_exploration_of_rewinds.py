"""Every order of things in a small world whose run is rewound: what stands, and what comes late.

Owns: which worlds with a rewind are looked at (I26).  Refuses to know: how the search goes, and
that it can fail (`test_exploration`).
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.machine import Node, Plan, Wait
from tests.machine.participants import Participant
from tests.machine.search import explore, small_world
from tests.machine.story import budget, mapped, saga, step
from tests.machine.test_exploration import SAFE, _conditions, _fork, _scope, _two_phases, told

ONE, NOW = budget(1), budget(1, delay=0)


@pytest.mark.parametrize(("participant", "zombies_die"), SAFE)
@pytest.mark.parametrize(
    "faults",
    [
        {"rewind": 1, "cancel": 1, "stall": 1},
        {"rewind": 2, "crash": 1},
        {"rewind": 1, "fumble": 2, "retry": 1, "waive": 1},
        {"rewind": 1, "ask": 1, "crash in flight": 1, "terminate": 1},
        {"rewind": 1, "pause": 1, "resume": 1, "stray": 1},
        {"rewind": 1, "restart": 1, "skip": 1, "cancel": 1},
    ],
    ids=str,
)
def test_it_goes_back_as_far_as_a_step(
    faults: dict[str, int], participant: Participant, zombies_die: bool
) -> None:
    """Two steps of two attempts each, rewound to either of them at any time."""
    found = explore(small_world(faults, participant, zombies_die=zombies_die))
    assert found.problem is None, told(found)
    assert "completed" in found.endings
    assert found.worlds > 250, "a dead system must not pass"


def _three() -> Plan:
    return saga(*(step(name, retry=ONE) for name in ("reserve", "charge", "ship")))


def _tried() -> Plan:
    steps = [step(name, retry=ONE) for name in ("reserve", "charge")]
    return saga(*steps, retries=1, retry_delay=0)


def _waits() -> Plan:
    wait = Node(name="approved", task="", wait=Wait(signal="approved", timeout=60_000))
    return saga(
        step("reserve", retry=ONE), wait, step("charge", retry=ONE), signals={"approved": {}}
    )


def _map() -> Plan:
    return saga(mapped("ship", step("ship[]", retry=NOW)), step("tell", retry=NOW))


PLANS: dict[str, tuple[Any, dict[str, int]]] = {
    "twice, to two steps": (_three(), {"rewind": 2, "cancel": 1}),
    "a run that begins anew": (_tried(), {"rewind": 1, "crash": 1, "give up": 1}),
    "branches": (_fork("reverse"), {"rewind": 1, "crash": 1}),
    "branches, undone side by side": (_fork("graph"), {"rewind": 1, "fumble": 1}),
    "a scope": (_scope("reverse"), {"rewind": 1, "crash in flight": 1}),
    "two phases": (_two_phases(), {"rewind": 1, "crash": 1, "cancel": 1}),
    "conditions": (_conditions(), {"rewind": 1, "cancel": 1}),
    "a wait": (_waits(), {"rewind": 1, "signal": 2, "stall": 1}),
    "a map": (_map(), {"rewind": 1, "crash": 1}),
    "a map that stands": (_map(), {"rewind": 1, "cancel": 1}),
}


@pytest.mark.parametrize(("plan", "faults"), PLANS.values(), ids=PLANS)
def test_all_of_it_holds_for_a_rewind(plan: Plan, faults: dict[str, int]) -> None:
    """Rewound to any step to which that can be done, at any time."""
    found = explore(small_world(faults, Participant.KEYED, plan=plan))
    assert found.problem is None, told(found)
    assert "completed" in found.endings
    assert found.worlds > 100, "a dead system must not pass"
