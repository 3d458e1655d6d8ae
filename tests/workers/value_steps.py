"""Steps that pass values on which JSON does not carry whole, added to the kit's app.

Owns: the saga `carry`, whose step returns, or says in a heartbeat, what its word asks for, and
whose undo writes down what it was given; and `deliver`, whose input holds a secret, a set, money
and times.  Refuses to know: which worker runs them (`extra_tasks`).
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, field_serializer

from celeriac import Flow, Saga, StepContext  # noqa: TC001 -- annotations are read
from tests.workers.kit import QUICK, Kit

if TYPE_CHECKING:
    from celeriac import RunHandle


class Price(BaseModel):
    """Money, with a validator that is not idempotent."""

    cents: Annotated[int, BeforeValidator(lambda value: value * 100)]


class Box(BaseModel):
    """What the undo of `fetch` takes for granted."""

    weight: int = Field(gt=0)


class Parcel(BaseModel):
    """An input that has everything in it that is hard to carry."""

    card: SecretStr
    flags: set[str]
    price: Decimal
    ready: datetime

    @field_serializer("card", when_used="json")
    def _card(self, card: SecretStr) -> str:
        return card.get_secret_value()


class Values(NamedTuple):
    """The sagas that were added."""

    carry: Saga[str, Any]
    deliver: Saga[Parcel, bool]


def extend(kit: Kit) -> Values:
    """Add the sagas to the kit's app."""
    return Values(_carry(kit), _deliver(kit))


def _carry(kit: Kit) -> Saga[str, Any]:
    @kit.sagas.step(retry=QUICK)
    def fetch(ctx: StepContext, word: str) -> Any:
        kit.ledger.begin(f"{ctx.run_id}:fetch", ctx.attempt)
        kit.ledger.do(ctx.idempotency_key, ctx.attempt)
        if word == "beat":
            ctx.heartbeat((1, 2))
        return {
            "keys": {None: 1},
            "price": Price(cents=1999),
            "light": {"weight": -1},
            "secret": {"card": SecretStr("tok_42")},
        }.get(word, {"weight": 1})

    @fetch.compensation(retry=QUICK)
    def put_back(ctx: StepContext, word: str, result: Box | None) -> None:
        kit.ledger.undo(ctx.idempotency_key, ctx.attempt)
        _tell(kit, ctx, {"word": word, "weight": result and result.weight})

    @kit.sagas.step(retry=QUICK)
    def price(ctx: StepContext) -> Price:
        kit.ledger.begin(f"{ctx.run_id}:price", ctx.attempt)
        return Price(cents=1999)

    def carry(flow: Flow, word: str) -> Any:
        fetched = flow.step(fetch, word)
        flow.step(price)
        return fetched

    return kit.sagas.saga(carry)


def _deliver(kit: Kit) -> Saga[Parcel, bool]:
    @kit.sagas.step(retry=QUICK)
    def hand_over(ctx: StepContext, parcel: Parcel) -> bool:
        found = {
            "card": parcel.card.get_secret_value(),
            "flags": sorted(parcel.flags),
            "price": str(parcel.price),
            "ready": parcel.ready.isoformat(),
        }
        _tell(kit, ctx, found)
        return True

    def deliver(flow: Flow, parcel: Parcel) -> bool:
        return flow.step(hand_over, parcel)

    return kit.sagas.saga(deliver)


def _tell(kit: Kit, ctx: StepContext, found: dict[str, Any]) -> None:
    (kit.folder / f"{ctx.run_id}.told").write_text(json.dumps(found))


def told(kit: Kit, run: RunHandle[Any]) -> dict[str, Any]:
    """What a step, or an undo, was given."""
    found: dict[str, Any] = json.loads((kit.folder / f"{run.id}.told").read_text())
    return found
