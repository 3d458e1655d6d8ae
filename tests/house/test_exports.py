"""What `import celeriac` gives.

Owns: that the list of public names is complete and in order.  Refuses to know: what they do.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import celeriac
from celeriac import errors
from tests.house.sources import ROOT, modules

# Of the verbs.
_KINDS = (
    "inspection",
    "control",
    "defining",
    "schedule",
    "breaker",
    "bulk",
    "result",
    "maintenance",
)


def imported_names() -> set[str]:
    """The public names that `__init__.py` brings in from the package's own modules."""
    tree = modules()["celeriac"].tree
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("celeriac")
        for alias in node.names
        if not (alias.asname or alias.name).startswith("_")
    }


def test_public_names_are_complete() -> None:
    """What is imported to be public is listed, and what is listed is there."""
    listed = set(celeriac.__all__)
    assert imported_names() - listed == set()
    assert [name for name in celeriac.__all__ if not hasattr(celeriac, name)] == []


def test_public_names_have_a_home() -> None:
    """A name is found where the table says it lives, and type checkers see the same."""
    assert sorted(celeriac._HOME) == sorted(celeriac.__all__)
    assert imported_names() == set(celeriac.__all__)


def test_importing_the_package_loads_nothing() -> None:
    """`import celeriac` is free, and a `celery` command that is not about sagas nearly so."""
    declared = {"cli", "command", "options", *(f"{kind}_commands" for kind in _KINDS)}
    for module, allowed in (
        ("celeriac", {"celeriac"}),
        (
            "celeriac.terminal.cli",
            {"celeriac", "celeriac.terminal", *(f"celeriac.terminal.{name}" for name in declared)},
        ),
    ):
        code = f"import sys, {module}; print(*(n for n in sys.modules if n.startswith('celeriac')))"
        asked = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT / "worker",
            capture_output=True,
            text=True,
            check=True,
        )
        assert set(asked.stdout.split()) <= allowed, module


def test_public_names_are_sorted() -> None:
    """A name is found in the list where a reader looks for it, once."""
    assert list(celeriac.__all__) == sorted(set(celeriac.__all__))


def test_every_error_is_public() -> None:
    """Whatever is raised can be caught by a name from `celeriac`."""
    raised = {
        name
        for name, thing in inspect.getmembers(errors, inspect.isclass)
        if issubclass(thing, errors.SagaError)
    }
    assert raised - set(celeriac.__all__) == set()


def test_every_public_thing_is_described() -> None:
    """Each public class and function says in its first line what it promises."""
    silent = [
        name
        for name in celeriac.__all__
        if (inspect.isclass(thing := getattr(celeriac, name)) or inspect.isfunction(thing))
        and not (thing.__doc__ or "").strip()
    ]
    assert silent == []


def test_the_package_refuses_a_second_name() -> None:
    """From the repository's root, `worker.celeriac` would be a second copy: it says so instead."""
    asked = subprocess.run(
        [sys.executable, "-c", "import worker.celeriac"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode != 0
    assert "ImportError" in asked.stderr
    assert "import celeriac" in asked.stderr
