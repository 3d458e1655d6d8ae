"""The page of the proof tells of every part that there is, and of no other.

Owns: comparing docs/proof.md with the parts.  Refuses to know: what a part tests, and how it went.
"""

from __future__ import annotations

import re

from tests.proof.__main__ import PAGE, PARTS, ROOT


def test_each_part_has_its_row() -> None:
    """In the order in which they run."""
    section = PAGE.read_text().partition("## The parts")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z-]+) \|", section, re.MULTILINE)
    assert rows[1:] == [part.name for part in PARTS], "the first row is the head of the table"


def test_what_a_part_runs_is_there() -> None:
    """No part has lost its tests: pytest would run nothing, and that looks like a broken part."""
    for part in PARTS:
        assert part.tests or part.program, part.name
        assert all((ROOT / path).exists() for path in part.tests), part.name
