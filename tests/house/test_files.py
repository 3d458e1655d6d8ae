"""How a file of the package begins.

Owns: that it says what it owns.  Refuses to know: whether that is true.
"""

from __future__ import annotations

import ast

import pytest

from tests.house.sources import PACKAGE, ROOT, Module, modules

MODULES = modules()
SCRIPTS = sorted(PACKAGE.rglob("*.lua"))

each_module = pytest.mark.parametrize("module", MODULES.values(), ids=lambda m: m.name)


@each_module
def test_a_file_says_what_it_owns_and_refuses_to_know(module: Module) -> None:
    """A reader learns from the first paragraph what belongs into a file, and what does not."""
    opening = " ".join((ast.get_docstring(module.tree) or "").split())
    assert "Owns" in opening, f"{module.label} does not say what it owns"
    assert "refus" in opening.lower(), f"{module.label} does not say what it refuses to know"


def test_a_script_says_what_it_owns() -> None:
    """What runs inside Redis is introduced like everything else."""
    assert PACKAGE / "store" / "commit.lua" in SCRIPTS
    silent = [
        script.relative_to(ROOT).as_posix()
        for script in SCRIPTS
        if not script.read_text(encoding="utf-8").startswith("--")
        or "Owns" not in script.read_text(encoding="utf-8")
    ]
    assert silent == []


@each_module
def test_nothing_is_named_after_nothing(module: Module) -> None:
    """A file is named after the one thing in it: there is no drawer for the rest."""
    drawers = {"utils", "util", "common", "helpers", "helper", "base", "core", "manager", "misc"}
    assert drawers.isdisjoint(module.name.split("."))
