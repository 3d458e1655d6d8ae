"""Every name that users were told of can be imported, by the path that they were told.

Owns: collecting names from the pages, from docstrings and from `__all__`, and importing them.
Refuses to know: what they do.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.app.tick_logs import SWEEP
from celeriac.workers import ERRBACK
from tests.house.sources import PACKAGE, ROOT, modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What users import by path, and the names that 0.1.0 had there: more may come, none may go.
PUBLISHED = {
    "celeriac": "Abort ArchivedRun CommandRefused Compensation ConfigurationError DefinitionError "
    "Event EventKind Failure Flow InputInvalid LeaseLost OutputInvalid Page PayloadTooLarge Purge "
    "ResultTimeout Retry RunCompensated RunConflict RunExists RunFailed RunHandle RunNotFound "
    "RunNotSuccessful RunState RunStatus RunTerminated Saga SagaError SagaStats Sagas Stats Step "
    "StepContext StepFailed StepStatus StepView StoreError StoreFull StoreUnavailable SweepStats "
    "current saga_compensated saga_completed saga_failed saga_started saga_step_failed",
    "celeriac.archive": "Archive ArchivedRun JsonLines load_archive",
    "celeriac.barrier": "BarrierBusy RedisBarrier SqlBarrier",
    "celeriac.context": "StepContext current entered",
    "celeriac.drawing": "Drawing draw",
    "celeriac.errors": "Abort SagaError",
    "celeriac.flower": "format_task natural_time tasks_columns",
    "celeriac.instruments": "Instruments count_into serve_store",
    "celeriac.logs": "LINE AttemptFilter JsonFormatter",
    "celeriac.observe": "Asked Claiming Committed Observer Observers Refused Settled Starting "
    "Swept Working",
    "celeriac.sagas": "IfExists Saga Sagas",
    "celeriac.signals": "saga_compensated saga_completed saga_failed saga_started saga_step_failed",
    "celeriac.testing": "BrokenLaw Finding Lab LabFailure LabRun Odds Report Storm Stuck Violation "
    "check_compensation explore",
    "celeriac.testing.servers": "Child LocalRedis answers",
}

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "ops").rglob("*.md")),
]
STATEMENT = re.compile(r"\bfrom (celeriac[\w.]*) import (\([^)]*\)|[\w*][\w*, ]*)")
DOTTED = re.compile(r"(?<![\w./-])celeriac(?:\.\w+)+(?::\w+)?")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
each_module = pytest.mark.parametrize("module", modules().values(), ids=lambda m: m.name)


def spoken() -> set[str]:
    """Names that look like ours and are none to import: Celery tasks, attributes of spans."""
    traces = ast.parse((PACKAGE / "observing" / "traces.py").read_text(encoding="utf-8"))
    texts = {str(node.value) for node in ast.walk(traces) if isinstance(node, ast.Constant)}
    return {SWEEP, ERRBACK, *(text for text in texts if text.startswith("celeriac."))}


def named(text: str) -> Iterator[str]:
    """The names in a text, each as `module:name` or with dots only."""
    for path, names in STATEMENT.findall(text):
        (node,) = ast.parse(f"from {path} import {names}").body
        assert isinstance(node, ast.ImportFrom)
        yield from (path if each.name == "*" else f"{path}:{each.name}" for each in node.names)
    yield from (name for name in DOTTED.findall(text) if name not in spoken())


def found(name: str) -> Any:
    """Import *name*: the longest module that there is, and what is in it."""
    path, _, inside = name.partition(":")
    thing: Any = importlib.import_module("celeriac")
    for attribute in path.split(".")[1:]:
        is_module = (
            importlib.util.find_spec(f"{thing.__name__}.{attribute}") if _package(thing) else None
        )
        thing = importlib.import_module(is_module.name) if is_module else getattr(thing, attribute)
    return getattr(thing, inside) if inside else thing


def _package(thing: Any) -> bool:
    return isinstance(thing, ModuleType) and hasattr(thing, "__path__")


def missing(names: Iterator[str]) -> list[str]:
    """Those names that cannot be imported."""
    lost = []
    for name in sorted(set(names)):
        try:
            found(name)
        except (ImportError, AttributeError):
            lost.append(name)
    return lost


@pytest.mark.parametrize("path", PUBLISHED)
def test_published_names_stay(path: str) -> None:
    """What could be imported from a public path in 0.1.0 can be imported from it today."""
    assert missing(f"{path}:{name}" for name in PUBLISHED[path].split()) == []


@pytest.mark.parametrize("path", PUBLISHED)
def test_listed_names_are_there(path: str) -> None:
    """What a public module lists as its own, it has."""
    listed = getattr(importlib.import_module(path), "__all__", ())
    assert missing(f"{path}:{name}" for name in listed) == []


@each_page
def test_names_in_a_page_can_be_imported(page: Path) -> None:
    """Whoever copies an import, or a dotted name, from a page gets what it names."""
    assert missing(named(page.read_text(encoding="utf-8"))) == []


@each_module
def test_names_in_docstrings_can_be_imported(module: Any) -> None:
    """A docstring, which an editor shows to users, names what is there."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    told = (ast.get_docstring(node) for node in ast.walk(module.tree) if isinstance(node, kinds))
    assert missing(name for text in told if text for name in named(text)) == []


def test_names_are_found_in_prose() -> None:
    """Imports over several lines, dotted names and strings for settings are all names."""
    text = (
        "`from celeriac.flower import *`, then\n"
        "from celeriac import (\n    Flow,\n    Saga as S,\n)\n"
        'saga_archive = "celeriac.archive:JsonLines"; see `celeriac.testing.Lab`.\n'
        "`app.celeriac.runtime`, celeriac/store/keys.py and the span's `celeriac.run` are none."
    )
    assert sorted(set(named(text))) == [
        "celeriac.archive:JsonLines",
        "celeriac.flower",
        "celeriac.testing.Lab",
        "celeriac:Flow",
        "celeriac:Saga",
    ]
    assert missing(iter(["celeriac.testing.Laboratory", "celeriac.lost", "celeriac:Lost"])) == [
        "celeriac.lost",
        "celeriac.testing.Laboratory",
        "celeriac:Lost",
    ]
    assert found("celeriac.testing.Lab").__name__ == "Lab"
