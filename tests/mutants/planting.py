"""A planted bug, and planting it in a text.

Owns: what a bug consists of.  Refuses to know: which there are (`plants`, `flow_plants`).
"""

from __future__ import annotations

from typing import NamedTuple


class Plant(NamedTuple):
    """A planted bug."""

    name: str
    meaning: str  # what is wrong then, in a sentence
    file: str  # in worker/celeriac
    old: str  # must be there exactly once
    new: str
    caught_by: tuple[str, ...]  # words for pytest; tried in this order until one fails


def planted(plant: Plant, text: str) -> str:
    """Return the file's text with the bug in it; raise ValueError if it has no place there."""
    if text.count(plant.old) != 1:
        raise ValueError(f"{plant.name}: found {text.count(plant.old)} times in {plant.file}")
    return text.replace(plant.old, plant.new)
