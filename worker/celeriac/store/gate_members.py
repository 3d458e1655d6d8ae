"""How places and turns are spelled where their gate is kept.

Owns: both spellings.  Refuses to know: what they mean.
"""

from __future__ import annotations

from celeriac.machine import InLine, Place
from celeriac.store.keys import CUT


def place_member(place: Place) -> str:
    """A place as it is kept with its gate."""
    return CUT.join(map(str, place[1:]))


def split_place(gate: str, text: str) -> Place | None:
    """The place that `place_member` spelled; None if it is none."""
    match text.split(CUT):
        case [run, epoch, step, "do" | "undo" as phase, attempt, holder] if (
            epoch.isdecimal() and attempt.isdecimal()
        ):
            return Place(gate, run, int(epoch), step, phase, int(attempt), holder)
    return None


def line_member(turn: InLine) -> str:
    """A turn in line as it is kept with its gate; its time is its order."""
    return CUT.join(map(str, turn[1:-1]))


def split_line(gate: str, text: str, since: int) -> InLine | None:
    """The turn that `line_member` spelled; None if it is none."""
    match text.split(CUT):
        case [run, epoch, step, "do" | "undo" as phase] if epoch.isdecimal():
            return InLine(gate, run, int(epoch), step, phase, since)
    return None
