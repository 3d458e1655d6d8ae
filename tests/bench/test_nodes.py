"""The work of runs is shared by the primaries of a cluster, and grows with none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.nodes import asked_of_nodes

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 100


def test_more_primaries_share_the_same_work(tmp_path: Path) -> None:
    """Three nodes are asked no more than one is, and each of them about a third of that."""
    [alone] = asked_of_nodes(tmp_path / "one", 1, RUNS).values()
    shared = sorted(asked_of_nodes(tmp_path / "three", 3, RUNS).values())
    assert len(shared) == 3
    assert sum(shared) < alone * 1.05
    assert shared[-1] < alone * 0.45
