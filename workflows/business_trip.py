"""A trip that somebody has to agree to: nothing is booked before the answer, and none is lost.

Owns: the question, and what follows from the answer.  Refuses to know: how hotels and cars are
booked (`workflows.trip`), and where people answer; the dashboard makes a form of `Decision`.

It belongs to the app of the reference saga (`workflows.order`), and runs on the same workers.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from celeriac import Abort, Flow, Signal
from workflows.order import sagas
from workflows.trip import Itinerary, Trip, call_off, confirm, reserve_car, reserve_hotel


class Decision(BaseModel):
    """What somebody says to a trip."""

    decision: Literal["approve", "decline"]
    by: str
    note: str | None = Field(default=None, description="For whoever wants to travel.")


decided = Signal("decided", Decision)


@sagas.step(timeout="5s")
def heed(decision: Decision) -> None:
    """Go on, or not."""
    if decision.decision == "decline":
        raise Abort(f"declined by {decision.by}", code="declined", effect=False)


@sagas.saga(deadline="3d", compensation_order="graph")
def book_business_trip(flow: Flow, trip: Trip) -> Itinerary:
    """Ask, then book hotel and car side by side, or nothing."""
    decision = flow.wait(
        decided,
        timeout="2d",
        title="May this trip be booked?",
        summary="It is longer than a week, so somebody has to agree to it.",
        about={"town": trip.town, "nights": trip.nights},
    )
    flow.step(heed, decision)
    with flow.undone_by(call_off), flow.parallel():
        hotel = flow.step(reserve_hotel, trip)
        car = flow.step(reserve_car, trip)
    return flow.step(confirm, hotel, car, None)
