"""Elements of maps, and branches, on the command line: each can be acted on, and looked at.

Owns: that a verb takes the name of an element or of a branch's step.  Refuses to know: what the
state machine makes of it (`tests/machine/test_maps.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import Dispatch
from tests.terminal import shop
from tests.terminal.driven_runs import claim, do, fail, give_up, undo

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli

BY_HAND = ("--result", "null", "--reason", "by hand")


def expand(run_id: str, step: str) -> None:
    """Count the list of a map, as whoever would send its message does."""
    shop.sagas.runtime.engine.begin_turn(run_id, Dispatch(step, "do", 1, 0))


def test_a_map_is_one_line_and_an_element_can_be_looked_at(cli: Cli) -> None:
    """In `show` and in `history`, however many elements there are."""
    shop.deliver.start(list(range(40)), id="d-1")
    do("d-1", *(f"send[{number}]" for number in range(40)))
    assert "40 elements: 40 completed" in cli("show", "d-1").out
    told = cli("history", "d-1")
    assert len(told.lines) < 8
    assert "expanded (40 elements)" in told.out
    assert "40 claimed, 40 completed" in told.out
    one = cli("history", "d-1", "--step", "send[7]")
    assert [line.split()[-1] for line in one.lines[1:]] == ["claimed", "completed"]
    assert len(cli("history", "d-1", "-o", "jsonl", "--step", "send").lines) == 81


def test_elements_are_skipped_held_and_undone(cli: Cli) -> None:
    """Each by its name; a cancel undoes those that were done."""
    shop.deliver.start([0, 1, 2], id="d-2")
    cli("pause", "d-2", "--reason", "look")
    told = cli("skip", "d-2", "send[1]", *BY_HAND)
    assert "skipped: send[1]" in told.out
    cli("resume", "d-2")
    assert cli("skip", "d-2", "send[9]", *BY_HAND).code == 4
    do("d-2", "send[0]", "send[2]")
    assert "completed" in cli("show", "d-2").out
    cli("cancel", "d-2", "--yes")
    undo("d-2", "send[2]")
    fail("d-2", "send[0]", "undo")
    assert "owed" in cli("show", "d-2").out
    assert "send[0]" in cli("list").out
    assert "waived: send[0]" in cli("waive", "d-2", "send[0]", "--reason", "by hand").out
    assert "compensated" in cli("show", "d-2").out


def test_all_that_gave_up_past_the_pivot_is_owed(cli: Cli) -> None:
    """Two branches and an element: all are listed, and each is retried or skipped by itself."""
    shop.announce.start([0, 1], id="p-1")
    do("p-1", "commit")
    expand("p-1", "send")
    for attempt in [claim("p-1", step) for step in ("left", "right", "send[1]")]:
        give_up(attempt)
    shown = cli("show", "p-1").out
    for step in ("left", "right", "send[1]"):
        assert f"retry p-1 {step}" in shown.replace("'", "")
    assert "trying again: left" in cli("retry", "p-1", "left").out
    do("p-1", "left", "send[0]")
    cli("skip", "p-1", "right", *BY_HAND)
    assert "trying again: send[1]" in cli("retry", "p-1", "send[1]").out
    do("p-1", "send[1]")
    assert "completed" in cli("show", "p-1").out
