"""The saga of the kit whose steps are undone as one.

Owns: it, and the task that undoes.  Refuses to know: what its steps do (`kit`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import Flow, StepContext  # noqa: TC001 -- read by planning
from tests.workers.trip_values import QUICK, Ticket, Trip

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac import Saga, Sagas


def define(
    sagas: Sagas, hop: Any, act: Callable[[StepContext, Trip, str], Any]
) -> Saga[Trip, Ticket]:
    """First, then left beside right, undone as one by call_off; last."""

    @sagas.step(name="tests.workers.kit.call_off", retry=QUICK)
    def call_off(ctx: StepContext, trip: Trip) -> None:
        for each in ctx.each():
            act(each, trip, f"{each.step}.undo")

    def bundle(flow: Flow, trip: Trip) -> Ticket:
        flow.options(name="first").step(hop, trip)
        with flow.undone_by(call_off, trip), flow.parallel():
            flow.options(name="left").step(hop, trip)
            flow.options(name="right").step(hop, trip)
        found: Ticket = flow.options(name="last").step(hop, trip)
        return found

    return sagas.saga(name="bundle")(bundle)
