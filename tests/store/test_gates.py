"""The contract of a store, about gates: compared, committed, found when they have to be looked at.

Owns: memory, Redis and a cluster.  Refuses to know: who may pass a gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import InLine, Place
from celeriac.store import (
    GateChange,
    line_member,
    place_member,
    split_line,
    split_place,
)
from tests.store.runs import now

if TYPE_CHECKING:
    from celeriac.store import Store

PLACE = Place("bank", "order-42", 1, "charge", "do", 2, "Wanda1x")
TURN = InLine("bank", "order-43", 1, "charge", "undo", 17)


def test_places_and_turns_are_spelled_and_read() -> None:
    """Also that of a whole run; what is none is None."""
    assert split_place("bank", place_member(PLACE)) == PLACE
    of_run = PLACE._replace(step="", attempt=0)
    assert split_place("bank", place_member(of_run)) == of_run
    assert split_line("bank", line_member(TURN), 17) == TURN
    assert split_place("bank", "x") is None
    assert split_line("bank", place_member(PLACE), 17) is None


def test_a_gate_is_written_if_nobody_was_faster(store: Store) -> None:
    """Also when it is new; a refused change leaves nothing."""
    gates = store.gates
    first = GateChange("bank", "", "1 {}", take={"a": 10}, join={"x": 5}, look_at=10**14)
    assert gates.commit(first)
    assert not gates.commit(first._replace(take={"b": 10}))
    assert gates.commit(GateChange("bank", "1 {}", "2 {}", take={"c": 20}, look_at=10**14))
    assert not gates.commit(GateChange("bank", "1 {}", "3 {}", give=["a"], look_at=10**14))
    found = gates.read("bank", first=10)
    assert (found.record, found.places, found.line) == ("2 {}", [("a", 10), ("c", 20)], [("x", 5)])
    assert (found.taken, found.waiting) == (2, 1)
    assert abs(found.now - now(store)) < 10_000


def test_a_place_and_an_order_are_asked_for(store: Store) -> None:
    """When it ends, and how many wait before; an undo, whose order is below 0, is before all."""
    gates = store.gates
    line = {"x": 5, "y": 7, "z": -4}
    assert gates.commit(GateChange("bank", "", "1 {}", take={"a": 10}, join=line, look_at=10**14))
    assert gates.read("bank", "a", 7).mine == 10
    assert gates.read("bank", "b").mine is None
    orders = [gates.read("bank", turn=turn).queued for turn in ("x", "z", "a", "")]
    assert orders == [5, -4, None, None]
    assert [gates.read("bank", "", order).before for order in (-4, 5, 7, 9)] == [0, 1, 2, 3]
    assert gates.read("bank", first=2).line == [("z", -4), ("x", 5)]
    assert gates.read("bank").line == []
    nothing = gates.read("other", "a", 7, 5)
    assert (nothing.record, nothing.taken, nothing.waiting, nothing.mine) == ("", 0, 0, None)


def test_what_is_given_back_is_gone(store: Store) -> None:
    """Twice is once; and nothing is left of a gate that there is nothing to keep of."""
    gates = store.gates
    assert gates.commit(
        GateChange("bank", "", "1 {}", take={"a": 1, "b": 2}, join={"x": 5}, look_at=10**14)
    )
    change = GateChange("bank", "1 {}", "2 {}", give=["a", "a"], leave=["x", "y"], look_at=10**14)
    assert gates.commit(change)
    found = gates.read("bank", first=5)
    assert (found.places, found.line) == ([("b", 2)], [])
    assert gates.known() == ["bank"]
    assert gates.commit(GateChange("bank", "2 {}", "3 {}"))
    assert gates.known() == []
    assert gates.read("bank").record == ""


def test_a_gate_is_found_when_it_is_to_be_looked_at(store: Store) -> None:
    """In its own shard, the one that waited longest first."""
    gates, time = store.gates, now(store)
    names = [f"gate-{n}" for n in range(20)]
    for n, name in enumerate(names):
        assert gates.commit(GateChange(name, "", "1 {}", take={"a": 1}, look_at=time - 50 + n))
    assert gates.commit(GateChange("later", "", "1 {}", take={"a": 1}, look_at=time + 10**9))
    due = [[*gates.due(shard, 100)] for shard in range(store.shards)]
    assert sorted(name for found in due for name in found) == sorted(names)
    assert all(found == sorted(found, key=names.index) for found in due)
    assert all(store.shard_of(name) == shard for shard, found in enumerate(due) for name in found)


def test_the_salt_stays(store: Store) -> None:
    """Whoever asks."""
    assert store.gates.salt() == store.gates.salt()
