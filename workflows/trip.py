"""A trip: hotel and car side by side, an insurance only where it is needed, and a way to get there.

Owns: what is booked beside what, under which conditions, and what undoes it.  Refuses to know: how
hotels, cars and insurers work (`workflows.services`), and who travels.

It belongs to the app of the reference saga (`workflows.order`), and runs on the same workers.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from celeriac import Flow, Skip, StepContext
from workflows.order import SOON, sagas
from workflows.refusals import definite
from workflows.services import travel

SHORT = 3  # nights that nobody insures


class Trip(BaseModel):
    """What somebody wants to do."""

    id: str
    town: str
    nights: int = 1
    insured: bool = False  # already, by a credit card


class Booked(BaseModel):
    """The number of a booking."""

    number: str


class Itinerary(BaseModel):
    """The end of it."""

    hotel: str
    car: str | None  # None: it is reached without one
    insurance: str | None


@sagas.step(timeout="5s", retry=SOON)
def reserve_hotel(ctx: StepContext, trip: Trip) -> Booked:
    """A room for the nights."""
    with definite():
        number = travel.book("hotel", trip.town, trip=trip.id, key=ctx.idempotency_key)
        return Booked(number=number)


@sagas.step(timeout="5s", retry=SOON)
def reserve_car(ctx: StepContext, trip: Trip) -> Booked:
    """A car to get there."""
    with definite():
        number = travel.book("car", trip.town, trip=trip.id, key=ctx.idempotency_key)
        return Booked(number=number)


@sagas.step(timeout="5s", retry=SOON)
def insure(ctx: StepContext, trip: Trip) -> Booked | None:
    """An insurance, unless the traveller has one."""
    if trip.insured:
        raise Skip("insured already")
    with definite():
        number = travel.book("insurance", trip.town, trip=trip.id, key=ctx.idempotency_key)
        return Booked(number=number)


@sagas.step(timeout="5s", retry=SOON)
def call_off(ctx: StepContext) -> None:
    """Give back whatever may have been reserved for the trip: one undo for several steps."""
    for each in ctx.each():
        travel.cancel(key=each.idempotency_key)


@insure.compensation
def cancel_insurance(ctx: StepContext) -> None:
    """End the insurance."""
    travel.cancel(key=ctx.idempotency_key)


def way_to(trip: Trip) -> Literal["road", "water"]:
    """How a town is reached."""
    return "water" if trip.town in ("Venice", "Helgoland") else "road"


def is_long(trip: Trip) -> bool:
    """Whether a trip is long enough to be insured."""
    return trip.nights > SHORT


@sagas.step(timeout="5s", retry=SOON)
def confirm(hotel: Booked, car: Booked | None, insurance: Booked | None) -> Itinerary:
    """Put it together."""
    numbers = [each.number if each else None for each in (car, insurance)]
    return Itinerary(hotel=hotel.number, car=numbers[0], insurance=numbers[1])


@sagas.saga(deadline="1m", compensation_order="graph")
def book_trip(flow: Flow, trip: Trip) -> Itinerary:
    """All that a trip needs, or nothing at all."""
    with flow.undone_by(call_off), flow.parallel():
        hotel = flow.step(reserve_hotel, trip)
        with flow.sequence():
            way = flow.choose(way_to, trip)
            with way.case("road"):
                car = flow.step(reserve_car, trip)
            with way.case("water"):
                pass
    with flow.when(is_long, trip):
        insurance = flow.step(insure, trip)
    return flow.step(confirm, hotel, flow.either(car, None), flow.either(insurance, None))
