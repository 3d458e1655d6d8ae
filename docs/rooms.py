"""The picture of the package's rooms, drawn from its imports; `make docs` writes it.

Owns: reading the order that the package's `__init__.py` draws, and the picture made of it.  Refuses
to know: whether the imports keep that order (`tests/house/test_rooms.py`).
"""

from __future__ import annotations

import ast
import re

from tests.house.sources import modules

MODULES = modules()
_OPENING = ast.get_docstring(MODULES["celeriac"].tree) or ""


def _drawing(title: str) -> str:
    """The indented block that follows a line of the package's docstring."""
    _, found, rest = _OPENING.partition(f"{title}::\n\n")
    assert found, f"worker/celeriac/__init__.py has no drawing {title!r}"
    return rest.partition("\n\n")[0]


# The rooms from the ground up; those of one row are siblings.
ROWS = [
    [name.strip() for name in row.split("|")]
    for row in _drawing("Its rooms, from the ground up").split("<")
]
# The files beside the rooms count as two rooms of their own.
FILES = {
    room: names.split()
    for room, names in re.findall(
        r"^ *(\w+): (.+)$", _drawing("Two rooms are files beside this one"), re.MULTILINE
    )
}
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}

_WIDTH = 11  # of the column of names


def room(module: str) -> str:
    """The room that a module belongs to; empty for the package itself."""
    first = module.removeprefix("celeriac").strip(".").partition(".")[0]
    return next((name for name, files in FILES.items() if first in files), first)


def picture() -> str:
    """The rooms as text, the highest first: what each is, and which rooms it imports."""
    lines = [line for row in reversed(ROWS) for name in row for line in _lines(name)]
    siblings = [" and ".join(f"`{name}`" for name in row) for row in ROWS if len(row) > 1]
    return "\n".join(
        [
            "```text",
            *lines,
            "```",
            "",
            f"Siblings, which never import each other: {', '.join(siblings)}.",
            "The ground is left out of the imports: every room may use it.",
        ]
    )


def _lines(name: str) -> list[str]:
    below = sorted(_imported(name) - {"ground"}, key=lambda each: (-RANK[each], each))
    lines = [f"{name:<{_WIDTH}} {_sentence(name)}"]
    return [*lines, f"{'':<{_WIDTH}} └ {' '.join(below)}"] if below else lines


def _sentence(name: str) -> str:
    """What a room is: the first line of its `__init__.py`, or the names of its files."""
    if name in FILES:
        return " ".join(FILES[name])
    opening = ast.get_docstring(MODULES[f"celeriac.{name}"].tree) or ""
    return opening.partition("\n")[0]


def _imported(name: str) -> set[str]:
    return {
        room(found.target)
        for module in MODULES.values()
        if module.name != "celeriac" and room(module.name) == name
        for found in module.imports
        if found.target.startswith("celeriac.")
    } - {name}
