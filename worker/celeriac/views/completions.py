"""Results from outside that are waited for, as people and programs are shown them.

Owns: which steps wait so, and what is told of each.  Refuses to know: which runs are read for it,
and tokens: none is kept or shown.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from celeriac.machine import Frozen, RunStatus
from celeriac.views.state import RESULT

if TYPE_CHECKING:
    from celeriac.views.state import RunState


class Completion(Frozen):
    """A step that has asked somebody outside, and waits for its result."""

    run_id: str
    saga: str
    status: RunStatus
    run_version: int = Field(description="of the run: a skip's `if_version`")
    step: str
    attempt: int = Field(description="the attempt that asked")
    until: datetime | None = Field(description="when its wait is over")


def completions_of(state: RunState) -> tuple[Completion, ...]:
    """Return what a run waits for from outside, in the order of its steps."""
    return tuple(
        Completion(
            run_id=state.id,
            saga=state.saga,
            status=state.status,
            run_version=state.run_version,
            step=step.name,
            attempt=step.attempts,
            until=step.waits_until,
        )
        for step in state.steps
        if step.waits_for == RESULT
    )
