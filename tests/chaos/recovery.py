"""How long runs stood still after a fault: by kind of fault, from histories.

Owns: the definition, and the arithmetic of percentiles.  Refuses to know: who harmed whom.

**Recovery** of a run from a fault is the time from the *end* of the fault to the run's *next event*
in its history, for every run that had been started by then and was not at rest.  So:

- A fault touches some of these runs only, and which cannot be known: p50 says how everybody fared,
  p99 and max how those did whom it met.
- A slow body, a backoff, and a queue before a worker count too; so does a fault that strikes next.
- The end of a kill is the kill: starting another process, noticing a dead one (the lease), and
  connecting again are what recovery consists of.
- Histories are timed by the clock of the state's Redis.  Where that clock was wrong during a
  fault, or was set within five seconds after it, nothing is measured.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from celeriac.machine.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from celeriac.machine.events import Event
    from tests.chaos.nemesis import Struck

CLOCK = "set-state-clock"
_AFTER_A_JUMP = 5.0  # seconds


class Recovery(NamedTuple):
    """Seconds, over all runs that were under way at the end of a fault of one kind."""

    runs: int
    p50: float
    p99: float
    longest: float


def recoveries(
    struck: Sequence[Struck], histories: Mapping[str, Sequence[Event]]
) -> dict[str, Recovery]:
    """Measure each kind of fault that met somebody."""
    jumps = [(each.begun, each.ended) for each in struck if each.kind == CLOCK]
    found: dict[str, list[float]] = {}
    for fault in struck:
        measured = found.setdefault(fault.kind, [])
        if not fault.missed and not _jumped(fault, jumps):
            measured += after(fault.ended, histories.values())
    return {kind: _summary(sorted(times)) for kind, times in sorted(found.items()) if times}


def after(ended: float, histories: Iterable[Sequence[Event]]) -> list[float]:
    """Seconds from *ended* (epoch) to the next event of each run that was under way then."""
    found = []
    for history in histories:
        times = [event.at / 1000 for event in history]
        upto = bisect_right(times, ended)
        if 0 < upto < len(times) and history[upto - 1].kind is not EventKind.FINISHED:
            found.append(times[upto] - ended)
    return found


def _jumped(fault: Struck, jumps: Iterable[tuple[float, float]]) -> bool:
    """True if the clock of histories was not right at some time from the fault's begin on."""
    return any(
        begun < fault.ended + _AFTER_A_JUMP and fault.begun < ended for begun, ended in jumps
    )


def _summary(times: Sequence[float]) -> Recovery:
    def at(share: float) -> float:
        return times[min(len(times) - 1, int(share * len(times)))]

    return Recovery(len(times), at(0.5), at(0.99), times[-1])
