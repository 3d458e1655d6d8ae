"""One command for many runs, as people are shown it.

Owns: which parts of what is kept are shown.  Refuses to know: how it is worded, and who gives the
command.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from celeriac.machine import Frozen
from celeriac.views.times import moment

if TYPE_CHECKING:
    from celeriac.store import BulkRecord


class BulkKind(Frozen):
    """How many of the runs are of one saga and status."""

    saga: str
    status: str
    runs: int


class BulkState(Frozen):
    """Where a command for many runs stands."""

    id: str
    verb: str
    state: Literal["looked", "going", "stopped", "done"] = Field(
        description="`looked`: a dry run, which nobody has confirmed"
    )
    about: str = Field(description="which runs were looked for, in words")
    reason: str
    rps: float = Field(description="runs that get the command in a second, at most")
    matched: int = Field(description="runs that it is for: `expected`, to start it")
    left_alone: int = Field(description="runs that match, but ask what became of a step")
    kinds: tuple[BulkKind, ...]
    looked_at: datetime
    looked_by: str
    begun_at: datetime | None
    begun_by: str
    turned_at: datetime | None = Field(description="when runs last had their turn")
    ended_at: datetime | None
    stopped_by: str
    changed: int = Field(description="runs in which the command changed something")
    unchanged: int = Field(description="runs in which there was nothing to change")
    refused: int = Field(description="runs that have changed since the look, or refused it")
    gone: int = Field(description="runs that were removed meanwhile")
    left: int = Field(description="runs that had no turn")


class BulkTurn(Frozen):
    """What a command for many did to one run; `outcome` is None before its turn."""

    run_id: str
    outcome: Literal["changed", "unchanged", "refused", "gone"] | None
    why: str = ""


def bulk_state(record: BulkRecord) -> BulkState:
    """Return what is shown of a record."""
    kept = record.model_dump(include=set(BulkState.model_fields) - {"kinds"})
    for name in ("looked_at", "begun_at", "turned_at", "ended_at"):
        kept[name] = None if kept[name] is None else moment(kept[name])
    kinds = tuple(BulkKind(saga=s, status=status, runs=n) for s, status, n in record.kinds)
    return BulkState(**kept, kinds=kinds, left=record.matched - record.turns)
