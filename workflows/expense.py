"""An expense: posted by a run of its own, approved by somebody, and paid by a bank that calls back.

Owns: who is asked and reminded, and what undoes what.  Refuses to know: how books and bank work
(`workflows.services`), and where people answer: the dashboard makes a form of `Verdict`.

It belongs to the app of the reference saga (`workflows.order`), and runs on the same workers.
"""

from __future__ import annotations

from pydantic import BaseModel, Field, PositiveInt

from celeriac import Abort, Flow, Signal, StepContext
from workflows.order import SOON, sagas
from workflows.refusals import definite
from workflows.services import treasury

TITLE, SUMMARY = "Approve an expense", "Was it made for us, and is the amount right?"


class Expense(BaseModel):
    """What somebody has laid out; money is in cents."""

    id: str
    who: str
    what: str
    cents: PositiveInt
    account: str


class Verdict(BaseModel):
    """What somebody says to it."""

    approve: bool = Field(description="Is it to be paid?")
    by: str


class Transfer(BaseModel):
    """Money that has arrived, as the bank says."""

    number: str


judged = Signal("judged", Verdict)
reminded: list[str] = []  # stands for the mail that goes out


@sagas.step(timeout="5s", retry=SOON)
def post(ctx: StepContext, expense: Expense) -> str:
    """Owe it in the books."""
    return treasury.post(expense.what, expense.cents, expense=expense.id, key=ctx.idempotency_key)


@post.compensation
def reverse(ctx: StepContext) -> None:
    """Owe it no more."""
    treasury.reverse(key=ctx.idempotency_key)


@sagas.step(expires="1h")
def remind(expense: Expense) -> None:
    """Ask once more; an hour late is too late."""
    reminded.append(expense.id)


@sagas.step(timeout="5s")
def heed(ctx: StepContext, verdict: Verdict | None) -> None:
    """Go on, or not."""
    if verdict is None or not verdict.approve:
        raise Abort("it was turned down", code="turned_down", effect=False)
    ctx.tag(approved_by=verdict.by)


@sagas.step(timeout="5s", retry=SOON)
def pay(ctx: StepContext, expense: Expense) -> Transfer:
    """Order the transfer; the bank calls back within some days, with the token."""
    ctx.progress(0, 1, "transfers ordered")
    with definite():
        order = {"expense": expense.id, "key": ctx.idempotency_key, "callback": ctx.token}
        treasury.order(expense.account, expense.cents, **order)
    return ctx.later("4d")


@pay.compensation
def recall(ctx: StepContext) -> None:
    """Take the money back, or forbid the transfer."""
    treasury.recall(key=ctx.idempotency_key)


def on_transferred(token: str, number: str) -> None:
    """What the web handler does whom the bank calls back."""
    sagas.complete(token, Transfer(number=number))


def is_silent(verdict: Verdict | None) -> bool:
    """Whether nobody has answered."""
    return verdict is None


@sagas.saga(deadline="1d")
def keep_books(flow: Flow, expense: Expense) -> str:
    """The books, which others post in as well: a run of its own."""
    return flow.step(post, expense)


@sagas.saga(deadline="30d")
def reimburse(flow: Flow, expense: Expense) -> Transfer:
    """Post it, ask, remind after two days, give up after a week; then pay, or undo all."""
    flow.child(keep_books, expense)
    about = {"who": expense.who, "what": expense.what, "cents": expense.cents}
    with flow.named("first"):
        early = flow.wait(
            judged, timeout="2d", on_timeout="continue", title=TITLE, summary=SUMMARY, about=about
        )
    with flow.when(is_silent, early):
        flow.step(remind, expense)
        with flow.named("last"):
            late = flow.wait(judged, timeout="5d", title=TITLE, summary=SUMMARY, about=about)
    flow.step(heed, flow.either(late, early))
    return flow.step(pay, expense)
