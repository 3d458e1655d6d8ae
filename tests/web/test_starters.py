"""Who started a run: kept with it, shown, and kept from answering what is for the eyes of another.

Owns: that name, over HTTP and on the pages, and the rule of two people.  Refuses to know: how
somebody logs in, and how a form is made of a type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest
from celery import Celery
from pydantic import BaseModel
from starlette.testclient import TestClient

from celeriac import CommandRefused, DefinitionError, Flow, Sagas, Signal
from celeriac.web import Caller, Role, create_app
from tests.in_memory import keep_in_memory
from tests.web.test_pages import given, seen

if TYPE_CHECKING:
    from celeriac.store.memory import MemoryStore

app = Celery("starters", broker="memory://", set_as_current=False)
sagas = Sagas(app)


class Verdict(BaseModel):
    """What somebody says."""

    approve: bool


verdict = Signal("verdict", Verdict)


@sagas.step
def pay(amount: int) -> int:
    """Pay it."""
    return amount


@sagas.saga
def expense(flow: Flow, amount: int) -> int:
    """Who asks for money may not grant it."""
    flow.wait(verdict, title="Pay it", not_by_starter=True)
    return flow.step(pay, amount)


class As(Protocol):
    """Makes a client of somebody."""

    def __call__(self, name: str) -> TestClient:
        """Return the client."""


@pytest.fixture
def store() -> MemoryStore:
    """An office without runs; its store."""
    return keep_in_memory(sagas)


@pytest.fixture
def as_(store: MemoryStore) -> As:  # noqa: ARG001 -- it is the office that is asked
    """Clients of operators."""

    def client(name: str) -> TestClient:
        site = create_app(sagas, identify=lambda _: Caller(name, Role.OPERATOR))
        return TestClient(site, raise_server_exceptions=False, follow_redirects=False)

    return client


def start(client: TestClient, run_id: str, **sent: Any) -> Any:
    """Start a run over HTTP."""
    body = {"saga": "expense", "input": 900, "id": run_id, **sent}
    return client.post("/api/runs", json=body)


def test_who_started_a_run_is_kept_and_shown(as_: As) -> None:
    """Over HTTP and by the form; whoever joins a run has not started it."""
    assert start(as_("ada"), "e-1").json()["started_by"] == "ada"
    assert start(as_("eve"), "e-1").json()["started_by"] == "ada"
    assert ", by ada" in seen(as_("eve"), "/runs/e-1").text
    assert sagas.run("e-1").state().started_by == "ada"
    eve = as_("eve")
    form = seen(eve, "/sagas/expense").form("expense")
    fields = {**form["fields"], "input": "900", "id": "e-2"}
    assert eve.post(form["action"], data=fields).status_code == 303
    assert eve.get("/api/runs/e-2").json()["started_by"] == "eve"
    expense.start(900, id="e-3")
    assert eve.get("/api/runs/e-3").json()["started_by"] is None


def test_who_started_a_run_does_not_approve_it(as_: As) -> None:
    """Refused in Python, over HTTP and on the page, which says so; somebody else may."""
    start(as_("ada"), "e-1")
    for by in ("ada", ""):
        with pytest.raises(CommandRefused) as refused:
            sagas.run("e-1").signal(verdict, Verdict(approve=True), by=by, step="verdict")
        assert refused.value.reason == "by_starter"
    ada, sent = as_("ada"), {"name": "verdict", "payload": {"approve": True}}
    assert ada.post("/api/runs/e-1/signal", json=sent).json()["reason"] == "by_starter"
    page = seen(ada, "/approvals/e-1/verdict")
    assert "You started this run: somebody else has to answer." in page.text
    assert page.forms == []
    (asked,) = ada.get("/api/approvals").json()["approvals"]
    assert (asked["not_by_starter"], asked["started_by"]) == (True, "ada")
    eve = as_("eve")
    page = seen(eve, "/approvals/e-1/verdict")
    assert "started by ada" in page.text
    assert given(eve, page, "verdict", **{"field.approve": "true"}).status_code == 303
    assert sagas.run("e-1").state().step("verdict").status == "completed"


def test_an_answer_that_comes_early_is_no_way_around(as_: As) -> None:
    """It would be taken by the wait later."""
    start(as_("ada"), "e-1")
    sagas.run("e-1").signal(verdict, Verdict(approve=True), by="eve")
    with pytest.raises(CommandRefused, match="somebody else"):
        sagas.run("e-1").signal(verdict, Verdict(approve=False), by="ada")


def test_a_run_that_nobody_is_named_for_may_be_answered_by_anybody(store: MemoryStore) -> None:
    """Who is named, and an answer without a name is still refused."""
    assert store is not None
    expense.start(900, id="e-1")
    with pytest.raises(CommandRefused, match="say who sends it"):
        sagas.run("e-1").signal(verdict, Verdict(approve=True))
    assert sagas.run("e-1").signal(verdict, Verdict(approve=True), by="ada") == "taken"


def test_the_rule_is_yes_or_no() -> None:
    """Whatever else is written there is a mistake of the saga."""

    def wrong(flow: Flow) -> None:
        flow.wait(verdict, not_by_starter="ada")  # type: ignore[call-overload]

    with pytest.raises(DefinitionError, match="not_by_starter is True or False"):
        sagas.saga(wrong)
