"""An app for the command line to be asked of: `celery -A tests.terminal.shop saga …`.

Owns: sagas of each shape that matters there: one input, several, none, and one with a pivot.
Refuses to know: who runs the steps; no worker is started for these tests.
"""

from __future__ import annotations

import os

from celery import Celery
from celery.schedules import crontab
from pydantic import BaseModel, PositiveInt

from celeriac import Flow, Sagas, Signal

URL = "CLI_SHOP_URL"  # environment: the Redis of the app
REDIS = os.environ.get(URL, "redis://127.0.0.1:1/0")

app = Celery("shop", broker=REDIS)
app.conf.update(saga_redis_url=REDIS, saga_lease=3, saga_grace=0.001)
sagas = Sagas(app)


class Order(BaseModel):
    """What is ordered."""

    sku: str
    quantity: PositiveInt = 1


@sagas.step
def reserve(order: Order) -> str:
    """Keep it for the customer."""
    return order.sku


@reserve.compensation
def release(order: Order) -> None:
    """Put it back."""


@sagas.step
def charge(order: Order, hold: str) -> int:
    """Take the money."""
    return len(hold) * order.quantity


@charge.compensation
def refund(order: Order) -> None:
    """Give it back."""


@sagas.saga(deadline="1h")
def place_order(flow: Flow, order: Order) -> int:
    """One input."""
    return flow.step(charge, order, flow.step(reserve, order))


@sagas.step
def move(source: str, target: str, amount: int, note: str) -> str:
    """Move an amount."""
    return f"{source} {target} {amount} {note}"


@sagas.saga
def transfer(flow: Flow, source: str, target: str, amount: int, note: str = "none") -> str:
    """Several inputs, one of them with a default."""
    return flow.step(move, source, target, amount, note)


approved = Signal("approved", Order)


@sagas.saga
def patient(flow: Flow) -> int:
    """Begins with a wait."""
    order = flow.wait(approved, timeout="1d")
    return flow.step(charge, order, "hold")


@sagas.step
def tick() -> None:
    """Nothing."""


@sagas.saga
def ping(flow: Flow) -> None:
    """No input."""
    flow.step(tick)


@sagas.step(effect="none")
def mail(to: str) -> int | None:
    """Nobody knows, afterwards, whether it arrived."""
    return len(to)


@sagas.saga
def mailing(flow: Flow, to: str = "ada") -> int | None:
    """A step that honours no key."""
    return flow.step(mail, to)


@sagas.step
def send(parcel: int) -> str | None:
    """One of several."""
    return f"parcel {parcel}"


@send.compensation
def call_back(parcel: int) -> None:
    """Undo one of several."""


@sagas.saga
def deliver(flow: Flow, parcels: list[int]) -> list[str | None]:
    """A step for each element of a list."""
    return flow.map(send, parcels, concurrency=3)


@sagas.step(pivot=True)
def commit() -> None:
    """After this, the run only goes forward."""


@sagas.step
def notify() -> None:
    """What is left to do then."""


@sagas.saga
def announce(flow: Flow, parcels: list[int]) -> None:
    """Past its pivot, two branches and a step for each element of a list."""
    flow.step(commit)
    with flow.parallel():
        flow.options(name="left").step(notify)
        flow.options(name="right").step(notify)
        flow.map(send, parcels, concurrency=3)


@sagas.saga
def publish(flow: Flow) -> None:
    """Past its pivot after the first step."""
    flow.step(commit)
    flow.step(notify)


nightly = sagas.schedule(
    "nightly",
    place_order,
    Order(sku="a-1"),
    every=crontab(minute=0, hour=3),
    timezone="Europe/Berlin",
)
