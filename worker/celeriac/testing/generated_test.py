"""A schedule, written down as a test that can be pasted into a file and run.

Owns: finding names for what the explorer was given, and the text of the test.  Refuses to know:
why the schedule is worth a test.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.sagas import Saga
    from celeriac.testing.faults import PossibleFault


class Wrong(NamedTuple):
    """What is wrong in the end, and the last line of a test that says so.

    `{saga}` and `{check}` stand for their names; an empty line is for what raises by itself.
    """

    what: str
    line: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a schedule was tried with."""

    saga: Saga[Any, Any]
    inputs: Sequence[Any]
    schedule: Sequence[PossibleFault]
    check: Callable[..., object] | None
    fresh: Callable[[], object] | None
    run_id: str
    starts: int = 1  # more, where its client died before anything was written
    meanwhile: Callable[..., object] | None = None  # what sends to a run that waits


def write_test(case: Case, wrong: Wrong) -> str:
    """Return a test that fails as the schedule did: Python, to be pasted and run."""
    page = _Page()
    given = [page.value(each, f"input_{number}") for number, each in enumerate(case.inputs, 1)]
    saga = page.name_of_saga(case.saga)
    start = f'run = lab.start({", ".join([saga, *given])}, id="{case.run_id}")'
    pairs = [fault.lines(case.run_id) for fault in case.schedule]
    lines = [f"{page.name_of(case.fresh, 'fresh')}()"] if case.fresh else []
    lines += [line for first, _ in pairs for line in first]
    lines += [start, *[f"{start}  # its client died: again"] * (case.starts - 1)]
    lines.append(_run(page, case))
    lines += [line for _, last in pairs for line in last]
    if "{check}" in wrong.line:
        lines.append(wrong.line.format(check=page.name_of(case.check, "check")))
    elif wrong.line:
        lines.append(wrong.line.format(saga=saga))
    for needed, module in _NEEDED.items():
        if any(f"{needed}(" in line for line in lines):
            page.imported(module, needed)
    return page.text(wrong.what, lines)


def _run(page: _Page, case: Case) -> str:
    """The line that lets the run live."""
    if case.meanwhile is None:
        return "lab.run()"
    return f"lab.run(lambda: {page.name_of(case.meanwhile, 'meanwhile')}(run))"


_NEEDED = {"Abort": "celeriac", "audit": "celeriac.testing.audit"}


class _Page:
    """A test in the making: what it imports, and what it cannot name."""

    def __init__(self) -> None:
        self._imports: dict[str, set[str]] = {}
        self.unnamed: list[str] = []  # names whose values only the caller knows

    def name_of(self, thing: object, otherwise: str) -> str:
        """Return a name for *thing*, imported from where it is defined."""
        name = getattr(thing, "__qualname__", None) or ""
        module = sys.modules.get(getattr(thing, "__module__", None) or "")
        if module is not None and name.isidentifier() and getattr(module, name, None) is thing:
            return self.imported(module.__name__, name)
        self.unnamed.append(otherwise)
        return otherwise

    def name_of_saga(self, saga: Saga[Any, Any]) -> str:
        """Return the name of a saga, found beside its steps."""
        functions = [getattr(step, "function", step) for step in saga.planned.steps.values()]
        for module_name in dict.fromkeys(getattr(each, "__module__", "") for each in functions):
            for name, value in vars(sys.modules.get(module_name, object)).items():
                if value is saga and name.isidentifier():
                    return self.imported(module_name, name)
        self.unnamed.append(saga.planned.shape.name)
        return saga.planned.shape.name

    def value(self, given: object, otherwise: str) -> str:
        """Return the Python text of an input."""
        if isinstance(given, BaseModel):
            kind = self.name_of(type(given), type(given).__name__)
            return f"{kind}.model_validate_json({given.model_dump_json()!r})"
        text = repr(given)
        try:
            if ast.literal_eval(text) == given:
                return text
        except (ValueError, SyntaxError):
            pass
        self.unnamed.append(otherwise)
        return otherwise

    def imported(self, module: str, name: str) -> str:
        """Return *name*, imported from *module*; what a program itself defines has no module."""
        if module == "__main__":
            self.unnamed.append(name)
        else:
            self._imports.setdefault(module, set()).add(name)
        return name

    def text(self, title: str, lines: Sequence[str]) -> str:
        """Return the whole test."""
        imports = [
            f"from {module} import {', '.join(sorted(names))}"
            for module, names in sorted(self._imports.items())
        ]
        unnamed = ", ".join(dict.fromkeys(self.unnamed))
        if unnamed:
            imports.append(f"# {unnamed}: as given to explore")
        summary = " ".join(title.split()).replace("\\", "").replace('"', "'")[:80]
        body = [f'    """{summary}."""', *(f"    {line}" for line in lines)]
        return "\n".join([*imports, "", "", "def test_explored(lab):", *body, ""])
