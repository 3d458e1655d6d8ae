"""Celery's own tests pass with every task adopted.

Owns: the comparison with a run without Celeriac on the same machine, and the tests that look inside
of Celery.  Refuses to know: how the suite is fetched and run (`suite`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.celery_suite.suite import PARTS, NotFetched, fetch, run

if TYPE_CHECKING:
    from pathlib import Path

_APPLY = "t.unit.tasks.test_tasks.test_apply_task"
#: Tests that look at how Celery does it, and not at what a task is told or does.
INTERNALS = {
    # that `__trace__` is the very object that Celery built: the edge is around it
    "t.unit.tasks.test_trace.test_trace::test_outside_body_error",
    # that Celery's client has a method for each command of a worker: one of ours is there too
    "t.unit.app.test_control::test_inspect_implements_all_commands",
    # a variable in the closure of `autoretry_for`: one function of ours is around that function
    f"{_APPLY}::test_autoretry_shared_retry_kwargs_not_mutated_by_max_retries_override",
}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the suite is."""
    try:
        return fetch(tmp_path_factory.mktemp("celery"))
    except NotFetched as error:
        pytest.skip(str(error))


@pytest.mark.skipif("PROVE" not in os.environ, reason="more than a minute; PROVE=1 runs it")
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("part", PARTS)
def test_no_test_of_celery_fails_for_being_adopted(home: Path, part: str) -> None:
    """Whatever passes without Celeriac passes with every task adopted."""
    plain, adopted = run(home, part, adopting=False), run(home, part, adopting=True)
    if not plain.passed:
        pytest.skip(f"nothing of {part} can be run here, with or without Celeriac")
    new = adopted.failed - plain.failed
    assert new - INTERNALS == set()
    assert {each for each in INTERNALS if each.startswith(f"t.unit.{part}.")} <= new
    assert adopted.passed == plain.passed - len(new)
    if part in ("app", "tasks", "worker"):
        assert adopted.adopted > 100
