"""The checker finds a child that has not ended as its parent has (I22).

Owns: families that were doctored.  Refuses to know: the laws of a single run (`test_checker`).
"""

from __future__ import annotations

from celeriac.machine import Parent
from celeriac.machine.commands import Cancel
from tests.machine.story import Story
from tests.machine.test_children import INNER, at_work, ended
from tests.proof.checker import _of_children
from tests.proof.example_runs import record


def test_a_child_that_has_ended_otherwise_is_found() -> None:
    """It completed with its parent, was undone by somebody, or is not there."""
    story = at_work("reserve")
    ended(story, "completed")
    parent = record(story.do("charge"))
    child = Story(INNER, "order-42.ship")
    child.start(parent=Parent("order-42", 1, "ship"))
    child.do("label")
    assert list(_of_children({"order-42.ship": record(child)}, parent)) == []
    child.give(Cancel("by mistake", of_parent=True))
    child.undo("label")
    (undone,) = _of_children({"order-42.ship": record(child)}, parent)
    assert (undone.law, "is compensated" in undone.what) == ("I22", True)
    (gone,) = _of_children({}, parent)
    assert "not there" in gone.what
