"""What type checkers must find: every line marked `expect-error`, and no other.

Owns: the mistakes.  Refuses to know: their wording, which is the checkers'.  The two lines below
keep the gate green; `test_typing` takes them away.
"""

# mypy: ignore-errors
# pyright: basic, reportCallIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

from celeriac import Abort, Done, Flow, NotYet, Retry, Route, Sagas, Signal, StepContext

app: Any = None  # Celery has no types: an app is anything
sagas = Sagas(app)


class Order(BaseModel):
    """What a customer wants."""

    id: str
    amount: int


class Hold(BaseModel):
    """Stock that is held."""

    hold_id: str


held = Signal("held", Hold)
called = Signal("called", int)


@sagas.step(timeout=None)
def reserve(ctx: StepContext, order: Order, quantity: int = 1) -> Hold:
    """Take the context."""
    return Hold(hold_id=f"{ctx.step} {order.id} {quantity}")


@sagas.step
def ship(order: Order, hold: Hold) -> str:
    """Take no context."""
    return f"{order.id} {hold.hold_id}"


@ship.compensation
def call_back(order: Order, result: str | None) -> None:
    """Undo it."""


@sagas.step(timeout=[30])  # expect-error
def patient(order: Order) -> None:
    """Have a timeout that is none."""


@sagas.saga(retries="2")  # expect-error
def stubborn(_flow: Flow) -> None:
    """Have a number that is none."""
    raise Abort("no", final="yes")  # expect-error


@sagas.step(effect="magic")  # expect-error
def magic(order: Order) -> None:
    """Have an effect that is none."""


@ship.compensation(retry=3)  # expect-error
def again(order: Order) -> None:
    """Have a policy that is none."""


def is_large(order: Order) -> bool:
    """Decide."""
    return order.amount > 100


def size_of(order: Order) -> Literal["small", "large"]:
    """Choose."""
    return "large" if is_large(order) else "small"


def amount_of(order: Order) -> int:
    """Choose by what is no label."""
    return order.amount


def wires(flow: Flow, order: Order) -> str:
    """Wire steps wrongly."""
    flow.step(reserve)  # expect-error
    flow.step(reserve, order.id)  # expect-error
    flow.step(reserve, order, "two")  # expect-error
    flow.step(reserve, order, speed=2)  # expect-error
    hold = flow.step(reserve, order)
    assert hold.amount  # expect-error
    flow.step(ship, hold, order)  # expect-error
    flow.step(ship, order, hold, hold)  # expect-error
    flow.step(3)  # expect-error
    flow.sleep(order)  # expect-error
    flow.options(name=3)  # expect-error
    flow.options(speed=2)  # expect-error
    flow.options(retry=3)  # expect-error
    flow.options(name="n").step(reserve, order.id)  # expect-error
    flow.options(name="n").parallel()  # expect-error
    with flow.parallel(3):  # expect-error
        pass
    with flow.named():  # expect-error
        pass
    with flow.when(size_of, order):  # expect-error
        pass
    with flow.when(is_large, 3):  # expect-error
        pass
    with flow.when(True):  # expect-error
        pass
    with flow.undone_by(reserve):  # expect-error
        pass
    with flow.undone_by(reserve, order.id):  # expect-error
        pass
    with flow.two_phase(reserve):  # expect-error
        pass
    reserve.confirm(3)  # expect-error
    with flow.undone_by("reserve", order):  # expect-error
        pass
    route = flow.choose(size_of, order)
    with route.case("tiny"):  # expect-error
        pass
    flow.choose(amount_of, order)  # expect-error
    flow.step(ship, order, flow.either(hold, None))  # expect-error
    return hold  # expect-error


@sagas.saga
def waiting(flow: Flow, order: Order) -> Hold:
    """Wait wrongly."""
    flow.wait("held")  # expect-error
    flow.wait(held, on_timeout="continue")  # expect-error
    flow.wait(held, timeout="1d", on_timeout="ignore")  # expect-error
    flow.step(ship, order, flow.wait(called))  # expect-error
    flow.sleep_until("tomorrow")  # expect-error
    held.send("order-42", order)  # expect-error
    held.send("order-42")  # expect-error
    sagas.signal("order-42", called, "three")  # expect-error
    return flow.wait(held, timeout="1d", on_timeout="continue")  # expect-error


@sagas.step
def ask_outside(ctx: StepContext) -> Hold:
    """Ask wrongly."""
    sagas.fail(ctx.token)  # expect-error
    sagas.fail(ctx.token, "no", effect="none")  # expect-error
    sagas.complete(7)  # expect-error
    return ctx.later()  # expect-error


@sagas.saga
def maps(flow: Flow, order: Order, orders: list[Order]) -> Hold:
    """Map what cannot be mapped."""
    flow.map(reserve, order)  # expect-error
    flow.map(reserve, [1, 2])  # expect-error
    flow.map(reserve, {"a": order})  # expect-error
    flow.map(ship, orders)  # expect-error
    flow.map(reserve, orders, concurrency="3")  # expect-error
    return flow.map(reserve, orders)  # expect-error


def calls(context: StepContext, order: Order) -> None:
    """Call steps wrongly in a unit test."""
    reserve(order)  # expect-error
    reserve(context, order.id)  # expect-error
    ship(order)  # expect-error
    call_back(order)  # expect-error
    context.attempt = 3  # expect-error
    Retry(backoff="quadratic")  # expect-error
    Done(order, code="done")  # expect-error
    NotYet()  # expect-error
    NotYet(after=None)  # expect-error
    Route()  # expect-error
    Route(3)  # expect-error


@sagas.step(routes="manual")  # expect-error
def goes(order: Order) -> str:
    """Name groups wrongly."""
    return order.id


@sagas.saga
def in_groups(flow: Flow, order: Order) -> str:
    """Write groups wrongly."""
    with flow.group():  # expect-error
        flow.step(ship, order, flow.step(reserve, order))
    with flow.group(order):  # expect-error
        return flow.step(ship, order, flow.step(reserve, order))


@sagas.saga
def deliver(flow: Flow, order: Order) -> str:
    """Wire steps rightly."""
    return flow.step(ship, order, flow.step(reserve, order))


@sagas.saga
def parents(flow: Flow, order: Order) -> Hold:
    """Start children wrongly."""
    flow.child(deliver, order.id)  # expect-error
    assert flow.child(deliver, order).amount  # expect-error
    return flow.child(deliver, order)  # expect-error


async def awaits(order: Order) -> None:
    """Start and await a run wrongly."""
    await deliver.astart(order.id)  # expect-error
    await deliver.astart(order, if_exists="ignore")  # expect-error
    run = await deliver.astart(order)
    await run.aresult(timeout="30s")  # expect-error
    run.cancel(if_version="12")  # expect-error
    run.skip("ship", None, "by hand", "ada")  # expect-error
    assert (await run.aresult()).amount  # expect-error
    deliver.astart(order).aresult()  # expect-error


def schedules() -> None:
    """Define a schedule wrongly."""
    order = Order(id="1", amount=1)
    sagas.schedule("x", deliver, "1", every=timedelta(days=1))  # expect-error
    sagas.schedule("x", deliver, order, every=timedelta(days=1), overlap="maybe")  # expect-error
    sagas.schedule("x", deliver, order)  # expect-error
