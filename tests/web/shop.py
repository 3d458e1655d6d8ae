"""An app to be asked over HTTP: sagas of each shape that matters there, runs kept in memory.

Owns: the sagas, and runs brought to where a test wants them.  Refuses to know: HTTP.
"""

from __future__ import annotations

import json
from typing import Literal

from celery import Celery
from celery.schedules import crontab
from pydantic import BaseModel, Field, PositiveInt

from celeriac import Failure, Flow, Sagas, Signal
from celeriac.machine.commands import Expire, Fail, Wake
from tests.in_memory import claim, do, fail

app = Celery("shop", broker="memory://", set_as_current=False)
sagas = Sagas(app)

SECRET = "4711-0815"  # a card  # noqa: S105


class Order(BaseModel):
    """What is ordered."""

    sku: str
    quantity: PositiveInt = 1
    card: str = SECRET


@sagas.step
def reserve(order: Order) -> str:
    """Keep it for the customer."""
    return order.sku


@reserve.compensation
def release(order: Order) -> None:
    """Put it back."""


@sagas.step
def charge(order: Order, hold: str) -> str:
    """Take the money."""
    return f"{hold} {order.quantity}"


@charge.compensation
def refund(order: Order) -> None:
    """Give it back."""


@sagas.saga(deadline="1h")
def place_order(flow: Flow, order: Order) -> str:
    """Reserve, then charge."""
    return flow.step(charge, order, flow.step(reserve, order))


@sagas.saga(deadline="1h", on_deadline="alert")
def deliver(flow: Flow, order: Order) -> str:
    """It goes on, however late it is."""
    return flow.step(reserve, order)


@sagas.step
def move(source: str, amount: int) -> str:
    """Move an amount."""
    return f"{source} {amount}"


@sagas.saga
def transfer(flow: Flow, source: str, amount: int = 1) -> str:
    """Several inputs, one of them with a default."""
    return flow.step(move, source, amount)


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


class Verdict(BaseModel):
    """What somebody says to an expense."""

    approve: bool = Field(description="It is paid at once.")
    by: str
    limit: int | None = Field(default=None, description="In euros.")
    urgency: Literal["low", "high"] = "low"


verdict = Signal("verdict", Verdict)


@sagas.saga
def expense(flow: Flow, who: str, amount: int, card: str = SECRET) -> str:
    """Somebody has to say yes."""
    said = flow.wait(
        verdict,
        timeout="1d",
        title="pay this expense",
        summary="It is over what may be paid without asking.",
        about={"who": who, "amount": amount, "Card": card},
    )
    return flow.step(move, said.by, amount)


@sagas.step
def pay(number: str) -> str:
    """Take money from a card, which is called otherwise here."""
    return f"paid with {number}"


@pay.compensation
def pay_back(number: str) -> None:
    """Give it back."""


allowed = Signal("allowed", bool)


@sagas.saga
def purchase(flow: Flow, card: str = SECRET) -> str:
    """Pay, then ask somebody, who sees the card under another name."""
    paid = flow.step(pay, card)
    flow.wait(allowed, timeout="1d", about={"paid with": card, "told": paid})
    return paid


def asking(run_id: str) -> str:
    """A run that waits for a verdict."""
    expense.start("ada", 700, id=run_id)
    return run_id


def running(run_id: str) -> str:
    """A run that has begun to reserve."""
    place_order.start(Order(sku="pen"), id=run_id, tags={"shop": "7"})
    claim(sagas, run_id, "reserve")
    return run_id


def completed(run_id: str) -> str:
    """A run that completed."""
    place_order.start(Order(sku="pen"), id=run_id)
    do(sagas, run_id, "reserve", output='"pen"')
    do(sagas, run_id, "charge", output='"pen 1"')
    return run_id


def failed(run_id: str) -> str:
    """A run that owes the compensation of `charge`, while `reserve` was undone."""
    place_order.start(Order(sku="pen"), id=run_id)
    do(sagas, run_id, "reserve")
    fail(sagas, run_id, "charge", text=f"card {SECRET} was declined")
    fail(sagas, run_id, "charge", "undo", text=f"card {SECRET} is unknown")
    do(sagas, run_id, "reserve", "undo")
    return run_id


def declined(run_id: str) -> str:
    """A run that was undone, and whose step had an answer for the caller."""
    purchase.start(id=run_id)
    attempt = claim(sagas, run_id, "pay")
    name = attempt.delivery
    token = (name.step, name.phase, name.attempt, "worker", name.epoch)
    command = Fail(*token, "abort", "Abort", "declined", effect=False)
    answer = json.dumps({"card": SECRET, "told": f"ask the bank about {SECRET}", "tries": 0})
    told = Failure(type="Abort", message="declined", code="declined", effect=False)
    sagas.runtime.engine.fail(attempt, command, told, answer=answer)
    return run_id


def paid(run_id: str) -> str:
    """A run that has paid, and asks somebody."""
    purchase.start(id=run_id)
    do(sagas, run_id, "pay", output=json.dumps(f"paid with {SECRET}"))
    return run_id


def retrying(run_id: str) -> str:
    """A run whose first step failed, and waits for its second attempt."""
    place_order.start(Order(sku="pen"), id=run_id)
    attempt = claim(sagas, run_id, "reserve")
    name = attempt.delivery
    token = (name.step, name.phase, name.attempt, "worker", name.epoch)
    command = Fail(*token, "error", "BankDown", "away", delay=100_000)
    sagas.runtime.engine.fail(attempt, command, Failure(type="BankDown", message="no answer"))
    return run_id


def late(run_id: str) -> str:
    """A run that goes on though its deadline has passed."""
    deliver.start(Order(sku="pen"), id=run_id)
    engine = sagas.runtime.engine
    clock = engine.store._clock  # type: ignore[attr-defined]
    engine.store._clock = lambda: clock() + 2 * 3_600_000  # type: ignore[attr-defined]
    try:
        engine.command(run_id, Wake(credit=0))
    finally:
        engine.store._clock = clock  # type: ignore[attr-defined]
    return run_id


def unsure(run_id: str) -> str:
    """A run that asks whether the mail of a dead worker was sent."""
    mailing.start(id=run_id)
    attempt = claim(sagas, run_id, "mail")
    sagas.runtime.engine.command(run_id, Expire("mail", "do", attempt.delivery.attempt))
    return run_id


def paused(run_id: str) -> str:
    """A run that an operator has paused."""
    ping.start(id=run_id).pause("the bank is down", by="ada")
    return run_id


nightly = sagas.schedule("nightly", transfer, "here", every=crontab(minute=0, hour=3))
