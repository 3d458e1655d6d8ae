"""A start that waits for Django's transaction.

Owns: that the input is checked at once, and the run accepted only on commit.  Refuses to know:
Django; a stand-in holds what is to be done on commit.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import BaseModel

from celeriac import Flow, InputInvalid, Saga, Sagas
from celeriac.engine.engine import Engine
from celeriac.settings import Terms, read_settings
from celeriac.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable


class Order(BaseModel):
    """An input that can be wrong."""

    amount: int


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> tuple[Saga[Order, None], MemoryStore]:
    """A saga whose runs are kept in memory, and whose messages go nowhere."""
    app = Celery("shop", broker="redis://localhost:1/0", set_as_current=False)
    sagas = Sagas(app)
    step = sagas.step(name="shop.charge")(_charge)

    def place(flow: Flow, order: Order) -> None:
        flow.step(step, order)

    store = MemoryStore()
    engine = Engine(store, Terms.of(read_settings(app.conf)))
    monkeypatch.setattr(type(sagas.runtime), "engine", engine)
    monkeypatch.setattr(sagas.runtime.dispatcher, "send", lambda *_: None)
    return sagas.saga(place), store


def _charge(order: Order) -> None:
    """Do nothing."""


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Callable[[], Any], str | None]]:
    """What waits for the transaction to commit, and on which database."""
    waiting: list[tuple[Callable[[], Any], str | None]] = []
    database = ModuleType("django.db")
    transaction = ModuleType("django.db.transaction")
    transaction.on_commit = lambda do, using=None: waiting.append((do, using))  # type: ignore[attr-defined]
    database.transaction = transaction  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django", ModuleType("django"))
    monkeypatch.setitem(sys.modules, "django.db", database)
    return waiting


def test_a_run_is_accepted_when_the_transaction_commits(
    shop: tuple[Saga[Order, None], MemoryStore],
    commits: list[tuple[Callable[[], Any], str | None]],
) -> None:
    """Before the commit there is no run; after it there is, under the id that was returned."""
    saga, store = shop
    run_id = saga.start_on_commit(Order(amount=7), id="order-42", using="orders")
    assert run_id == "order-42"
    assert store.read(run_id).run is None
    [(do, using)] = commits
    do()
    assert using == "orders"
    found = store.read(run_id, ["in:order"])
    assert found.run is not None
    assert found.fields == {"in:order": '{"amount":7}'}


def test_a_wrong_input_is_refused_before_the_commit(
    shop: tuple[Saga[Order, None], MemoryStore],
    commits: list[tuple[Callable[[], Any], str | None]],
) -> None:
    """Nothing is left to be done on commit for an input that does not validate."""
    saga, _ = shop
    with pytest.raises(InputInvalid, match="amount"):
        saga.start_on_commit({"amount": "much"})  # type: ignore[arg-type]  # on purpose
    assert commits == []
