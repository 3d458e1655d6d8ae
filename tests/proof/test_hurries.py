"""More than may have passed a rate in some span: the check sees it, and nothing else."""

from __future__ import annotations

import pytest

from tests.proof.places import Passed, hurries


def at(*times: int, gate: str = "bank", later: int = 0) -> list[Passed]:
    """Who passes two in a second, and when; the gate has seen a time that is so much later."""
    return [Passed(gate, 2, 1_000, each, each + later) for each in times]


@pytest.mark.parametrize("times", [(), (0, 1), (0, 0, 1_000, 1_000), (0, 999, 1_000, 1_999)])
def test_as_many_as_may(times: tuple[int, ...]) -> None:
    """A place is free again when its span has passed."""
    assert list(hurries(at(*times))) == []


@pytest.mark.parametrize("times", [(0, 0, 0), (40, 0, 20), (0, 500, 1_100, 1_499)])
def test_one_too_many(times: tuple[int, ...]) -> None:
    """In whatever order they were noted in one moment, and wherever the span begins."""
    (found,) = hurries([*at(*times), *at(0, 1, gate="other")])
    assert found.law == "I23"
    assert found.what.startswith("3 passed 'bank' in ")


def test_a_clock_that_was_set_back() -> None:
    """What passed before seemed to be over: nobody can say who was too many."""
    assert list(hurries(at(0, 0, 0, later=5_000))) == []
    assert list(hurries(at(1_900, 2_000, 1_500, 1_700))) == [], "forgotten, before it was set back"
