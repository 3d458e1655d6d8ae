"""The path that the tour leads along, and how long it is.

Owns: that a newcomer can read it in an hour.  Refuses to know: whether an hour is well spent.
"""

from __future__ import annotations

import re

from tests.house.sources import PACKAGE, ROOT

PATH = re.compile(r"^\d+\. `([\w/.]+)`: ", re.MULTILINE)
MOST_LINES = 2_200  # some forty a minute


def path() -> list[str]:
    """The files of the path, in the order in which to read them."""
    return PATH.findall((ROOT / "docs" / "tour.md").read_text(encoding="utf-8"))


def test_the_path_leads_from_the_models_to_the_tasks() -> None:
    """It visits the rooms of a run's life in order, each file once, and reads what it tells of."""
    files = path()
    assert len(files) == len(set(files)) > 0
    rooms = list(dict.fromkeys(file.partition("/")[0] for file in files))
    assert rooms == ["machine", "store", "engine", "workers"]
    assert {"machine/transitions.py", "store/commit.lua", "engine/committing.py"} <= set(files)


def test_the_path_takes_an_hour() -> None:
    """All of its files together have as many lines as somebody can read in an hour."""
    lines = {file: len((PACKAGE / file).read_text("utf-8").splitlines()) for file in path()}
    assert sum(lines.values()) <= MOST_LINES, lines
