"""How long the runs of a saga and its steps take, and how they end: seen in the newest of them.

Owns: which figures these are, and gathering them from so many of the newest runs.  Refuses to know:
how they are drawn, and metrics, which count all runs.

The work is bounded, whatever there is: so many heads of each saga are read, and for its steps so
many histories.
"""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import TYPE_CHECKING

from pydantic import Field

from celeriac.machine import EventKind, Frozen, RunStatus, instance_of
from celeriac.store import Query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from celeriac.machine import Event, Run
    from celeriac.store import Store

#: The newest runs of a saga that are looked at.
SAMPLE = 200
_HISTORIES = 50  # … and of these, those whose steps are


class StepDurations(Frozen):
    """How long attempts of one step take that succeed, in seconds."""

    step: str = Field(description="elements of a map are told together")
    attempts: int = Field(description="that succeeded, in the runs that were looked at")
    p50: float
    p95: float


class Durations(Frozen):
    """How long the newest runs of one saga took from start to end, in seconds, and how they end."""

    saga: str
    runs: int = Field(description=f"that were looked at: the newest, {SAMPLE} at most")
    ended: dict[RunStatus, int] = Field(description="of these: those at rest, by how they ended")
    plans: dict[str, int] = Field(description="of these: how many follow which plan (fingerprint)")
    p50: float | None = Field(description="of those that completed; null: none did")
    p95: float | None
    steps: tuple[StepDurations, ...] = Field(
        default=(), description="slowest first, if they were asked for"
    )

    @property
    def failure_rate(self) -> float | None:
        """The share of those at rest that did not complete; None: none is at rest."""
        total = sum(self.ended.values())
        return 1 - self.ended.get(RunStatus.COMPLETED, 0) / total if total else None


def durations_of(store: Store, saga: str, *, steps: bool) -> Durations:
    """Look at the newest runs of *saga*; with *steps*, into the histories of some of them too."""
    runs = store.find(Query(saga=saga, limit=SAMPLE)).runs
    completed = [run for run in runs if run.status is RunStatus.COMPLETED]
    took = sorted(run.ended_at - run.started_at for run in completed)
    told = store.histories([run.id for run in completed[:_HISTORIES]]) if steps else {}
    return Durations(
        saga=saga,
        runs=len(runs),
        ended=dict(Counter(run.status for run in runs if run.status.at_rest)),
        plans=dict(Counter(run.plan for run in runs).most_common()),
        p50=_share(took, 0.5),
        p95=_share(took, 0.95),
        steps=_steps(completed, told),
    )


def _steps(runs: Iterable[Run], told: Mapping[str, Sequence[Event]]) -> tuple[StepDurations, ...]:
    took: dict[str, list[int]] = {}
    for run in runs:
        begun: dict[tuple[str, int], int] = {}
        for event in told.get(run.id, ()):
            if event.phase != "do":
                continue
            attempt = (event.step, event.attempt)
            if event.kind is EventKind.CLAIMED:
                begun[attempt] = event.at
            elif event.kind is EventKind.COMPLETED and attempt in begun:
                took.setdefault(_name(event.step), []).append(event.at - begun[attempt])
    found = [
        StepDurations(step=name, attempts=len(each), p50=_among(each, 0.5), p95=_among(each, 0.95))
        for name, each in ((name, sorted(each)) for name, each in took.items())
    ]
    return tuple(sorted(found, key=lambda each: -each.p95))


def _name(step: str) -> str:
    instance = instance_of(step)
    return instance.map if instance else step


def _share(took: Sequence[int], share: float) -> float | None:
    return _among(took, share) if took else None


def _among(took: Sequence[int], share: float) -> float:
    """The value, in seconds, that *share* of them do not exceed; *took* is sorted (ms)."""
    return took[max(0, ceil(share * len(took)) - 1)] / 1000
