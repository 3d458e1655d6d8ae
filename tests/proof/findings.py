"""What a law finds: a sentence, and what its story is about.

Owns: the form of a finding.  Refuses to know: the laws, and how a finding is told (`violations`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.proof.records import Frame


class Finding(NamedTuple):
    """A law that was broken, and what its story is about."""

    law: str
    what: str  # a sentence
    steps: frozenset[str] = frozenset()  # of these; none: of the run as a whole
    until: int | None = None  # the number of the event that broke it: nothing after it matters


def found_at(frame: Frame, law: str, what: str, *steps: str) -> Finding:
    """A law that was broken by an event; the story is about its step if no others are named."""
    return Finding(law, what, frozenset(steps or {frame.event.step}) - {""}, frame.number)


def attempt(frame: Frame) -> str:
    """What an event is about: `do 'pay' #2`."""
    event = frame.event
    return f"{event.phase} {event.step!r} #{event.attempt}"
