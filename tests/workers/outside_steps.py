"""The saga of the kit that asks somebody outside.

Owns: the step that does, and where its tokens are left for a test.  Refuses to know: what the other
steps do (`kit`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac import Flow, StepContext  # noqa: TC001 -- read by planning
from tests.workers.trip_values import QUICK, Ticket, Trip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from celeriac import Saga, Sagas


def define(
    sagas: Sagas, of: dict[str, Any], act: Callable[[StepContext, Trip, str], Any], folder: Path
) -> Saga[Trip, Ticket]:
    """Book; ask somebody outside, who has as many seconds as the script says; send."""

    @sagas.step(name="tests.workers.kit.ask", retry=QUICK)
    def ask(ctx: StepContext, trip: Trip) -> Ticket:
        leave = folder / f"{ctx.run_id}.new"
        leave.write_text(ctx.token)
        leave.rename(folder / f"{ctx.run_id}.token.{ctx.attempt}")
        act(ctx, trip, "ask")
        (seconds,) = trip.script.get("later", ["60"])
        return ctx.later(float(seconds))

    @ask.compensation(name="tests.workers.kit.unask", retry=QUICK)
    def unask(ctx: StepContext, trip: Trip) -> None:
        act(ctx, trip, "ask.undo")

    def outside(flow: Flow, trip: Trip) -> Ticket:
        flow.step(of["book"], trip)
        answer = flow.step(ask, trip)
        flow.step(of["send"], trip, answer)
        return answer

    return sagas.saga(name="outside")(outside)
