"""The table of planted bugs fits the code, and a bug that is planted is a bug that is caught.

Owns: that the table is true; one bug is tried here, all of them by `python -m tests.mutants`.
"""

from __future__ import annotations

import ast
from contextlib import closing
from pathlib import Path

import pytest

import celeriac
from tests.mutants.__main__ import fork_server, trial
from tests.mutants.planting import Plant, planted
from tests.mutants.plants import PLANTS

PACKAGE = Path(celeriac.__file__).parent


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_bug_has_its_place(plant: Plant) -> None:
    """It changes one place of the code, which is still code then."""
    text = (PACKAGE / plant.file).read_text()
    spoilt = planted(plant, text)
    assert spoilt != text
    if plant.file.endswith(".py"):
        ast.parse(spoilt)
    assert plant.caught_by


def test_there_are_enough_of_them() -> None:
    """Each under a name of its own."""
    assert len({plant.name for plant in PLANTS}) == len(PLANTS) >= 20


def test_a_bug_is_caught_and_no_bug_is_not() -> None:
    """By tests that pass without it; a few seconds of them, so that a busy machine is in time."""
    bug = next(plant for plant in PLANTS if plant.name == "no grace")
    bug = bug._replace(caught_by=("tests/machine/test_compensation.py",))
    with closing(fork_server()) as server:
        assert trial(server, bug).caught_by == bug.caught_by[0]
        harmless = bug._replace(new=f"{bug.old}    # no bug at all\n")
        assert trial(server, harmless).caught_by == ""


def test_what_has_no_place_is_an_error() -> None:
    """Instead of a bug that nobody plants any more."""
    with pytest.raises(ValueError, match="found 0 times"):
        planted(PLANTS[0], "nothing of the kind")
