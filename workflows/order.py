"""The reference saga: reserve stock, charge the card, ship; and undo whatever of it must not stand.

Owns: the order of the steps, their policies, and what undoes what.  Refuses to know: how stock,
bank and carrier work (`workflows.services`), and who places orders.

The environment says where it runs: `CELERY_BROKER_URL` (Celery's own) names a Redis,
`SHOP_NAMESPACE` goes before every key in it, `SHOP_DATA` is the file of the services.
"""

from __future__ import annotations

import os
from typing import Literal

from celery import Celery
from pydantic import BaseModel, PositiveInt

from celeriac import Flow, Retry, Sagas, StepContext
from workflows.refusals import definite
from workflows.services import bank, carrier, stock

NAMESPACE = os.environ.get("SHOP_NAMESPACE", "shop")

app = Celery("shop", broker="redis://localhost:6379/0")
app.conf.broker_transport_options = {"global_keyprefix": f"{NAMESPACE}:"}
app.conf.update(saga_namespace=NAMESPACE, saga_lease=3, saga_sweep_interval=0.5)  # short: to watch
app.conf.imports = [
    f"workflows.{each}" for each in ("trip", "business_trip", "payment", "fulfilment", "expense")
]
sagas = Sagas(app)
SOON = Retry(max_attempts=5, initial_delay=0.2, max_delay=1)


class Order(BaseModel):
    """What a customer wants; money is in cents."""

    id: str
    customer: str
    sku: str
    quantity: PositiveInt
    unit_price: PositiveInt
    amount: PositiveInt
    card: str
    address: str
    shipping: Literal["standard", "express", "ferry"] = "standard"


class Hold(BaseModel):
    """Stock that is kept for an order."""

    hold_id: str


class Payment(BaseModel):
    """Money that was taken for an order."""

    payment_id: str


class Receipt(BaseModel):
    """What the customer gets to see in the end."""

    tracking: str


@sagas.step(timeout="5s", retry=SOON)
def reserve(ctx: StepContext, order: Order) -> Hold:
    """Take the articles off the shelf."""
    with definite():
        held = stock.hold(order.sku, order.quantity, order=order.id, key=ctx.idempotency_key)
        return Hold(hold_id=held)


@reserve.compensation
def release(ctx: StepContext) -> None:
    """Put them back."""
    stock.release(key=ctx.idempotency_key)


@sagas.step(timeout="5s", retry=SOON)
def charge(ctx: StepContext, order: Order, hold: Hold) -> Payment:
    """Take the money for what is held."""
    with definite():
        paid = bank.charge(
            order.card, order.amount, order=order.id, hold=hold.hold_id, key=ctx.idempotency_key
        )
        return Payment(payment_id=paid)


@charge.compensation(retry=Retry(max_attempts=3, initial_delay=0.2))
def refund(ctx: StepContext) -> None:
    """Give it back: by the key, so also what was taken without an answer."""
    bank.refund(key=ctx.idempotency_key)


@sagas.step(timeout="30s", retry=SOON)
def ship(ctx: StepContext, order: Order, payment: Payment) -> Receipt:
    """Hand the parcel, now that it is paid for, to the carrier."""
    with definite():
        tracking = carrier.ship(
            order.address,
            order.shipping,
            order=order.id,
            payment=payment.payment_id,
            key=ctx.idempotency_key,
        )
        return Receipt(tracking=tracking)


@ship.compensation
def cancel_shipment(ctx: StepContext) -> None:
    """Call the parcel back."""
    carrier.cancel(key=ctx.idempotency_key)


@sagas.saga(deadline="8s")
def place_order(flow: Flow, order: Order) -> Receipt:
    """Sell what is in stock, for money, to somebody it can be sent to; or nothing at all."""
    hold = flow.step(reserve, order)
    payment = flow.step(charge, order, hold)
    return flow.step(ship, order, payment)
