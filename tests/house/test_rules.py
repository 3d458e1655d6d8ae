"""The codes of rules and facts, cited in the code, that the docs define.

Owns: that a cited code has its heading, and that a heading names tests which are there.  Refuses
to know: whether those tests prove the rule.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.house.sources import PACKAGE, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = (ROOT / "docs" / "invariants.md", ROOT / "docs" / "celery.md")
CODE = re.compile(r"\b[DFILX]\d{1,2}\b")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SECTION = re.compile(r"^#+ ([DFILX]\d{1,2}): (.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)

SECTIONS = {
    code: text for page in PAGES for code, text in SECTION.findall(page.read_text(encoding="utf-8"))
}
FILES = sorted(
    path
    for folder in (PACKAGE, ROOT / "tests", ROOT / "docs", ROOT / "workflows", ROOT / "bench")
    for path in folder.rglob("*")
    if path.suffix in {".py", ".lua", ".md"}
)


def cited(path: Path) -> set[str]:
    """The codes that a file names, in comments, texts or prose."""
    return set(CODE.findall(path.read_text(encoding="utf-8")))


def test_each_cited_code_is_defined() -> None:
    """A reader who meets (I7) finds a heading that says what it is."""
    undefined = {
        f"{path.relative_to(ROOT)}: {code}"
        for path in FILES
        for code in cited(path) - SECTIONS.keys()
    }
    assert sorted(undefined) == []


def test_each_code_is_cited() -> None:
    """What is defined is relied on somewhere in code or tests, under its code."""
    used = {code for path in FILES if path.suffix != ".md" for code in cited(path)}
    assert sorted(SECTIONS.keys() - used) == []


@pytest.mark.parametrize("code", SECTIONS)
def test_a_rule_names_its_tests(code: str) -> None:
    """Under each rule and fact stands at least one test."""
    assert TEST.findall(SECTIONS[code]), code


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_tests_are_there(page: Path) -> None:
    """Each test that a page names is a function of the file it names."""
    missing = [
        f"{file}::{name}"
        for file, name in TEST.findall(page.read_text(encoding="utf-8"))
        if name not in _functions(ROOT / file)
    ]
    assert missing == []


def _functions(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
