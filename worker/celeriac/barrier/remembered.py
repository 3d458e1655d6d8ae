"""What a barrier remembers of an effect, in whatever database.

Owns: the form of a result, which key an effect has, who may do and who may undo, and the errors
of all barriers.  Refuses to know: databases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.authoring import ANYTHING, Codec, write
from celeriac.errors import Abort, CommandRefused, OutputInvalid, SagaError

if TYPE_CHECKING:
    from celeriac.context import StepContext


class BarrierBusy(SagaError):
    """Two transactions met at one key, and the database ended this one: roll back, try again.

    A step that lets it go is tried again by its retry policy; nothing has happened.
    """

    code = "barrier_busy"


def busy(ctx: StepContext, why: object) -> BarrierBusy:
    """What to raise when the database could not decide between two transactions."""
    return BarrierBusy(
        f"another transaction is at work under the key {ctx.idempotency_key!r}: roll back and "
        f"try again ({why})"
    )


def undone(ctx: StepContext) -> Abort:
    """What to raise when the effect was undone, and so must not come (again)."""
    return Abort(
        f"{ctx.idempotency_key!r} was undone, so it cannot take effect any more",
        code="undone",
        effect=False,
    )


def key_of(ctx: StepContext, part: str) -> str:
    """The key of an effect; a step with several effects tells them apart by *part*."""
    return f"{ctx.idempotency_key}/{part}" if part else ctx.idempotency_key


def check_direction(ctx: StepContext, verb: str) -> None:
    """Refuse to `undo` in a step, and to `do` in a compensation: the key is the same in both."""
    if ctx.undoes:
        raise CommandRefused(
            "wrong_direction",
            f"{ctx.step!r} undoes several steps, and a barrier knows each by its own key: call "
            "barrier.undo for each context in ctx.each()",
        )
    backward = ctx.reason is not None
    if backward != (verb == "undo"):
        where, other = ("a compensation", "undo") if backward else ("a step", "do")
        raise CommandRefused(
            "wrong_direction",
            f"barrier.{verb} was called in {where} ({ctx.step!r}): call barrier.{other} there; in "
            "a unit test, StepContext.for_test(reason='…') is the context of a compensation",
        )


def dump(ctx: StepContext, value: Any, returns: Any) -> str:
    """The result of an effect as JSON text; raise OutputInvalid for what cannot be remembered."""
    what = f"the result under {ctx.idempotency_key!r}"
    if returns is None:
        return write(ANYTHING.adapter, value, what, OutputInvalid)
    return Codec(returns).dump(value, what, OutputInvalid)


def load(text: str, returns: Any) -> Any:
    """The remembered result: plain JSON values, or what *returns* says."""
    codec = ANYTHING if returns is None else Codec(returns)
    return codec.adapter.validate_json(text, by_alias=True, by_name=True)
