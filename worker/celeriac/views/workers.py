"""The workers there are, as people are shown them: by the signs of life that they give.

Owns: which parts of what is known of a worker are shown.  Refuses to know: how a death is told from
a silence (`engine.deaths`), and what a worker takes and knows, which only it can say (`doctor`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from celeriac.machine import Frozen
from celeriac.views.times import moment

if TYPE_CHECKING:
    from celeriac.store import Presence, Store

_QUIET = 5_000  # ms without a sign of life, of which there is one a second


class WorkerState(Frozen):
    """A worker, as its signs of life tell."""

    id: str = Field(description="the holder of each attempt of this worker begins with it")
    pid: int = Field(description="of its main process, on its machine")
    state: Literal["alive", "silent", "dead"] = Field(
        description="`silent`: it stands still, is cut off, or was killed with its machine"
    )
    seen: datetime = Field(description="its newest sign of life, by the store's clock")
    since: datetime = Field(description="it is connected to the store since then")
    lease: float = Field(description="seconds that its attempts have between two signs of life")


def workers_of(store: Store) -> tuple[WorkerState, ...]:
    """Return the workers of this store that live, or were there until a moment ago."""
    now, known = store.presences.known()
    return tuple(sorted((_state(each, now) for each in known), key=lambda each: each.since))


def _state(found: Presence, now: int) -> WorkerState:
    quiet = now - found.seen > _QUIET
    return WorkerState(
        id=found.worker.id,
        pid=found.worker.pid,
        state="dead" if found.died else "silent" if quiet else "alive",
        seen=moment(found.seen),
        since=moment(found.since),
        lease=found.worker.lease / 1000,
    )
