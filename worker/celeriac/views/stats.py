"""How the runs stand as a whole: what an operator looks at first.

Owns: which figures these are, and gathering them.  Refuses to know: how they are printed, and
metrics, which count what happens in a process; these figures are the store's, whoever made them.

All come from indexes and marks: a million runs at rest make none of them slower.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from celeriac.machine import Frozen, RunStatus
from celeriac.views.times import moment

if TYPE_CHECKING:
    from celeriac.store import Store, StoreStats, SweepMark

RECENT = 3_600_000  # ms


class SagaStats(Frozen):
    """The runs of one saga."""

    saga: str
    counts: dict[RunStatus, int] = Field(
        description="runs by status; statuses without are left out"
    )
    started_last_hour: int = Field(description="of those that are still here")
    oldest_active: str | None = Field(description="id of the run that is longest not at rest")
    oldest_since: datetime | None = Field(description="when that one was started")

    @property
    def total(self) -> int:
        """How many runs there are."""
        return sum(self.counts.values())


class SweepStats(Frozen):
    """The newest sweep that got through everything."""

    at: datetime
    lag: float = Field(description="seconds that the entry longest due had waited for it")
    took: float = Field(description="seconds")


class QueueStats(Frozen):
    """A queue that messages of sagas are sent to."""

    queue: str
    messages: int | None = Field(description="that wait in it; None: the broker cannot say")
    wait: float | None = Field(
        description="seconds that the oldest of them waits; None: only Redis lets one look, and "
        "only a saga's message tells"
    )


class Stats(Frozen):
    """How the runs stand as a whole: what `sagas.stats()` returns."""

    at: datetime = Field(description="by the store's clock")
    sagas: tuple[SagaStats, ...] = Field(description="by name")
    active: int = Field(description="runs not at rest")
    owed: int = Field(description="runs in `failed`: an operator has to see to them")
    awaiting: int = Field(description="runs that wait for a signal, such as an approval")
    past_deadline: int = Field(description="runs that go on though their deadline has passed")
    overdue: int = Field(description="entries of the wake index whose time has come")
    lag: float = Field(description="seconds since the oldest of them was due: what sweeps are late")
    last_sweep: SweepStats | None = Field(description="None: there was none yet")
    expired: int = Field(description="runs whose retention is over, and that are still here")
    retention_lag: float = Field(description="seconds since the first of them should have gone")
    queues: tuple[QueueStats, ...] = Field(
        default=(), description="by name; none if the broker was not there"
    )


def stats_of(store: Store) -> Stats:
    """Gather the figures; takes a few round trips, however many runs there are."""
    figures, sweep = _read(store)
    counts = figures.counts
    return Stats(
        at=moment(figures.now),
        sagas=tuple(_saga(figures, name) for name in sorted({saga for saga, _ in counts})),
        active=sum(count for (_, status), count in counts.items() if not status.at_rest),
        owed=sum(count for (_, status), count in counts.items() if status is RunStatus.FAILED),
        awaiting=figures.awaiting,
        past_deadline=figures.past_deadline,
        overdue=figures.due,
        lag=_seconds(figures.due_since, figures.now),
        last_sweep=_sweep(sweep),
        expired=figures.expired,
        retention_lag=_seconds(figures.expired_since, figures.now),
    )


def _read(store: Store) -> tuple[StoreStats, SweepMark | None]:
    now = store.read("").now
    return store.figures(now - RECENT), store.last_sweep()


def _saga(figures: StoreStats, name: str) -> SagaStats:
    since, run_id = figures.oldest.get(name, (None, None))
    return SagaStats(
        saga=name,
        counts={status: n for (saga, status), n in figures.counts.items() if saga == name},
        started_last_hour=figures.recent.get(name, 0),
        oldest_active=run_id,
        oldest_since=moment(since) if since is not None else None,
    )


def _sweep(mark: SweepMark | None) -> SweepStats | None:
    if mark is None:
        return None
    return SweepStats(at=moment(mark.at), lag=mark.lag / 1000, took=mark.took / 1000)


def _seconds(since: int | None, now: int) -> float:
    return (now - since) / 1000 if since is not None else 0.0
