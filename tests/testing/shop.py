"""An application as users have it, for what the lab promises of one.

Owns: steps of every kind (with the context, with models, adopted, bound, with a task class of one's
own), and a log of what they did.  Refuses to know: the lab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery, Task
from pydantic import BaseModel

from celeriac import Abort, Flow, Retry, Sagas, StepContext, current

if TYPE_CHECKING:
    from celery.app.task import Task as AnyTask

app = Celery("lab-shop", broker="redis://localhost:1/0", set_as_current=False)
app.conf.saga_max_payload = 2_000
sagas = Sagas(app)
log: list[tuple[str, Any]] = []


class Order(BaseModel):
    """What somebody ordered."""

    id: str
    amount: int = 30


class Receipt(BaseModel):
    """What they get in the end."""

    tracking: str


@sagas.step(name="shop.reserve")
def reserve(ctx: StepContext, order: Order) -> str:
    """Hold what was ordered."""
    log.append(("reserve", (ctx.idempotency_key, ctx.attempt)))
    return f"hold of {order.id}"


@reserve.compensation(name="shop.release")
def release(ctx: StepContext, order: Order, result: str | None) -> None:
    """Hold it no more."""
    log.append(("release", (order.id, result, ctx.reason)))


@sagas.step(name="shop.charge", timeout="30s")
def charge(ctx: StepContext, order: Order, hold: str) -> int:
    """Take the money, with signs of life."""
    left = ctx.heartbeat_details
    ctx.heartbeat({"at": ctx.attempt})
    log.append(("charge", (order.amount, hold, left)))
    return order.amount


@charge.compensation(name="shop.refund", retry=Retry(max_attempts=2))
def refund(result: int | None) -> None:
    """Give it back."""
    log.append(("refund", (result, current().idempotency_key)))


@sagas.step(name="shop.ship")
def ship(order: Order, amount: int) -> Receipt:
    """Send it."""
    log.append(("ship", amount))
    return Receipt(tracking=f"T-{order.id}")


@sagas.saga(deadline="10m")
def place_order(flow: Flow, order: Order) -> Receipt:
    """Hold it, pay for it, send it."""
    hold = flow.step(reserve, order)
    return flow.step(ship, order, flow.step(charge, order, hold))


# --- tasks that were there before --------------------------------------------------------------


class Framed(Task):  # type: ignore[misc]  # Celery has no types
    """A task class of somebody's own: a frame around each call, as web frameworks want it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run within the frame."""
        log.append(("frame", self.name))
        return super().__call__(*args, **kwargs)


@app.task(name="old.print_label", base=Framed, shared=False)  # type: ignore[untyped-decorator]  # Celery has no types
def print_label(amount: int) -> str:
    """An existing task."""
    log.append(("print", amount))
    return f"label for {amount}"


@app.task(name="old.call_carrier", bind=True, shared=False, max_retries=2)  # type: ignore[untyped-decorator]  # Celery has no types
def call_carrier(self: AnyTask, label: str) -> str:
    """An existing task that asks Celery for another try, once."""
    log.append(("call", (self.request.retries, self.request.id)))
    if self.request.retries == 0:
        raise self.retry(countdown=3)
    return f"{label}, called"


@app.task(name="old.tear_label", shared=False)  # type: ignore[untyped-decorator]  # Celery has no types
def tear_label(amount: int, result: str | None) -> None:
    """How a label is undone."""
    log.append(("tear", (amount, result)))


sagas.compensate(print_label, tear_label)


@sagas.saga
def send_parcel(flow: Flow, amount: int) -> Any:
    """Two existing tasks."""
    return flow.step(call_carrier, flow.step(print_label, amount))


mailbox: list[str] = []


@sagas.step(name="shop.mail", effect="none")
def mail(to: str) -> str:
    """A letter: nobody can tell whether it was sent."""
    mailbox.append(to)
    return to


@mail.compensation(name="shop.apologise")
def apologise(to: str) -> None:
    """A letter that takes it back."""
    if to in mailbox:
        mailbox.remove(to)


@sagas.saga
def announce(flow: Flow, to: str) -> str:
    """One letter."""
    return flow.step(mail, to)


@sagas.step(name="shop.insist", retry=Retry(max_attempts=None, initial_delay=1, max_delay=1))
def insist() -> None:
    """Is tried until it succeeds."""


@sagas.saga
def for_ever(flow: Flow) -> None:
    """One step that never gives up."""
    flow.step(insist)


@sagas.step(name="shop.big")
def big(size: int) -> str:
    """Returns more than may be kept, if asked to."""
    return "x" * size


@sagas.saga
def measure(flow: Flow, size: int) -> str:
    """One step."""
    return flow.step(big, size)


DECLINED = Abort("declined", code="card_declined", effect=False)
