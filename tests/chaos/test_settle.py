"""Whoever watches runs come to rest notices those that never will.

Owns: runs in a store in memory that nobody works on.  Refuses to know: processes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos import settle
from tests.chaos.journal import TRIED, Journal

if TYPE_CHECKING:
    from pathlib import Path


class _Store:
    """Runs by id: how many more reads change them, and whether they are at rest after that."""

    def __init__(self, **runs: tuple[int, bool]) -> None:
        self._runs = {run_id: list(run) for run_id, run in runs.items()}
        self._versions = dict.fromkeys(runs, 1)

    def read(self, run_id: str) -> Any:
        """Return a run that may have changed since."""
        left, rests = self._runs[run_id]
        self._runs[run_id][0] = max(0, left - 1)
        self._versions[run_id] += left > 0
        status = SimpleNamespace(at_rest=left == 0 and rests)
        return SimpleNamespace(run=SimpleNamespace(version=self._versions[run_id], status=status))


def _watch(folder: Path, **runs: tuple[int, bool]) -> settle._Watch:
    for run_id in runs:
        Journal(folder, "c1").note(TRIED, run_id)
    engine = SimpleNamespace(store=_Store(**runs))
    kit = SimpleNamespace(sagas=SimpleNamespace(runtime=SimpleNamespace(engine=engine)))
    installation: Any = SimpleNamespace(folder=folder, kit=kit, fleet=SimpleNamespace(replaced=[]))
    return settle._Watch(installation)


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "BOUND", 0.4)
    monkeypatch.setattr(settle, "ALLOWANCE", 0.1)
    monkeypatch.setattr(settle, "_TICK", 0.02)


def test_a_run_that_stands_still_is_stuck(tmp_path: Path) -> None:
    """One that makes no progress for longer than the bound is named; the others are not."""
    watch = _watch(tmp_path, dead=(0, False), slow=(60, True), done=(0, True))
    watch.until_rest()
    assert watch.stuck == ["dead"]
    assert watch.stillest >= 0.5


def test_a_run_that_moves_is_waited_for(tmp_path: Path) -> None:
    """However long all of it takes, each step of it is progress."""
    watch = _watch(tmp_path, slow=(60, True))
    watch.until_rest()
    assert watch.stuck == []
    assert watch.stillest < 0.5
