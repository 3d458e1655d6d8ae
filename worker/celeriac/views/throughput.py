"""How many runs were started in each hour, and what has become of them: from indexes alone.

Owns: these figures, and gathering them.  Refuses to know: how they are drawn.  Counted are runs
that are still here: a run whose retention is over is in no figure.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from celeriac.machine import AT_REST, Frozen, RunStatus
from celeriac.store import Query
from celeriac.views.times import moment

if TYPE_CHECKING:
    from celeriac.store import Store

_HOUR = 3_600_000  # ms
LONGEST = 168  # hours
_ACTIVE = frozenset(RunStatus) - AT_REST


class StartedRuns(Frozen):
    """The runs that were started in one hour."""

    since: datetime
    started: int
    active: int = Field(default=0, description="of these: not at rest")
    compensated: int = Field(description="of these: undone, or being undone")
    failed: int = Field(description="of these: they owe or ask something, or were terminated")


def throughput_of(store: Store, hours: int) -> tuple[StartedRuns, ...]:
    """Return the last so many whole hours and the one that has begun, the oldest first."""
    now = store.read("").now
    last = now - now % _HOUR
    return tuple(_hour(store, last - ago * _HOUR) for ago in range(hours, -1, -1))


def _hour(store: Store, since: int) -> StartedRuns:
    def count(*statuses: RunStatus) -> int:
        query = Query(statuses=frozenset(statuses), since=since, until=since + _HOUR)
        return store.count(query)

    started = count()
    if not started:
        return StartedRuns(since=moment(since), started=0, compensated=0, failed=0)
    return StartedRuns(
        since=moment(since),
        started=started,
        active=count(*_ACTIVE),
        compensated=count(RunStatus.COMPENSATED, RunStatus.COMPENSATING),
        failed=count(RunStatus.FAILED, RunStatus.TERMINATED),
    )
