"""What is written about the code is what the code says.

Owns: that generated pages are fresh, examples in README run, and decisions can be found.
Refuses to know: whether the prose is any good.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pydantic_core import PydanticUndefined

from celeriac.settings import Settings
from docs.generate import FOLDER, PAGES
from tests.house.examples import Example, examples, run
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

README = ROOT / "README.md"
PROSE = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
EXAMPLES = examples(PROSE)

each_page = pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
each_decision = pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_fresh(name: str) -> None:
    """A page drawn from the code says what the code says today; `make docs` writes it again."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_setting_is_described() -> None:
    """A setting has a sentence, and a default that needs no explanation elsewhere."""
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name
        assert field.default is not PydanticUndefined, name


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_is_python(example: Example) -> None:
    """What is shown as Python can at least be read by Python."""
    compile(example.text, example.label, "exec")


RUNNING = {e.name for e in EXAMPLES if e.name and not e.name.endswith("-test")}


@pytest.mark.parametrize("name", sorted(RUNNING))
def test_a_marked_example_runs(name: str) -> None:
    """An example that is marked as running does, with its saga planned, and needs no server.

    A test of another example's saga is run by `tests/testing/test_page.py`.
    """
    run([example for example in EXAMPLES if example.name == name])


def test_readme_shows_an_example_that_runs() -> None:
    """The first thing a newcomer reads is known to work."""
    assert [e.label for e in EXAMPLES if e.path == README and e.name] != []


@each_page
def test_commands_exist(path: Path) -> None:
    """Each `make …` that a text tells people to type is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) - targets) == []


@each_page
def test_links_lead_somewhere(path: Path) -> None:
    """A link to a file of this repository finds it."""
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!\w+:)([^)#\s]+)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_decisions_are_numbered_without_gaps() -> None:
    """Decisions are numbered from 0001 in the order in which they were taken."""
    numbers = [path.name[:4] for path in DECISIONS]
    assert numbers == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]


@each_decision
def test_a_decision_has_its_three_parts(path: Path) -> None:
    """A decision says what it was about, what was decided, and what follows from it."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(path.name[:4])}. "), "it opens with its number and its title"
    parts = re.findall(r"^\*\*(\w+)\.\*\* \S", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "Consequence"]
