"""What the prose calls by name is there.

Owns: the files and code names in the pages that lead through the code.  Refuses to know: what the
pages say of them.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import Saga, Sagas
from tests.house.sources import PACKAGE, ROOT, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = ("docs/tour.md", "docs/invariants.md", "docs/celery.md", "CONTRIBUTING.md")
# The objects of the example that the pages follow, by the class whose attributes they have.
EXAMPLES: dict[str, type] = {"sagas": Sagas, "place_order": Saga}

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`([^`\n]+)`")
# A path has a slash, or the ending of a kind of file that there is here.
PATH = re.compile(r"[\w.*-]+/[\w./*-]*|[\w.-]+\.(?:py|md|lua|lock|toml|yml)")
# Two words with a dot between, or a class.
NAME = re.compile(r"@?((?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*|[A-Z][a-z]\w*)(?:\(.*\))?")

each_page = pytest.mark.parametrize("page", PAGES)


def quoted(page: str) -> Iterator[str]:
    """What stands between backticks, but for blocks."""
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for each in QUOTED.findall(text):
        yield each.partition("::")[0]  # a test in a file


@each_page
def test_paths_are_there(page: str) -> None:
    """Each file that a page names is in the repository, in docs/ or in the package."""
    folders = (ROOT, ROOT / "docs", PACKAGE)
    paths = [each for each in quoted(page) if PATH.fullmatch(each)]
    assert paths
    assert [each for each in paths if not any(_exists(f, each) for f in folders)] == []


def _exists(folder: Any, path: str) -> bool:
    return any(folder.glob(path.rstrip("/")))


@each_page
def test_names_are_there(page: str) -> None:
    """Each class, and each name with a dot in it, is found in the package."""
    names = [
        match[1]
        for each in quoted(page)
        if not PATH.fullmatch(each) and (match := NAME.fullmatch(each))
    ]
    assert [name for name in names if not _is_known(name)] == []


def _is_known(name: str) -> bool:
    if name in _known():
        return True
    first, *rest = name.split(".")
    for found in (EXAMPLES.get(first), *_known().get(first, ())):
        thing = found
        for part in rest:
            thing = getattr(thing, part, None)
        if thing is not None:
            return True
    return False


@cache
def _known() -> dict[str, list[Any]]:
    """Every module and every name in a module, by what it is called without its place."""
    found: dict[str, list[Any]] = {}
    for name in modules():
        module = import_module(name)
        found.setdefault(name.rpartition(".")[2], []).append(module)
        for each, thing in vars(module).items():
            found.setdefault(each, []).append(thing)
            if isinstance(thing, str):  # the name of a task or a queue
                found.setdefault(thing, []).append(module)
    return found


def test_what_is_not_there_is_found() -> None:
    """The search can fail: a name, an attribute and a path that do not exist are not found."""
    assert not _is_known("Courier")
    assert not _is_known("Engine.poke")
    assert not _exists(PACKAGE, "machine/models.py")
    assert _is_known("Engine.dispatch_due")
    assert _is_known("place_order.start")
