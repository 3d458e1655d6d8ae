"""The state machine under commands that are live, stale, doubled and garbage, and any clock.

Owns: what must hold on every walk: the laws after each step, a history that folds to the run, a
rest that is reached once faults end (L1), and participants' books that are right then (I1, I2).
Refuses to know: any one story (the files beside this one tell those).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from tests.machine.test_exploration import timed_out_is_not_done, undo_beside_a_live_attempt
from tests.machine.walk import Walk, any_rules
from tests.machine.world import heal, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A step is delivered, acts and reports, forward and back, with time passing in between; the
# longest walks leave three more generations to undo.
MOST_HEALING = 120


def walk_through(walk: Walk, steps: int) -> None:
    """Go some steps, then let every fault end, and look at what is left."""
    for _ in range(steps):
        walk.step()
        assert wrong(walk.world) is None
    walk.world = heal(walk.world, MOST_HEALING)
    assert wrong(walk.world) is None
    walk.check_history()


@settings(max_examples=200, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
@given(data=st.data(), steps=st.integers(0, 60))
def test_any_walk_ends_well(data: st.DataObject, steps: int) -> None:
    """Whatever happens, each transition keeps the laws, and the run comes to a right rest."""

    def choose(choices: Sequence[Any]) -> Any:
        return choices[data.draw(st.integers(0, len(choices) - 1))]

    walk = Walk(any_rules(choose), choose)
    try:
        walk_through(walk, steps)
    except BaseException:
        note("\n".join(map(str, walk.world.history)))
        raise
    event(f"ended {walk.world.run.status}")


@pytest.mark.parametrize("spoil", [timed_out_is_not_done, undo_beside_a_live_attempt])
def test_a_walk_finds_what_is_wrong(
    spoil: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a bad variant of the state machine some walks do not end well, so that they can fail."""
    spoil(monkeypatch)
    found = 0
    for seed in range(200):
        choose = random.Random(seed).choice  # noqa: S311 -- to be repeated, not to be secret
        try:
            walk_through(Walk(any_rules(choose), choose), 60)
        except Exception:  # noqa: BLE001 -- a bad machine may break in any way
            found += 1
    assert found > 2
