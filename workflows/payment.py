"""A payment from two sources: what is due is held on both, and then taken from both, or from none.

Owns: what is held, taken and let go, in which order.  Refuses to know: how vouchers and cards work
(`workflows.services`), and what is paid for.

It belongs to the app of the reference saga (`workflows.order`), and runs on the same workers.
"""

from __future__ import annotations

from pydantic import BaseModel

from celeriac import Flow, Skip, StepContext
from workflows.order import SOON, sagas
from workflows.refusals import definite
from workflows.services import acquirer


class Payment(BaseModel):
    """What is due, and from what it is paid."""

    id: str
    cents: int
    card: str
    voucher: str | None = None
    voucher_cents: int = 0  # what it is worth; the card pays the rest


class Held(BaseModel):
    """Money that nobody else can have, and that is not ours yet."""

    authorisation: str
    source: str
    cents: int


class Receipt(BaseModel):
    """The end of it."""

    payment: str
    card: int
    voucher: int


def hold(ctx: StepContext, source: str, cents: int) -> Held:
    """Hold money on a source."""
    with definite():
        found = acquirer.authorise(source, cents, payment=ctx.run_id, key=ctx.idempotency_key)
        return Held(authorisation=found, source=source, cents=cents)


def take(ctx: StepContext, held: Held) -> None:
    """Take what is held, under a key of its own: the step's, and `.confirm` behind it."""
    with definite():
        acquirer.capture(
            held.authorisation,
            held.source,
            held.cents,
            payment=ctx.run_id,
            key=ctx.idempotency_key,
        )


@sagas.step(timeout="5s", retry=SOON)
def hold_voucher(ctx: StepContext, payment: Payment) -> Held | None:
    """Whoever has no voucher does not join: nothing is taken from it, and nothing let go."""
    if payment.voucher is None:
        raise Skip("no voucher")
    return hold(ctx, payment.voucher, payment.voucher_cents)


@hold_voucher.compensation
def void_voucher(ctx: StepContext) -> None:
    """Let go what may be held."""
    acquirer.void(key=ctx.idempotency_key)


@hold_voucher.confirm
def take_voucher(ctx: StepContext, result: Held | None) -> None:
    """Only called for a voucher that joined."""
    if result is not None:
        take(ctx, result)


@sagas.step(timeout="5s", retry=SOON)
def hold_card(ctx: StepContext, payment: Payment) -> Held:
    """The rest is held on the card."""
    rest = payment.cents - (payment.voucher_cents if payment.voucher else 0)
    return hold(ctx, payment.card, rest)


@hold_card.compensation
def void_card(ctx: StepContext) -> None:
    """Let go what may be held."""
    acquirer.void(key=ctx.idempotency_key)


@hold_card.confirm
def take_card(ctx: StepContext, result: Held) -> None:
    """There is no way back from here: it is tried until it works, or somebody sees to it."""
    take(ctx, result)


@sagas.step
def write_receipt(payment: Payment, voucher: Held | None, card: Held) -> Receipt:
    """What was taken from where."""
    return Receipt(payment=payment.id, card=card.cents, voucher=voucher.cents if voucher else 0)


@sagas.saga(deadline="1m")
def pay(flow: Flow, payment: Payment) -> Receipt:
    """All of it is paid, or nothing."""
    with flow.two_phase():
        voucher = flow.step(hold_voucher, payment)
        card = flow.step(hold_card, payment)
    return flow.step(write_receipt, payment, voucher, card)
