"""The shop whose runs are handed from one version to the next: an app with sagas of every kind.

Owns: the sagas, what their steps do in times of trouble, and a journal of what they were called
with.  Refuses to know: which version runs it, so it takes public names only.

An order says what happens in which step (`charge`, or `charge.undo`), one word each, which counts
while there is `trouble`: `away` (the participant is), `refuse` (it aborts), `hold` (it works until
its process ends) and `slow` (until its time is over).
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from celery import Celery
from pydantic import BaseModel

from celeriac import Abort, Flow, Retry, Saga, Sagas, StepContext, current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from celeriac import Step

#: Runs that are looked at years later are to be there: neither overdue nor removed by then.
AGES = "36500d"
DEADLINE = "40s"  # of the sagas whose deadline passes between the two versions
UNKNOWN = "shop.declare"  # a task that is to be deployed with the next version
CUSTOMS = "customs"  # its queue, where nothing else waits
LATER = Retry(max_attempts=5, initial_delay="20s", jitter=False)
IN_AGES = Retry(max_attempts=2, backoff="none", initial_delay=AGES, max_delay=AGES)

Act: TypeAlias = "Callable[..., None]"
Take: TypeAlias = "Step[[Order], [StepContext, Order], Booked]"


class Order(BaseModel):
    """What each saga is given."""

    address: str = "Žitná 7"
    amount: float = 12.5
    script: dict[str, str] = {}


class Booked(BaseModel):
    """What a reservation gives."""

    number: str
    shelves: list[int]


class Shop(NamedTuple):
    """An app and what was defined in it."""

    app: Celery
    sagas: Sagas
    order: Saga[Any, Any]  # reserve, label, pack (adopted), charge
    delivery: Saga[Order, Any]  # take, weigh (for a second), mail (once); undone all at once
    handover: Saga[Order, str]  # take, pay (the pivot), ship; undone forwards
    hurry: Saga[Order, str]  # take, wait (for ages); at its deadline it is undone
    alarm: Saga[Order, str]  # the same; at its deadline somebody is told
    abroad: Saga[Order, str]  # take, declare (which no worker knows while there is trouble)
    brief: Saga[Order, Booked]  # take; kept for a second

    def by_name(self, name: str) -> Saga[Any, Any]:
        """The saga of a name."""
        return self.sagas.defined[name]


def build(url: str, folder: Path, *, trouble: bool, conf: Mapping[str, Any] | None = None) -> Shop:
    """Make the app, over the Redis at *url*; it keeps its journal in *folder*."""
    app = Celery("shop", broker=url, set_as_current=False)
    app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
    # Where other messages wait, a sweep believes for up to a minute that a lost one does too.
    app.conf.update(task_routes={UNKNOWN: {"queue": CUSTOMS}})
    app.conf.update(conf or {})
    sagas = Sagas(app)
    act = _actor(folder, trouble=trouble)
    order, take = _order(sagas, act), _take(sagas, act)
    delivery, handover = _delivery(sagas, act, take), _handover(sagas, act, take)
    hurry, alarm = _waiting(sagas, act, take)

    @sagas.saga(retention=1.0)
    def brief(flow: Flow, order: Order) -> Booked:
        return flow.step(take, order)

    abroad = _abroad(sagas, act, take)
    made = Shop(app, sagas, order, delivery, handover, hurry, alarm, abroad, brief)
    app.finalize()
    return made


def calls(folder: Path) -> list[dict[str, Any]]:
    """The journal: every call of a step or a compensation, oldest first."""
    file = folder / "journal"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


# --- the sagas ---------------------------------------------------------------------------------


def _order(sagas: Sagas, act: Act) -> Saga[Any, Any]:
    @sagas.step(effect="barrier", retry=Retry(max_attempts=3, initial_delay="100ms"))
    def reserve(ctx: StepContext, order: Order) -> Booked:
        act(ctx, "reserve", order, {})
        return Booked(number=f"B-{ctx.run_id}", shelves=[3, 5])

    @reserve.compensation(retry=LATER)
    def release(ctx: StepContext, order: Order, result: Booked | None) -> None:
        act(ctx, "reserve.undo", order, {"result": result and result.model_dump()})

    @sagas.step
    def label(
        ctx: StepContext, order: Order, lines: list[str | int], parcel: dict[str, Any]
    ) -> list[str]:
        act(ctx, "label", order, {"lines": lines, "parcel": parcel})
        return ["label", ctx.idempotency_key]

    @sagas.app.task(shared=False, max_retries=4, default_retry_delay=20, acks_late=True)  # type: ignore[untyped-decorator]  # Celery has no types
    def pack(number: str, box: str = "small", *, order: dict[str, Any]) -> dict[str, str]:
        act(current(), "pack", Order(**order), {"number": number, "box": box})
        return {"box": box}

    @sagas.app.task(shared=False)  # type: ignore[untyped-decorator]  # Celery has no types
    def unpack(number: str, order: dict[str, Any], result: dict[str, str] | None = None) -> None:
        act(current(), "pack.undo", Order(**order), {"number": number, "result": result})

    sagas.compensate(pack, unpack)

    @sagas.step(
        timeout="1h",
        retry=Retry(
            max_attempts=None,
            backoff="linear",
            initial_delay="20s",
            max_delay="1h",
            give_up_on=(ValueError,),
            retry_on=(ConnectionError, TimeoutError),
        ),
    )
    def charge(ctx: StepContext, order: Order, amount: float) -> str:
        act(ctx, "charge", order, {"amount": amount})
        return f"C-{ctx.run_id}"

    @charge.compensation(retry=Retry(max_attempts=2, initial_delay="20s"), timeout="30m")
    def refund(ctx: StepContext, order: Order, result: str | None) -> None:
        act(ctx, "charge.undo", order, {"result": result})

    def order(flow: Flow, order: Order, urgent: bool = False) -> dict[str, Any]:
        booked = flow.step(reserve, order)
        parcel = {"to": order.address, "weight": 1.5, "gift": None, "urgent": urgent}
        labelled = flow.step(label, order, ["fragile", booked.number, 3], parcel)
        packed = flow.step(pack, booked.number, box="large", order=order)
        paid = flow.step(charge, order, order.amount)
        return {"booked": booked, "label": labelled, "box": packed, "paid": [paid, "EUR"]}

    return sagas.saga(name="order", version=3, deadline=AGES, on_deadline="alert", retention=AGES)(
        order
    )


def _take(sagas: Sagas, act: Act) -> Take:
    @sagas.step
    def take(ctx: StepContext, order: Order) -> Booked:
        act(ctx, "take", order, {})
        return Booked(number=f"T-{ctx.run_id}", shelves=[])

    @take.compensation
    def put_back(ctx: StepContext, order: Order, result: Booked | None) -> None:
        act(ctx, "take.undo", order, {"result": result and result.model_dump()})

    return take


def _delivery(sagas: Sagas, act: Act, take: Take) -> Saga[Order, Any]:
    @sagas.step(timeout=1.0, on_unknown="compensate")
    def weigh(ctx: StepContext, order: Order) -> float:
        act(ctx, "weigh", order, {})
        return 1.5

    @weigh.compensation
    def unload(ctx: StepContext, order: Order, result: float | None) -> None:
        act(ctx, "weigh.undo", order, {"result": result})

    @sagas.step(effect="none", timeout=1.0)
    def mail(ctx: StepContext, order: Order) -> str:
        act(ctx, "mail", order, {})
        return "mailed"

    @mail.compensation
    def apologise(ctx: StepContext, order: Order) -> None:
        act(ctx, "mail.undo", order, {})

    @sagas.saga(retention=AGES, compensation_order="parallel")
    def delivery(flow: Flow, order: Order) -> list[Any]:
        return [flow.step(take, order), flow.step(weigh, order), flow.step(mail, order)]

    return delivery


def _handover(sagas: Sagas, act: Act, take: Take) -> Saga[Order, str]:
    @sagas.step(pivot=True)
    def pay(ctx: StepContext, order: Order) -> str:
        act(ctx, "pay", order, {})
        return "paid"

    @sagas.step
    def ship(ctx: StepContext, order: Order) -> str:
        act(ctx, "ship", order, {})
        return "shipped"

    @sagas.saga(retention=AGES, compensation_order="forward")
    def handover(flow: Flow, order: Order) -> str:
        flow.step(take, order)
        flow.step(pay, order)
        return flow.step(ship, order)

    return handover


def _abroad(sagas: Sagas, act: Act, take: Take) -> Saga[Order, str]:
    @sagas.step(name=UNKNOWN)
    def declare(ctx: StepContext, order: Order) -> str:
        act(ctx, "declare", order, {})
        return "declared"

    @sagas.saga(retention=AGES)
    def abroad(flow: Flow, order: Order) -> str:
        flow.step(take, order)
        return flow.step(declare, order)

    return abroad


def _waiting(sagas: Sagas, act: Act, take: Take) -> tuple[Saga[Order, str], Saga[Order, str]]:
    @sagas.step(retry=IN_AGES)
    def wait(ctx: StepContext, order: Order) -> str:
        act(ctx, "wait", order, {})
        return "waited"

    def waiting(flow: Flow, order: Order) -> str:
        flow.step(take, order)
        return flow.step(wait, order)

    return (
        sagas.saga(name="hurry", retention=AGES, deadline=DEADLINE)(waiting),
        sagas.saga(name="alarm", retention=AGES, deadline=DEADLINE, on_deadline="alert")(waiting),
    )


# --- what a step does --------------------------------------------------------------------------


def _actor(folder: Path, *, trouble: bool) -> Act:
    """What every step does: write down how it was called, and then what the order says."""

    def act(ctx: StepContext, name: str, order: Order, given: dict[str, Any]) -> None:
        line = {
            "run": ctx.run_id,
            "step": name,
            "attempt": ctx.attempt,
            "key": ctx.idempotency_key,
            "left": ctx.heartbeat_details,
            "tags": dict(ctx.tags),
            "given": given,
        }
        _write(folder / "journal", line)
        word = order.script.get(name, "") if trouble else ""
        if word == "away":
            raise ConnectionError("the participant is away")
        if word == "refuse":
            raise Abort("refused", code="refused")
        if word in ("hold", "slow"):
            ctx.heartbeat({"page": 7})
            (folder / f"{ctx.run_id}.{name}.held").touch()
            time.sleep(600)  # until it is killed, or its time is over

    return act


def _write(file: Path, line: Mapping[str, Any]) -> None:
    """Append a line at once: many processes write this file."""
    text = json.dumps(line, ensure_ascii=False) + "\n"
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(opened, text.encode())
    finally:
        os.close(opened)
