"""Fulfilment: a basket of many lines, each taken off the shelf by itself, and one parcel of all.

Owns: what is done for each line, how many at a time, and what undoes it.  Refuses to know: how
stock and carrier work (`workflows.services`), and who has ordered.

It belongs to the app of the reference saga (`workflows.order`), and runs on the same workers.
"""

from __future__ import annotations

from pydantic import BaseModel, PositiveInt

from celeriac import Flow, Skip, StepContext
from workflows.order import SOON, Hold, Receipt, sagas
from workflows.refusals import definite
from workflows.services import carrier, stock

AT_A_TIME = 5  # lines of one basket


class Line(BaseModel):
    """One article of a basket."""

    sku: str
    quantity: PositiveInt
    download: bool = False  # nothing that lies on a shelf


class Basket(BaseModel):
    """What a customer wants sent in one parcel."""

    id: str
    lines: list[Line]
    address: str


@sagas.step(timeout="5s", retry=SOON)
def pick(ctx: StepContext, line: Line, basket: str) -> Hold | None:
    """Take one line off the shelf; a download lies on none."""
    if line.download:
        raise Skip("nothing to pick")
    with definite():
        held = stock.hold(line.sku, line.quantity, order=basket, key=ctx.idempotency_key)
        return Hold(hold_id=held)


@pick.compensation
def put_back(ctx: StepContext) -> None:
    """Put that line back."""
    stock.release(key=ctx.idempotency_key)


@sagas.step(timeout="30s", retry=SOON)
def send(ctx: StepContext, basket: Basket, holds: list[Hold | None]) -> Receipt:
    """Hand one parcel with all that was picked to the carrier."""
    picked = [hold.hold_id for hold in holds if hold]
    with definite():
        tracking = carrier.ship(
            basket.address,
            "standard",
            order=basket.id,
            payment=f"{len(picked)} lines",
            key=ctx.idempotency_key,
        )
        return Receipt(tracking=tracking)


@send.compensation
def call_back(ctx: StepContext) -> None:
    """Call the parcel back."""
    carrier.cancel(key=ctx.idempotency_key)


@sagas.saga(deadline="10m")
def fulfil(flow: Flow, basket: Basket) -> Receipt:
    """All lines of the basket, or none of them."""
    holds = flow.map(pick, basket.lines, basket.id, concurrency=AT_A_TIME)
    return flow.step(send, basket, holds)
