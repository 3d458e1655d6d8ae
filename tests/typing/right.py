"""What an author writes, as type checkers see it: nothing here is an error.

Owns: the types that the public interface promises.  Refuses to know: what happens at run time;
this file is only type-checked, by mypy and by pyright.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path  # noqa: TC003 -- as an author writes it
from typing import Any, Literal, assert_type

from pydantic import BaseModel

from celeriac import (
    Abort,
    Compensation,
    Done,
    Failure,
    Flow,
    NotYet,
    Retry,
    Route,
    RunHandle,
    Saga,
    Sagas,
    Schedule,
    ScheduleState,
    Signal,
    Step,
    StepContext,
)

app: Any = None  # Celery has no types: an app is anything
sagas = Sagas(app)


class Order(BaseModel):
    """What a customer wants."""

    id: str
    amount: int


class Hold(BaseModel):
    """Stock that is held."""

    hold_id: str


class Receipt(BaseModel):
    """The end of it."""

    tracking: str


held = Signal("held", Hold)
called = Signal("called", int)


@sagas.step(timeout="30s", retry=Retry(max_attempts=5), queue="stock")
def reserve(ctx: StepContext, order: Order, quantity: int = 1) -> Hold:
    """Take the context, and hold stock."""
    return Hold(hold_id=f"{ctx.idempotency_key} {order.id} {quantity}")


@reserve.compensation
def release(ctx: StepContext, order: Order, result: Hold | None) -> None:
    """Undo it."""


@sagas.step
def ship(order: Order, hold: Hold, *notes: str) -> Receipt:
    """Take no context."""
    return Receipt(tracking=f"{order.id} {hold.hold_id} {notes}")


@ship.compensation(retry=Retry(max_attempts=None), timeout=5)
def call_back(order: Order, error: Failure | None) -> bool:
    """Undo it, with options."""
    return error is None and order.amount > 0


@sagas.step
def count(*words: str, **more: int) -> int:
    """Take any number of arguments."""
    return len(words) + len(more)


def legacy(amount: int, currency: str = "EUR") -> dict[str, int]:
    """What stands for a Celery task whose stubs know its signature."""
    return {currency: amount}


@sagas.saga(retries=2, retry_delay="1m")
def stubborn(flow: Flow, order: Order) -> Hold:
    """Begin anew, unless a step says that it is final."""
    if order.id == "never":
        raise Abort("no", final=True)
    return flow.step(reserve, order)


@sagas.saga(deadline="10m")
def place_order(flow: Flow, order: Order) -> Receipt:
    """Wire steps; the types of functions are the types of results."""
    hold = flow.step(reserve, order, quantity=2)
    assert_type(hold, Hold)
    assert_type(hold.hold_id, str)
    assert_type(flow.step(reserve, order), Hold)
    assert_type(flow.step(count, order.id, hold.hold_id, x=order.amount), int)
    assert_type(flow.step(legacy, order.amount), dict[str, int])
    return flow.step(ship, order, hold, "fast")


@sagas.saga(compensation_order="graph")
def side_by_side(flow: Flow, order: Order) -> Receipt:
    """Write blocks and options; a view of the flow keeps the types."""
    with flow.parallel():
        hold = flow.options(name="first", queue="stock", priority=3).step(reserve, order)
        assert_type(hold, Hold)
        with flow.sequence(), flow.named("inner"):
            flow.step(count, order.id)
    with flow.graph():
        after = flow.options(after=[hold, "first"], timeout="5s", retry=Retry(max_attempts=2))
        return after.step(ship, order, hold, "fast")


def is_large(order: Order) -> bool:
    """Decide."""
    return order.amount > 100


def speed_of(order: Order) -> Literal["fast", "slow"]:
    """Choose."""
    return "fast" if is_large(order) else "slow"


class Colour(Enum):
    """What an Enum may say."""

    RED = "red"


def colour_of(order: Order) -> Colour:
    """Choose, too."""
    return Colour(order.id)


@sagas.saga
def depending(flow: Flow, order: Order) -> Receipt | None:
    """Write conditions; values leave them through either, as what they have in common."""
    with flow.when(is_large, order):
        hold = flow.step(reserve, order)
    with flow.otherwise():
        words = flow.step(count, order.id)
    assert_type(flow.either(hold, words), Hold | int)
    assert_type(flow.either(hold, None), Hold | None)
    route = flow.choose(speed_of, order)
    with route.case("fast"):
        receipt = flow.step(ship, order, Hold(hold_id="a"))
    with route.case("slow"):
        flow.step(count)
    colour = flow.choose(colour_of, order)
    with colour.case(Colour.RED):
        flow.step(count)
    with colour.default():
        flow.step(count)
    return flow.either(receipt, None)


@sagas.step
def call_off(ctx: StepContext, order: Order, why: str = "") -> None:
    """Undo several steps."""
    assert_type((order, why), tuple[Order, str])
    assert_type(ctx.each(), tuple[StepContext, ...])


@sagas.step
def prepare(order: Order) -> Hold:
    """Prepare."""
    return Hold(hold_id=order.id)


@prepare.confirm(timeout="5s")
def keep(ctx: StepContext, order: Order, result: Hold) -> None:
    """Confirm."""
    assert_type((ctx.step, order, result), tuple[str, Order, Hold])


@sagas.saga
def in_two_phases(flow: Flow, order: Order) -> Hold:
    """Prepare, then confirm."""
    with flow.two_phase():
        return flow.step(prepare, order)


@sagas.saga
def as_one(flow: Flow, order: Order) -> Hold:
    """Undo several steps by one."""
    with flow.undone_by(call_off, order, why="no reason"), flow.parallel():
        hold = flow.step(reserve, order)
        flow.step(count, order.id)
    return hold


def answers(order: Order) -> Receipt:
    """Answer in place of a result."""
    if order.amount == 1:
        raise NotYet(after="30s")
    if order.amount == 2:
        raise Abort("declined", answer=order)
    raise Done(order)


@sagas.step(routes=("manual", "entry"))
def leaves(order: Order) -> Receipt:
    """Go on with another group in place of a result."""
    raise Route("manual" if order.amount else "entry")


@sagas.saga(max_steps=20)
def in_groups(flow: Flow, order: Order) -> Receipt | None:
    """A value of a group has the type of its step."""
    with flow.group("entry"):
        receipt = flow.step(leaves, order)
        assert_type(receipt, Receipt)
    with flow.group("manual"):
        other = flow.step(leaves, order)
    return flow.either(receipt, other)


@sagas.step
def ask_outside(ctx: StepContext, order: Order) -> Receipt:
    """Give the token away, and let somebody outside bring the result."""
    assert_type(ctx.token, str)
    if order.amount:
        return ctx.later("2d")
    later: Receipt = ctx.later(3600)
    return later


def answered(token: str) -> None:
    """Bring the result, or say how it failed."""
    sagas.complete(token, Receipt(tracking="1"), by="ada")
    sagas.fail(token, "declined", code="declined", effect=False, retry=False)


@sagas.saga
def waiting(flow: Flow, order: Order) -> Receipt:
    """Wait for signals and times; the result is what was sent, or what else may follow."""
    hold = flow.wait(held)
    assert_type(hold, Hold)
    assert_type(flow.wait(held, timeout="1d"), Hold)
    assert_type(flow.wait(held, timeout="1d", on_timeout="abort"), Hold)
    assert_type(flow.wait(held, timeout="1d", on_timeout="continue"), Hold | None)
    assert_type(flow.wait(held, timeout=3, on_timeout=Hold(hold_id="a")), Hold)
    assert_type(flow.options(name="call").wait(called), int)
    flow.sleep("1h")
    flow.options(after=["call"]).sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
    return flow.step(ship, order, hold)


def signals(run: RunHandle[Receipt], hold: Hold) -> None:
    """Send signals."""
    assert_type(held.send("order-42", hold), Literal["taken", "kept"])
    held.send("order-42", hold, id="request-7")
    run.signal(held, hold, id="request-7")
    run.signal("held", {"hold_id": "a"})
    sagas.signal("order-42", called, 3)
    sagas.signal("order-42", "called", 3, id="request-7")


@sagas.step
def pack(order: Order, colour: str, copies: int = 1) -> Receipt:
    """Do it for each of several orders."""
    raise NotImplementedError


def parcel(flow: Flow, order: Order) -> Hold:
    """Do several steps for each."""
    hold = flow.step(reserve, order)
    flow.step(ship, order, hold)
    return hold


@sagas.step
def collect(receipts: list[Receipt], holds: list[Hold]) -> int:
    """Read what maps gave."""
    raise NotImplementedError


@sagas.saga
def for_each(flow: Flow, orders: list[Order], more: tuple[Order, ...]) -> int:
    """Map a step, with other arguments and without, and a function of several steps."""
    assert_type(flow.map(reserve, orders), list[Hold])
    receipts = flow.map(pack, orders, "red", copies=2)
    assert_type(receipts, list[Receipt])
    assert_type(flow.map(pack, more, "red", concurrency=3), list[Receipt])
    holds = flow.map(parcel, orders)
    assert_type(holds, list[Hold])
    assert_type(flow.map(parcel, orders, concurrency=1), list[Hold])
    assert_type(flow.options(name="each").map(reserve, more), list[Hold])
    return flow.step(collect, receipts, holds)


@sagas.saga
def several_inputs(flow: Flow, order: Order, count: int) -> Hold:
    """Two inputs of two types."""
    del count
    return flow.step(reserve, order)


@sagas.saga
def parents(flow: Flow, order: Order) -> Receipt:
    """A step that is a run has the result of its saga."""
    assert_type(flow.child(place_order, order), Receipt)
    assert_type(flow.child(several_inputs, order, 3), Hold)
    assert_type(flow.child(several_inputs, order=order, count=3), Hold)
    return flow.options(name="again", retry=Retry(max_attempts=2)).child(place_order, order)


def use(context: StepContext, order: Order) -> None:
    """Call steps as plain functions, and as the Celery tasks they are."""
    assert_type(reserve(context, order), Hold)
    assert_type(release(context, order, None), None)
    assert_type(ship(order, Hold(hold_id="a")), Receipt)
    assert_type(call_back(order, None), bool)
    assert_type(context.idempotency_key, str)
    reserve.apply_async(args=[order.model_dump()], countdown=3)


async def awaits(order: Order) -> None:
    """Start and await a run, in a coroutine and in a thread."""
    run = await place_order.astart(order, id="order-42", tags={"shop": "7"}, if_exists="fail")
    assert_type(run, RunHandle[Receipt])
    assert_type(await run.aresult(timeout=30), Receipt)
    assert_type(await run.aresult(), Receipt)
    assert_type(place_order.start(order).result(timeout=0.5), Receipt)
    assert_type(run.joined, bool)
    assert_type(run.cancel("lost interest", if_version=run.state().run_version), bool)


def untyped(flow: Flow, order: Order, task: Any) -> None:
    """Use an existing Celery task, of which nothing is known."""
    result = flow.step(task, order, anything=3)
    flow.step(ship, order, result)


def kinds(step: Step[..., ..., Hold], undo: Compensation[..., None]) -> None:
    """Name the kinds of things there are."""
    assert_type(step.name, str)
    assert_type(undo.wants, tuple[str, ...])


def schedules(place: Any) -> None:
    """Define and steer a schedule."""
    kept = sagas.schedule("nightly", place_order, Order(id="1", amount=1), every=timedelta(days=1))
    assert_type(kept, Schedule)
    assert_type(kept.trigger(by="eve"), str)
    assert_type(kept.state(), ScheduleState)
    assert_type([event.tick for event in kept.history()], list[datetime | None])
    assert_type(sagas.schedules(), list[ScheduleState])
    sagas.schedule(
        "other",
        place_order,
        place,
        every=place,
        timezone="Europe/Berlin",
        overlap="queue",
        catch_up=60,
    )


def files(path: Path) -> None:
    """Read sagas from files, keep them, and write one."""
    trip = sagas.load("trip.yaml")
    assert_type(trip, Saga[Any, Any])
    assert_type(sagas.from_file(path).start(nights=3), RunHandle[Any])
    assert_type(sagas.define(path).name, str)
    assert_type(sagas.definition("trip", 2).start_vars({"nights": "3"}), RunHandle[Any])
    assert_type([kept.version for kept in sagas.definitions()], list[int])
    assert_type(place_order.as_yaml(), str)
