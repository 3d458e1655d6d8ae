"""The package as text: its files, parsed, and what each imports.

Owns: reading.  Refuses to know: what is good style.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "worker" / "celeriac"


@dataclass(frozen=True)
class Import:
    """One imported module, by its absolute name, and where the import stands."""

    target: str
    line: int
    typing_only: bool  # under `if TYPE_CHECKING`: never happens when the program runs
    local: bool  # inside a function


@dataclass(frozen=True)
class Module:
    """One file of the package; `name` is absolute: `celeriac.store.keys`."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        """The file, parsed."""
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @property
    def label(self) -> str:
        """How the file is called in a message."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def imports(self) -> list[Import]:
        """Everything it imports, wherever in the file."""
        return list(_imports(self.tree, self.name, typing_only=False, local=False))


def modules() -> dict[str, Module]:
    """Every module of the package by its absolute name."""
    return {
        name: Module(name, path) for path in sorted(PACKAGE.rglob("*.py")) for name in [_name(path)]
    }


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _imports(node: ast.AST, own: str, *, typing_only: bool, local: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for target in _targets(child, own):
                yield Import(target, child.lineno, typing_only, local)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield from _imports(_block(part), own, typing_only=True, local=local)
            for part in child.orelse:
                yield from _imports(_block(part), own, typing_only=typing_only, local=local)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, own, typing_only=typing_only, local=local or inside)


def _block(statement: ast.stmt) -> ast.Module:
    return ast.Module(body=[statement], type_ignores=[])


def _targets(node: ast.Import | ast.ImportFrom, own: str) -> list[str]:
    """The modules that a statement imports; of `from a import b`, `a.b` where that is a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level:
        # Not done in this package (the linter sees to it); named so that nothing slips through.
        return [f"{own}:{'.' * node.level}{node.module or ''}"]
    assert node.module is not None
    return [_module_in(node.module, alias.name) for alias in node.names]


def _module_in(package: str, name: str) -> str:
    path = PACKAGE.parent.joinpath(*package.split("."), name)
    is_module = path.with_suffix(".py").exists() or (path / "__init__.py").exists()
    return f"{package}.{name}" if is_module else package
