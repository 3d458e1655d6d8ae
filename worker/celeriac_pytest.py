"""The pytest plug-in: a fixture `lab`, and what labs and `explore` have to tell of a failed test.

Owns: both, and costing nothing where neither is used.  Refuses to know: what a lab is.

It stands beside the package, not in it: pytest imports every plug-in that is installed at its
start, and a file inside the package would bring all of Celeriac along, and Celery, into each run.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from celeriac.testing import Lab


@pytest.fixture
def lab() -> Lab:
    """A new `celeriac.testing.Lab`: sagas run in it in milliseconds, and what can go wrong does."""
    from celeriac.testing import Lab  # noqa: PLC0415 -- only where the fixture is used

    return Lab()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what happened in its lab, and what `explore` found, to the report of a failed test."""
    report = yield
    if report.failed:
        given: dict[str, Any] = getattr(item, "funcargs", {})
        for name, value in given.items():
            if _is(value, "celeriac.testing.lab", "Lab"):
                report.sections.append((f"what happened in {name}", value.story()))
        for name, value in _locals(item, call).items():
            if _is(value, "celeriac.testing.explorer", "Report"):
                report.sections.append((f"what explore says in {name}", str(value)))
    return report


def _locals(item: pytest.Item, call: pytest.CallInfo[Any]) -> dict[str, Any]:
    """The variables of the test function, as they were when it failed.

    pytest shortens the message of `assert report.ok, report` to one line: the story is read here.
    """
    function = getattr(item, "function", None)
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    for entry in call.excinfo.traceback if call.excinfo and code else ():
        if entry.frame.code.raw is code:
            return entry.frame.f_locals
    return {}


def _is(value: object, module: str, name: str) -> bool:
    """True if *value* is of that class; by name, since who has none has not imported it either."""
    return any(
        (each.__module__, each.__qualname__) == (module, name) for each in type(value).__mro__
    )
