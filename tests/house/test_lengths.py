"""How long files and functions may be.

Owns: that nothing grows unseen.  Refuses to know: how files are named and introduced.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.house.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60  # lines
FOLDERS = ("worker", "workflows", "bench", "docs")
PROGRAMS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

each_file = pytest.mark.parametrize(
    "path", [*PROGRAMS, *TESTS], ids=lambda path: str(path.relative_to(ROOT))
)


@each_file
def test_a_long_file_says_why(path: Path) -> None:
    """A file over 400 lines owns two things, or says in its head why it is long."""
    text = path.read_text(encoding="utf-8")
    opening = " ".join((ast.get_docstring(ast.parse(text)) or "").split())
    lines = len(text.splitlines())
    assert lines <= LONGEST_FILE or "file is long because" in opening, f"{lines} lines"


@each_file
def test_functions_are_short(path: Path) -> None:
    """A function is read at one glance: 60 lines at most, with its decorators and docstring."""
    assert list(long_functions(path.read_text(encoding="utf-8"))) == []


def test_a_long_function_is_found() -> None:
    """Lines are counted from the first decorator to the last statement, in methods too."""
    short = "class A:\n    @property\n    def b(self):\n" + "        self.c()\n" * 58
    assert list(long_functions(short)) == []
    assert list(long_functions(short + "        self.c()\n")) == ["b: 61 lines"]


def long_functions(text: str) -> Iterator[str]:
    """The functions in a text that are over 60 lines, each with its length."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            lines = (node.end_lineno or node.lineno) - first + 1
            if lines > LONGEST_FUNCTION:
                yield f"{node.name}: {lines} lines"
