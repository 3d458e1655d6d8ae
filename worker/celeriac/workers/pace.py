"""How long the attempts of each task take in this process, lately.

Owns: what counts as short.  Refuses to know: what follows from that (`ahead`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    Paces = MutableMapping[str, float]

_SHORT = 0.05  # seconds
_WEIGHT = 0.25  # of the newest: one that had to wait for its processor makes no task a long one


def note(paces: Paces, task: str, seconds: float) -> None:
    """Take note of an attempt that is over."""
    before = paces.get(task, seconds)
    paces[task] = before + _WEIGHT * (seconds - before)


def is_short(paces: Paces, task: str) -> bool:
    """True if attempts of a task are known to be short here: others may wait for one."""
    return paces.get(task, _SHORT) < _SHORT
