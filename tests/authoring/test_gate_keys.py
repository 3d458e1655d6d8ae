"""The key of a gate: where in a value it is, and that it is there."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from celery import Celery
from pydantic import BaseModel, Field

from celeriac import DefinitionError, Flow, Limit, Sagas
from celeriac.machine import FromInput

sagas = Sagas(Celery("keys", set_as_current=False))


class Card(BaseModel):
    """What is charged."""

    number: str = Field(alias="cardNo")
    tags: list[str] = []


class Pair(NamedTuple):
    """Two."""

    first: str
    second: str


class Order(BaseModel):
    """What is ordered."""

    card: Card | None = None
    labels: dict[str, str] = {}
    pair: Pair = Pair("a", "b")
    more: Any = None


def key_of(key: str) -> Any:
    """Where a gate with this key finds its value, in the input of a saga."""

    @sagas.step(name=f"charge {key}", limit=Limit(1, key=key))
    def charge(order: Order, count: int = 1) -> None: ...

    @sagas.saga(name=f"pay {key}")
    def pay(flow: Flow, order: Order, count: int) -> None:
        flow.step(charge, order, count)

    return pay.planned.plan.nodes[0].gates[0].key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", FromInput(input="count")),
        ("order.card", FromInput(input="order", path=("card",))),
        # As it stands in the JSON that is kept; of an order without a card there is none.
        ("order.card.number", FromInput(input="order", path=("card", "cardNo"))),
        ("order.card.tags.0", FromInput(input="order", path=("card", "tags", 0))),
        ("order.labels.region", FromInput(input="order", path=("labels", "region"))),
        ("order.pair.second", FromInput(input="order", path=("pair", 1))),
        ("order.more.what.ever", FromInput(input="order", path=("more", "what", "ever"))),
    ],
)
def test_a_key_is_found_where_the_value_is_kept(key: str, value: Any) -> None:
    """By the names of Python, also inside of what may be None."""
    assert key_of(key) == value


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("order.cart", "what stands before .cart is Order and has no field 'cart'"),
        ("order.card.cardNo", "before .cardNo is Card and has no field 'cardNo'"),
        ("order.card.number.x", "before .x is str and has no fields"),
        ("count.x", "before .x is int and has no fields"),
        ("order.card.tags.first", "before .first is list"),
    ],
)
def test_a_key_that_is_nowhere_is_an_error_at_import(key: str, problem: str) -> None:
    """Else all would count as one, since none of them has it."""
    with pytest.raises(DefinitionError, match=problem) as found:
        key_of(key)
    assert found.value.parameter == key.partition(".")[0]
