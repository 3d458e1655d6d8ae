"""What all faults have in common: their luck, their patience, and that they may miss.

Owns: `Missed`, and waiting for something to harm.  Refuses to know: any fault.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 6.0  # seconds to wait for something to harm
Dice = random.Random


class Missed(RuntimeError):
    """There was nothing that the fault could have harmed."""


def wait(true: Callable[[], Any], seconds: float, pause: float = 0.02) -> Any:
    """Return what *true* returns, once it is something; or what it returned at last."""
    give_up = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < give_up:
        time.sleep(pause)
    return found
