"""A shop that gets it right, and four that each make one mistake that everybody makes once.

Owns: a bank and a stock in memory, the saga over them, and what a check says of the world after it.
Refuses to know: how mistakes are found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery
from pydantic import BaseModel

from celeriac import Abort, Flow, Sagas, StepContext

if TYPE_CHECKING:
    from celeriac import Saga
    from celeriac.testing import LabRun

app = Celery("teaching", set_as_current=False)
sagas = Sagas(app)

OPENING = 100


class Order(BaseModel):
    """What somebody buys."""

    id: str
    amount: int


# --- the participants --------------------------------------------------------------------------


class Bank:
    """An account, and what it knows of the requests it has seen."""

    def __init__(self) -> None:
        self.balance = OPENING
        self.charged: dict[str, int] = {}  # by key: what was taken
        self.closed: set[str] = set()  # keys that were refunded: tombstones

    def charge(self, key: str, amount: int) -> None:
        """Take *amount*, once for each key; never for one that was refunded."""
        if key in self.closed:
            raise Abort("this was refunded already", effect=False)
        if key not in self.charged:
            self.charged[key] = amount
            self.balance -= amount

    def refund(self, key: str) -> None:
        """Give back what was taken under a key, if anything was, and take nothing any more."""
        self.closed.add(key)
        self.balance += self.charged.pop(key, 0)


class Stock:
    """A shelf; it knows its requests in the same way."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.closed: set[str] = set()

    def hold(self, key: str) -> None:
        """Hold something, once for each key; never for one that was released."""
        if key not in self.closed:
            self.held.add(key)

    def release(self, key: str) -> None:
        """Hold it no more, nor ever again."""
        self.closed.add(key)
        self.held.discard(key)


bank, stock = Bank(), Stock()


def fresh() -> None:
    """Make the world new."""
    bank.__init__()  # type: ignore[misc]  # the steps know this one
    stock.__init__()  # type: ignore[misc]


def check(run: LabRun[Any]) -> None:
    """The books are right: paid once if the run completed, and nothing at all if it was undone."""
    paid = OPENING - bank.balance
    assert len(stock.held) <= 1, "held more than once"
    if run.status == "completed":
        assert paid == 30, f"paid {paid} for an order of 30"
    else:
        assert paid == 0, f"paid {paid} for an order that was undone"
        assert not stock.held, "held, for an order that was undone"


def balance() -> int:
    """What `check_compensation` looks at."""
    return bank.balance


# --- the shop that gets it right ---------------------------------------------------------------


@sagas.step(name="teaching.reserve")
def reserve(ctx: StepContext, order: Order) -> str:
    """Hold what was ordered."""
    stock.hold(ctx.idempotency_key)
    return order.id


@reserve.compensation(name="teaching.release")
def release(ctx: StepContext) -> None:
    """Hold it no more."""
    stock.release(ctx.idempotency_key)


@sagas.step(name="teaching.charge")
def charge(ctx: StepContext, order: Order, held: str) -> int:
    """Take the money."""
    bank.charge(ctx.idempotency_key, order.amount)
    return len(held)


@charge.compensation(name="teaching.refund")
def refund(ctx: StepContext) -> None:
    """Give it back."""
    bank.refund(ctx.idempotency_key)


@sagas.saga(name="buy")
def buy(flow: Flow, order: Order) -> int:
    """Hold it and pay for it."""
    return flow.step(charge, order, flow.step(reserve, order))


# --- four that make one mistake each -----------------------------------------------------------


@sagas.step(name="teaching.pay_each_time")
def pay_each_time(ctx: StepContext, order: Order) -> int:
    """A step without idempotency: asked twice, it takes the money twice."""
    if ctx.idempotency_key not in bank.closed:
        bank.charged[ctx.idempotency_key] = order.amount
        bank.balance -= order.amount
    return order.amount


@pay_each_time.compensation(name="teaching.refund_the_payment")
def refund_the_payment(ctx: StepContext) -> None:
    """An undo as it should be."""
    bank.refund(ctx.idempotency_key)


@sagas.saga(name="pays_twice")
def pays_twice(flow: Flow, order: Order) -> int:
    """A step without idempotency."""
    return flow.step(pay_each_time, order)


@sagas.step(name="teaching.pay_then_refund_twice")
def pay_then_refund_twice(ctx: StepContext, order: Order) -> int:
    """A step as it should be."""
    bank.charge(ctx.idempotency_key, order.amount)
    return order.amount


@pay_then_refund_twice.compensation(name="teaching.give_back_each_time")
def give_back_each_time(ctx: StepContext, order: Order) -> None:
    """An undo that is not idempotent: asked twice, it gives the money back twice."""
    if ctx.idempotency_key in bank.charged:
        bank.balance += order.amount
    bank.closed.add(ctx.idempotency_key)


@sagas.saga(name="refunds_twice")
def refunds_twice(flow: Flow, order: Order) -> int:
    """An undo that is not idempotent."""
    return flow.step(pay_then_refund_twice, order)


@sagas.step(name="teaching.pay_or_not")
def pay_or_not(ctx: StepContext, order: Order) -> int:
    """A step as it should be."""
    bank.charge(ctx.idempotency_key, order.amount)
    return order.amount


@pay_or_not.compensation(name="teaching.give_back_what_was_taken")
def give_back_what_was_taken(ctx: StepContext) -> None:
    """An undo that fails when nothing was done: there is no such payment."""
    if ctx.idempotency_key not in bank.closed:
        assert bank.charged[ctx.idempotency_key] > 0
        bank.refund(ctx.idempotency_key)


@sagas.saga(name="expects_a_payment")
def expects_a_payment(flow: Flow, order: Order) -> int:
    """An undo that fails when nothing was done."""
    return flow.step(pay_or_not, order)


@sagas.step(name="teaching.pay_by_post")
def pay_by_post(ctx: StepContext, order: Order) -> int:
    """Honours its key, as long as the bank has it on record."""
    if ctx.idempotency_key not in bank.charged:
        bank.charged[ctx.idempotency_key] = order.amount
        bank.balance -= order.amount
    return order.amount


@pay_by_post.compensation(name="teaching.forget_the_payment")
def forget_the_payment(ctx: StepContext) -> None:
    """An undo that leaves no tombstone: a request that comes after it takes effect."""
    bank.balance += bank.charged.pop(ctx.idempotency_key, 0)


@sagas.saga(name="refunds_too_early")
def refunds_too_early(flow: Flow, order: Order) -> int:
    """An undo that runs before a late effect."""
    return flow.step(pay_by_post, order)


MISTAKES: dict[str, Saga[Order, int]] = {
    "a step without idempotency": pays_twice,
    "an undo that is not idempotent": refunds_twice,
    "an undo that fails when nothing was done": expects_a_payment,
    "an undo that runs before a late effect": refunds_too_early,
}
