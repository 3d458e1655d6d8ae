"""The state machine under commands that are live, stale, doubled and garbage, and any clock.

Owns: what must hold on every walk: the laws after each step, a history that folds to the run, a
rest that is reached once faults end (L1), and participants' books that are right then (I1, I2).
Refuses to know: any one story (the files beside this one tell those).
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from celeriac import moves
from celeriac.models import EventKind, LaneState, RunStatus
from celeriac.moves import DO_MOVES, RUN_MOVES, UNDO_MOVES
from tests.unit.participants import Participant
from tests.unit.search import WORLDS, explore, small_world
from tests.unit.walk import Walk, any_rules
from tests.unit.world import heal, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pytest

    from celeriac.models import Event

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


#: Rows of the tables that are too rare for a search of seconds, by where they are told.
TOLD: dict[str, set[Any]] = {
    "test_late_reports": {
        ("undo", LaneState.IDLE, EventKind.REOPENED, ""),
        ("undo", LaneState.WAIVED, EventKind.REOPENED, ""),
        ("undo", LaneState.SCHEDULED, EventKind.COMPLETED, "late"),
        ("run", RunStatus.FAILED, EventKind.REOPENED),
    },
    "test_forward": {("do", LaneState.FAILED, EventKind.RETRIED, "")},
    # Past the pivot a timeout is always tried again: this row waits for a command that stops it.
    "nowhere": {("do", LaneState.UNKNOWN, EventKind.RETRIED, "")},
}


def test_every_legal_move_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables hold nothing that cannot happen: a search or a walk makes each of their moves."""
    tables: dict[str, Iterable[Any]] = {"do": DO_MOVES, "undo": UNDO_MOVES, "run": RUN_MOVES}
    legal = {(name, *move) for name, table in tables.items() for move in table}
    seen = watched(monkeypatch)
    for faults in ("two zombies", "failures"):
        explore(small_world(WORLDS[faults], Participant.KEYED, checked=False))
    for seed in range(150):
        choose = random.Random(seed).choice  # noqa: S311 -- to be repeated, not to be secret
        walk = Walk(replace(any_rules(choose), checked=False), choose)
        for _ in range(60):
            walk.look_ahead()
            walk.step()
    assert legal - seen <= {move for moves_told in TOLD.values() for move in moves_told}


def watched(patch: pytest.MonkeyPatch) -> set[Any]:
    """A set to which each move is added when it is made."""
    seen: set[Any] = set()
    next_state, check_run = moves._next, moves._check_run

    def see_lane(table: Any, state: LaneState, what: Event, how: str) -> LaneState:
        seen.add(("do" if table is DO_MOVES else "undo", state, what.kind, how))
        return next_state(table, state, what, how)

    def see_run(status: RunStatus | None, what: Event, to: RunStatus) -> None:
        seen.add(("run", status, what.kind))
        check_run(status, what, to)

    patch.setattr(moves, "_next", see_lane)
    patch.setattr(moves, "_check_run", see_run)
    return seen
