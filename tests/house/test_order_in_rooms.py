"""The order of the files in a room, as its `__init__.py` draws it, is how they import each other.

Owns: reading the drawing, and holding the imports against it.  Refuses to know: the order of the
rooms themselves (`test_rooms`).
"""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.sources import PACKAGE, Module, modules

MODULES = modules()
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))

each_room = pytest.mark.parametrize("room", ROOMS)


def drawn(room: str) -> list[set[str]]:
    """The rows of a room's drawing, from the ground up."""
    opening = ast.get_docstring(MODULES[f"celeriac.{room}"].tree) or ""
    _, told, drawing = opening.partition("Its files, from the ground up::")
    assert told, f"{room}/__init__.py does not draw the order of its files"
    rows = drawing.strip().partition("\n\n")[0].split("<")
    return [set(re.findall(r"\w+", row)) for row in rows]


def files(room: str) -> dict[str, list[Module]]:
    """The files of a room by the name they have in its drawing; a folder stands for its files."""
    found: dict[str, list[Module]] = {}
    for name, module in MODULES.items():
        _, _, rest = name.partition(f"celeriac.{room}.")
        if rest:
            found.setdefault(rest.partition(".")[0], []).append(module)
    return found


@each_room
def test_a_room_draws_its_files(room: str) -> None:
    """Whoever enters a room sees each of its files once, in the order in which to read them."""
    rows = drawn(room)
    assert sorted(name for row in rows for name in row) == sorted(files(room))


@each_room
def test_files_import_as_drawn(room: str) -> None:
    """A file knows only those that are drawn before it, also for annotations."""
    rank = {name: number for number, row in enumerate(drawn(room)) for name in row}
    wrong = [
        f"{module.label}:{found.line} imports {found.target}"
        for name, members in files(room).items()
        for module in members
        for found in module.imports
        for target in [found.target.removeprefix(f"celeriac.{room}.").partition(".")[0]]
        if found.target.startswith(f"celeriac.{room}.") and target != name
        if rank.get(target, len(rank)) >= rank[name]
    ]
    assert wrong == []
