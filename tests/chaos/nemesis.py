"""Who strikes: a schedule of faults, carried out on an installation, and what happened when.

Owns: beginning each fault at its time, several at once where they overlap, and the notes.  Refuses
to know: how a fault is done (`faults`), and what comes of it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.faults import strike
from tests.chaos.missed import Missed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.chaos.environment import Installation
    from tests.chaos.schedule import Planned

_TRIES = 3  # to meet somebody


class Struck(NamedTuple):
    """A fault that has happened, or has found nothing to harm."""

    kind: str
    where: str
    begun: float  # epoch
    ended: float  # epoch
    told: str  # what it met
    missed: bool = False


class Nemesis:
    """Carries out a schedule."""

    def __init__(
        self,
        installation: Installation,
        plan: Sequence[Planned],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """*tell* is called with a line for each fault that is over."""
        self.struck: list[Struck] = []
        self.trouble: list[str] = []  # faults that could not be done as they should
        self._installation, self._plan, self._tell = installation, plan, tell
        self._lock = threading.Lock()

    def rage(self, seconds: float) -> None:
        """Strike as planned, and return after so many seconds, with every fault over."""
        begun, threads = time.monotonic(), []
        for planned in self._plan:
            time.sleep(max(0.0, begun + planned.at - time.monotonic()))
            threads.append(threading.Thread(target=self._strike, args=(planned,), daemon=True))
            threads[-1].start()
        time.sleep(max(0.0, begun + seconds - time.monotonic()))
        for thread in threads:
            thread.join(30)
            if thread.is_alive():
                self.trouble.append("a fault did not end")

    def _strike(self, planned: Planned) -> None:
        begun, missed, told = time.time(), True, ""
        for _ in range(_TRIES):
            begun = time.time()
            try:
                told, missed = strike(self._installation, planned), False
            except Missed as nothing:
                told = str(nothing)  # perhaps another fault has just hit the same
                continue
            except Exception as error:  # noqa: BLE001 -- it is noted, and fails the run
                told = f"{type(error).__name__}: {error}"
                self.trouble.append(f"{planned.kind} {planned.where}: {told}")
            break
        with self._lock:
            noted = Struck(planned.kind, planned.where, begun, time.time(), told, missed)
            self.struck.append(noted)
            self._tell(f"{planned.at:6.1f}  {planned.kind}: {'missed: ' * missed}{told}")
