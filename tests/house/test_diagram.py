"""The diagrams in the docs are those of the tables in the code.

Owns: that the committed page is the one drawn today, and shows each move.  Refuses to know:
whether it is pretty.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from celeriac.machine.tables import DO_MOVES, RUN_MOVES, SCHEDULING, UNDO_MOVES
from docs.diagram import PAGE

if TYPE_CHECKING:
    from celeriac.machine.events import EventKind

DIAGRAM = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
ARROW = re.compile(r"^ +(\S+) --> (\w+)(?:: (.*))?$", re.MULTILINE)


def drawn() -> list[dict[tuple[str, str], list[str]]]:
    """What each diagram of the committed page shows: the labels from state to state."""
    text = PAGE.read_text(encoding="utf-8")
    return [
        {(before, after): label.split("<br>") for before, after, label in ARROW.findall(diagram)}
        for diagram in DIAGRAM.findall(text)
    ]


def words(event: EventKind, how: str = "") -> str:
    """What is written on an arrow."""
    told = event.value.replace("_", " ")
    return f"{told} ({how})" if how else told


def test_each_move_of_a_direction_is_drawn() -> None:
    """No legal move is missing, and none is drawn that is not legal."""
    _, do, undo = drawn()
    for phase, diagram, table in (("do", do, DO_MOVES), ("undo", undo, UNDO_MOVES)):
        legal = {(before, after, words(e, how)) for (before, e, how), after in table.items()}
        turns = {
            (before, after, whose)
            for (way, before, whose), after in SCHEDULING.items()
            if way == phase
        }
        shown = {
            (before, after, label) for (before, after), all_ in diagram.items() for label in all_
        }
        assert shown == {("[*]", "idle", ""), *legal, *turns}


def test_each_move_of_a_run_is_drawn() -> None:
    """The same for the run as a whole, but for moves that leave its status as it is."""
    run = drawn()[0]
    for (before, event), targets in RUN_MOVES.items():
        for after in targets:
            assert before is after or words(event) in run[before or "[*]", after]
