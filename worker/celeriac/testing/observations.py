"""What is known of a lab afterwards: the story, and what tests and explorers ask about.

Owns: the lists.  Refuses to know: how anything came about.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from celeriac.testing.fault_points import Point
from celeriac.testing.timeline import Story

if TYPE_CHECKING:
    from celeriac.engine import Delivery
    from celeriac.machine import Event


class Observations:
    """Everything that happened, in its order."""

    def __init__(self, began: int) -> None:
        """*began* is when the lab opened, in ms."""
        self.story = Story(began)
        self.reached: list[Point] = []
        self.mail: list[tuple[str, int, int]] = []  # (who, their nth, points reached before)
        self.bodies: list[str] = []  # whose bodies ran
        self.events: list[tuple[str, Event]] = []  # what was recorded, by run
        self.refused: list[str] = []  # the reasons for which messages were refused
        self.reported: list[Delivery] = []  # the attempts whose report was taken
        self.double_sweeps = 0  # sweeps that began while another was in the middle
        self._times: Counter[tuple[str, str, str]] = Counter()
        self._sent: Counter[str] = Counter()

    def note(self, who: str, when: str, contact: str) -> Point:
        """Note that a point was reached; return it with its number."""
        self._times[who, when, contact] += 1
        point = Point(who, when, contact, self._times[who, when, contact])
        self.reached.append(point)
        return point

    def sent(self, who: str) -> None:
        """Note that a message was sent."""
        self._sent[who] += 1
        self.mail.append((who, self._sent[who], len(self.reached)))
