"""The pytest plug-in: a fixture `lab`, and the story of the lab when a test with it fails.

Owns: both, and costing nothing where neither is used.  Refuses to know: what a lab is.

It stands beside the package, not in it: pytest imports every plug-in that is installed at its
start, and a file inside the package would bring all of Celeriac along, and Celery, into each run.
"""

from __future__ import annotations

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
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what happened in its lab to the report of a test that failed."""
    report = yield
    if report.failed:
        for name, value in _labs(item):
            report.sections.append((f"what happened in {name}", value.story()))
    return report


def _labs(item: pytest.Item) -> list[tuple[str, Any]]:
    given: dict[str, Any] = getattr(item, "funcargs", {})
    # By its name: whoever has no lab has not imported its class either.
    return [(name, value) for name, value in given.items() if _is_lab(type(value))]


def _is_lab(kind: type) -> bool:
    return any(
        (each.__module__, each.__qualname__) == ("celeriac.testing.lab", "Lab")
        for each in kind.__mro__
    )
