"""How a file is named, and how a room begins.

Owns: the words that no file is named by, and that each room says what belongs into it.  Refuses to
know: whether that is true.
"""

from __future__ import annotations

import ast
import subprocess

import pytest

from tests.house.sources import PACKAGE, ROOT, Module, modules

ROOMS = [module for module in modules().values() if module.path.name == "__init__.py"]
SCRIPTS = sorted(PACKAGE.rglob("*.lua"))

# Drawers for the rest: they say nothing of what is in them.
DRAWERS = {"base", "common", "core", "extras", "helper", "helpers", "lib", "manager", "many"}
DRAWERS |= {"misc", "other", "tools", "util", "utils", "various"}
# Pictures: whoever looks for a thing by the field's word does not find it.
PICTURES = {"arena", "brought", "clinic", "courier", "crew", "desk", "desks", "foundry", "given"}
PICTURES |= {"hand", "hands", "heard", "journey", "lane", "lanes", "luck", "mishap", "mishaps"}
PICTURES |= {"mould", "odd", "promise", "whereabouts"}
# Words that may mean anything here: `record` a run, a log line or an entry; `asking` whom for what.
VAGUE = {"asking", "record", "stuff", "thing", "things"}
FORBIDDEN = DRAWERS | PICTURES | VAGUE

each_room = pytest.mark.parametrize("module", ROOMS, ids=lambda m: m.name)


def named() -> list[str]:
    """Every file and folder of our own below the root, as git knows them."""
    folders = ("worker", "tests", "workflows", "ops", "docs", "bench")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders],  # noqa: S607  # PATH's
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no checkout: only git knows which files are tracked")
    files = [name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()]
    parents = {str(parent) for name in files for parent in list((ROOT / name).parents)}
    inner = {each[len(str(ROOT)) + 1 :] for each in parents if each.startswith(f"{ROOT}/")}
    return sorted({*files, *inner})


def words(path: str) -> set[str]:
    """The words of a file's or folder's own name, without `test_` and without its ending."""
    stem = path.rpartition("/")[2].partition(".")[0].removeprefix("test_")
    return set(stem.lower().replace("-", "_").split("_"))


def test_no_file_is_named_by_a_drawer_or_a_picture() -> None:
    """A file is found by the field's word for the one thing in it."""
    names = named()
    assert "tests/house/test_files.py" in names
    found = {
        path: sorted(words(path) & FORBIDDEN)
        for path in names
        if words(path) & FORBIDDEN and not path.startswith("docs/decisions/")  # titles: sentences
    }
    assert found == {}


@each_room
def test_a_room_says_what_it_owns_and_refuses_to_know(module: Module) -> None:
    """A reader learns from the first paragraph what belongs into a room, and what does not."""
    opening = " ".join((ast.get_docstring(module.tree) or "").split())
    assert "Owns" in opening, f"{module.label} does not say what it owns"
    assert "refus" in opening.lower(), f"{module.label} does not say what it refuses to know"


def test_a_script_is_introduced() -> None:
    """What runs inside Redis begins with a comment, like everything else."""
    assert PACKAGE / "store" / "commit.lua" in SCRIPTS
    silent = [path.name for path in SCRIPTS if not path.read_text("utf-8").startswith("--")]
    assert silent == []


@pytest.mark.parametrize("module", modules().values(), ids=lambda m: m.name)
def test_a_file_is_introduced(module: Module) -> None:
    """Each file of the package begins with a sentence that says what it is."""
    assert (ast.get_docstring(module.tree) or "").partition("\n")[0].rstrip("…").strip(), (
        f"{module.label} does not say what it is"
    )
