"""An app whose tasks the files of these tests name."""

from __future__ import annotations

from datetime import date, datetime, time  # noqa: TC003 -- read when the steps are defined
from decimal import Decimal
from typing import Any, Literal

from celery import Celery
from pydantic import BaseModel

from celeriac import Flow, Sagas, Signal, StepContext

app = Celery("definitions_shop", broker="memory://", set_as_current=False)
sagas = Sagas(app)

Size = Literal["small", "large"]


class Order(BaseModel):
    """What is ordered."""

    id: str
    country: str = "DE"
    quantity: int = 1


class Hold(BaseModel):
    """What was reserved."""

    hold_id: str
    items: list[str] = []


approved = Signal("approved", Order)


@sagas.step
def reserve(ctx: StepContext, order: Order) -> Hold:
    """Reserve."""
    return Hold(hold_id=f"{order.id}@{ctx.run_id}", items=[order.country] * order.quantity)


@reserve.compensation
def release(order: Order, result: Hold | None) -> None:
    """Release."""


@sagas.step
def charge(amount: Decimal, note: str = "") -> str:
    """Charge."""
    return f"{amount} {note}"


@sagas.step
def refund(amount: Decimal) -> None:
    """Give back."""


@sagas.step
def is_big(quantity: int) -> bool:
    """Look."""
    return quantity > 1


@sagas.step
def size_of(quantity: int) -> Size:
    """Look."""
    return "large" if quantity > 1 else "small"


@sagas.step
def pack(item: str, size: str = "S") -> str:
    """Pack."""
    return f"{item}/{size}"


@sagas.step
def typed(  # noqa: PLR0913, PLR0917 -- one of each
    text: str = "",
    flag: bool = False,
    number: float = 0,
    price: Decimal = Decimal(0),
    day: date | None = None,
    at: time | None = None,
    moment: datetime | None = None,
    size: Size = "small",
    whole: int = 0,
) -> None:
    """Take one of each."""


@app.task(name="post.mail")  # type: ignore[untyped-decorator]  # Celery has no types
def mail(to: Any, subject: Any = "hello", **more: Any) -> Any:
    """Send."""
    return [to, subject, more]


@app.task(name="post.unsend")  # type: ignore[untyped-decorator]
def unsend(to: Any) -> None:
    """Take back."""
    del to


@sagas.saga
def mails(flow: Flow) -> None:
    """Use the existing tasks, so that workers know them as steps."""
    flow.step(mail, "eve")
    flow.step(unsend, "eve")


@sagas.saga
def waits(flow: Flow, order: Order) -> str:
    """Use the signal, so that files may."""
    flow.wait(
        approved,
        timeout="1d",
        title="Buy?",
        about={"country": order.country, "for": "NO"},
        not_by_starter=True,
    )
    return flow.step(charge, Decimal(5))
