"""The notices that observers hear, for those who write one.

Owns: the path by which users import these names.  Refuses to know: what they do
(`observing.observers`).
"""

from __future__ import annotations

from celeriac.observing import (
    Asked,
    Claiming,
    Committed,
    Observer,
    Observers,
    Refused,
    Settled,
    Starting,
    Swept,
    Working,
)

__all__ = [
    "Asked",
    "Claiming",
    "Committed",
    "Observer",
    "Observers",
    "Refused",
    "Settled",
    "Starting",
    "Swept",
    "Working",
]
