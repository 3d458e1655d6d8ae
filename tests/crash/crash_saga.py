"""The saga that is crashed: book, pay and send, each with an undo, told in the ledger.

Owns: `crash_saga`, whose steps write down what they were given (I15), and whose participant has a
point of its own between the request and the effect.  Refuses to know: what is done to it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel

from celeriac import Abort, Flow, Saga, StepContext
from tests.workers.kit import QUICK, Kit

if TYPE_CHECKING:
    from collections.abc import Callable

#: The points of the participant: it has the request and has not done it; it has.
SENT, APPLIED = "body.sent", "body.applied"


class CrashInput(BaseModel):
    """The input: which step gives up, once it has had its effect, and from which attempt on."""

    fails: str = ""
    since: int = 1


class Paper(BaseModel):
    """What a step returns."""

    number: str


def extend(  # noqa: C901 -- not complex, only many: all that the saga consists of
    kit: Kit, reached: Callable[[str, object], object] = lambda _point, _about: None
) -> Saga[CrashInput, Paper]:
    """Add the saga to the kit's app; *reached* is told of the participant's points."""
    ledger = kit.ledger

    def do(ctx: StepContext, input_: CrashInput, **seen: Paper) -> Paper:
        ledger.begin(f"{ctx.run_id}:{ctx.step}", ctx.attempt)
        if seen:
            text = json.dumps({name: paper.model_dump() for name, paper in seen.items()})
            ledger.saw(ctx.idempotency_key, ctx.attempt, text)
        about = (ctx.run_id, 1, ctx.step, "do", ctx.attempt, "")
        reached(SENT, about)
        ledger.do(ctx.idempotency_key, ctx.attempt)
        reached(APPLIED, about)
        if input_.fails == ctx.step and ctx.attempt >= input_.since:
            raise Abort("no further", code="no_further")
        # Another number in each attempt: what is recorded is that of one, and stays (I15).
        return Paper(number=f"{ctx.step}-{ctx.run_id}-{ctx.attempt}")

    def undo(ctx: StepContext) -> None:
        ledger.begin(f"{ctx.run_id}:{ctx.step}.undo", ctx.attempt)
        about = (ctx.run_id, 1, ctx.step, "undo", ctx.attempt, "")
        reached(SENT, about)
        ledger.undo(ctx.idempotency_key, ctx.attempt)
        reached(APPLIED, about)

    @kit.sagas.step(retry=QUICK)
    def book(ctx: StepContext, input_: CrashInput) -> Paper:
        return do(ctx, input_)

    @book.compensation(retry=QUICK)
    def unbook(ctx: StepContext) -> None:
        undo(ctx)

    @kit.sagas.step(retry=QUICK)
    def pay(ctx: StepContext, input_: CrashInput, booked: Paper) -> Paper:
        return do(ctx, input_, book=booked)

    @pay.compensation(retry=QUICK)
    def refund(ctx: StepContext) -> None:
        undo(ctx)

    @kit.sagas.step(retry=QUICK)
    def send(ctx: StepContext, input_: CrashInput, paid: Paper) -> Paper:
        return do(ctx, input_, pay=paid)

    @send.compensation(retry=QUICK)
    def recall(ctx: StepContext) -> None:
        undo(ctx)

    def crash_saga(flow: Flow, input_: CrashInput) -> Paper:
        paid = flow.step(pay, input_, flow.step(book, input_))
        return flow.step(send, input_, paid)

    return kit.sagas.saga(crash_saga)
