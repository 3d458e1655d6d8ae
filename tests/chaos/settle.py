"""After the faults: everybody works again, every run comes to rest, and nobody waits for ever.

Owns: healing, the bound within which each run must move on (L1), and playing the operator for
what is owed.  Refuses to know: whether what came of it is right (`figures`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine.policy import duration_ms
from celeriac.machine.runs import RunStatus
from tests.chaos.journal import journals
from tests.chaos.missed import wait
from tests.chaos.schedule import CLIENTS
from tests.proof.places import left_behind
from tests.workers.kit import GRACE, LEASE, QUICK, SWEEP

if TYPE_CHECKING:
    from celeriac.store import Store
    from tests.chaos.environment import Installation

# A message that was sent again and again is waited for up to 16 times the grace
# (timing.redispatch_delay).
_LONGEST_PATIENCE = 16 * GRACE
_LONGEST_BACKOFF = 4 * duration_ms(QUICK.initial_delay) / 1000
#: L1: how long a run may be without progress once everybody works again.
BOUND = LEASE + GRACE + 2 * SWEEP + _LONGEST_PATIENCE + _LONGEST_BACKOFF
#: On top of it, for a machine that is busy with other things.
ALLOWANCE = 8.0
#: How long it may take until everybody works again: Celery connects anew after 2, 6 and 12 s, and
#: whoever is deaf has to be found out (fleet.DEAF), replaced, and to start.
WELL = 60.0
_TICK = 0.1
_OPERATOR = 3  # times that an operator asks for what is owed


class Settled(NamedTuple):
    """How it went."""

    well_after: float | None  # seconds until everybody worked again; None: never
    rest_after: float  # seconds from then until the last run was at rest
    stillest: float  # seconds, the longest that a run was without progress meanwhile
    stuck: tuple[str, ...]  # runs without progress for longer than the bound
    retried: int  # times that an operator asked for what was owed


def settle(installation: Installation) -> Settled:
    """Heal the installation, and wait until every run has come to rest or is stuck."""
    installation.heal()
    healed = time.monotonic()
    if not wait(lambda: installation.well(healed), WELL):
        return Settled(None, 0.0, 0.0, (), 0)
    well = time.monotonic()
    # A client that waits for an answer gets it now; then nobody starts anything any more.
    wait(lambda: not any(journal.open() for journal in journals(installation.folder)), ALLOWANCE)
    installation.fleet.retire(*CLIENTS)
    watch = _Watch(installation)
    watch.until_rest()
    retried = 0
    for _ in range(_OPERATOR):
        owed = watch.owed()
        if not owed:
            break
        for run_id in owed:
            installation.kit.sagas.run(run_id).retry(reason="chaos is over")
        retried += len(owed)
        watch.until_rest()
    rest = time.monotonic() - well
    # A place of which nobody tells that it is free is looked up when its lease is over.
    wait(lambda: not any(left_behind(watch.store)), BOUND + ALLOWANCE)
    return Settled(well - healed, rest, watch.stillest, tuple(watch.stuck), retried)


def started(installation: Installation) -> list[str]:
    """The ids of all runs that clients asked for."""
    return [run_id for journal in journals(installation.folder) for run_id in journal.asked()]


class _Watch:
    """Every run, how far it had come when last seen, and since when."""

    def __init__(self, installation: Installation) -> None:
        self.stuck: list[str] = []
        self.stillest = 0.0
        self._installation = installation
        self._ids = started(installation)

    @property
    def store(self) -> Store:
        """Where the runs are."""
        return self._installation.kit.sagas.runtime.engine.store

    def until_rest(self) -> None:
        """Wait until all are at rest, but for those that are stuck."""
        begun, replaced = time.monotonic(), len(self._installation.fleet.replaced)
        seen: dict[str, tuple[int, float]] = {}
        left = [run_id for run_id in self._ids if run_id not in self.stuck]
        while left:
            left = [run_id for run_id in left if self._moves(run_id, seen, begun)]
            if len(self._installation.fleet.replaced) > replaced:  # not everybody worked after all
                begun, replaced = time.monotonic(), len(self._installation.fleet.replaced)
            time.sleep(_TICK)

    def _moves(self, run_id: str, seen: dict[str, tuple[int, float]], begun: float) -> bool:
        """True for a run that is to be looked at again."""
        run, now = self.store.read(run_id).run, time.monotonic()
        if run is None or run.status.at_rest:
            return False
        version, since = seen.get(run_id, (run.version, begun))
        since = max(since, begun) if version == run.version else now
        seen[run_id] = (run.version, since)
        self.stillest = max(self.stillest, now - since)
        if now - since > BOUND + ALLOWANCE:
            self.stuck.append(run_id)
            return False
        return True

    def owed(self) -> list[str]:
        """The runs that wait for an operator."""
        runs = [self.store.read(run_id).run for run_id in self._ids if run_id not in self.stuck]
        return [run.id for run in runs if run and run.status is RunStatus.FAILED]
