"""A payment from two sources: what is due is held on both, and then taken from both, or from none.

Owns: who proves what before a large amount is paid, what is held, taken and let go, and what is
told of a decline.  Refuses to know: how vouchers and cards work (`workflows.services`).

It belongs to the app of the reference saga (`workflows.order`), and runs on the same workers.
"""

from __future__ import annotations

from pydantic import BaseModel

from celeriac import Abort, Flow, Route, Signal, Skip, StepContext
from workflows.order import SOON, sagas
from workflows.refusals import definite
from workflows.services import acquirer, ledger

LARGE = 10_000  # cents; so much is not paid without a proof


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


class Decline(BaseModel):
    """What whoever pays is told, at once and whenever the same payment is asked for again."""

    code: str


proved = Signal("proved", bool)  # that the card is in the hands of its owner


@sagas.step(routes=("prove", "take"))
def judge(payment: Payment, proof: bool) -> None:
    """A large amount needs a proof; what proves nothing is asked for again."""
    raise Route("take" if proof or payment.cents < LARGE else "prove")


def hold(ctx: StepContext, source: str, cents: int) -> Held:
    """Hold money on a source; a decline is an answer, and no trouble of ours."""
    try:
        found = acquirer.authorise(source, cents, payment=ctx.run_id, key=ctx.idempotency_key)
    except ledger.Refused as no:
        raise Abort(str(no), code=no.code, effect=False, answer=Decline(code=no.code)) from None
    return Held(authorisation=found, source=source, cents=cents)


def take(ctx: StepContext, held: Held | None) -> None:
    """Take what is held, under a key of its own: the step's, and `.confirm` behind it."""
    key, of = ctx.idempotency_key, ctx.run_id
    assert held, "what has not joined is not confirmed"
    with definite():
        acquirer.capture(held.authorisation, held.source, held.cents, payment=of, key=key)


@sagas.step(timeout="5s", retry=SOON)
def hold_voucher(ctx: StepContext, payment: Payment) -> Held | None:
    """Whoever has no voucher does not join: nothing is taken from it, and nothing let go."""
    if payment.voucher is None:
        raise Skip("no voucher")
    return hold(ctx, payment.voucher, payment.voucher_cents)


@sagas.step(timeout="5s", retry=SOON)
def hold_card(ctx: StepContext, payment: Payment) -> Held:
    """The rest is held on the card."""
    return hold(ctx, payment.card, payment.cents - payment.voucher_cents)


@hold_voucher.compensation
def void_voucher(ctx: StepContext) -> None:
    """Let go what may be held."""
    acquirer.void(key=ctx.idempotency_key)


@hold_card.compensation
def void_card(ctx: StepContext) -> None:
    """Let go what may be held."""
    acquirer.void(key=ctx.idempotency_key)


@hold_voucher.confirm
def take_voucher(ctx: StepContext, result: Held | None) -> None:
    """Only called for a voucher that joined."""
    take(ctx, result)


@hold_card.confirm
def take_card(ctx: StepContext, result: Held) -> None:
    """There is no way back from here: it is tried until it works, or somebody sees to it."""
    take(ctx, result)


@sagas.saga(deadline="1h", max_steps=6, answers=Decline)
def pay(flow: Flow, payment: Payment) -> dict[str, Held | None]:
    """All of it is paid, or nothing; a proof may be asked for a few times."""
    with flow.group("screen"):
        flow.step(judge, payment, False)
    with flow.group("prove"):
        proof = flow.wait(proved, timeout="15m", title="Is it your card?")
        flow.step(judge, payment, proof)
    with flow.group("take"), flow.two_phase():
        voucher = flow.step(hold_voucher, payment)
        card = flow.step(hold_card, payment)
    return {"voucher": voucher, "card": card}
