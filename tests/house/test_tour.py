"""The path that the tour leads along, and how long it is.

Owns: that a newcomer can read it in an hour.  Refuses to know: whether an hour is well spent.
"""

from __future__ import annotations

import re

from tests.house.sources import PACKAGE, ROOT

PATH = re.compile(r"^\d+\. `([\w/.]+)`: ", re.MULTILINE)
MOST_LINES = 2_200  # of code: some forty a minute


def path() -> list[str]:
    """The files of the path, in the order in which to read them."""
    return PATH.findall((ROOT / "docs" / "tour.md").read_text(encoding="utf-8"))


def test_the_path_leads_from_the_models_to_the_tasks() -> None:
    """It visits the rooms of a run's life in order, each file once, and reads what it tells of."""
    files = path()
    assert len(files) == len(set(files)) > 0
    rooms = list(dict.fromkeys(file.partition("/")[0] for file in files))
    assert rooms == ["machine", "store", "engine", "workers"]
    assert {"machine/transitions.py", "store/commit.lua", "engine/engine.py"} <= set(files)


def code_lines(text: str) -> int:
    """How many lines are code: neither blank, nor a comment, nor part of a docstring."""
    prose = r'"""(?:[^"]|"(?!""))*"""|^\s*(?:#|--).*$'
    return sum(
        bool(line.strip()) for line in re.sub(prose, "", text, flags=re.MULTILINE).splitlines()
    )


def test_the_path_takes_an_hour() -> None:
    """All of its files together have as many lines as somebody can read in an hour."""
    lines = {file: code_lines((PACKAGE / file).read_text("utf-8")) for file in path()}
    assert sum(lines.values()) <= MOST_LINES, lines


def test_prose_is_no_code() -> None:
    """What explains is not counted, what is done is."""
    text = (
        '"""A docstring\nof two lines."""\n\nimport re  # why\n\n# a comment\nx = "a"\n-- in Lua\n'
    )
    assert code_lines(text) == 2
