"""Breakers over HTTP: looked at, opened and closed, and told to probes.

Owns: the routes.  Refuses to know: who may use them (`test_access`), and when a breaker opens
(`tests/gating`).
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import pytest
from celery import Celery
from starlette.testclient import TestClient

from celeriac import Breaker, CommandRefused, Flow, Limit, Sagas
from celeriac.web import Caller, Role, create_app
from tests.in_memory import claim, keep_in_memory

TOKEN = "x" * 32


@pytest.fixture
def sagas() -> Sagas:
    """An app with a breaker and a limit."""
    sagas = Sagas(Celery("gated", broker="memory://", set_as_current=False))

    @sagas.step(name="gated.charge", breaker=Breaker("bank"), limit=Limit(5, name="desk"))
    def charge() -> str:
        return "paid"

    @sagas.saga
    def buy(flow: Flow) -> str:
        return flow.step(charge)

    assert buy.name == "buy"
    keep_in_memory(sagas)
    return sagas


def client_of(sagas: Sagas, role: Role = Role.ADMIN) -> TestClient:
    """Somebody called eve, with a role."""
    app = create_app(sagas, identify=lambda _: Caller("eve", role))
    found = TestClient(app, follow_redirects=False)
    found.cookies.set("celeriac_csrf", TOKEN)
    return found


@pytest.fixture
def client(sagas: Sagas) -> TestClient:
    """An administrator."""
    return client_of(sagas)


def test_gates_are_looked_at(client: TestClient) -> None:
    """All that the code knows, by name."""
    gates = client.get("/api/breakers").json()["gates"]
    assert [(each["name"], each["kind"], each["state"]) for each in gates] == [
        ("bank", "breaker", "closed"),
        ("desk", "limit", None),
    ]


def test_a_breaker_is_opened_and_closed(client: TestClient) -> None:
    """Whoever did it is named, and a probe hears of it."""
    assert client.get("/health/circuits").json() == {
        "status": "ok",
        "circuits": {"bank": "closed"},
    }
    bank = client.post("/api/breakers/bank/open").json()["gates"][0]
    assert (bank["state"], bank["by"]) == ("open", "eve")
    found = client.get("/health/circuits")
    assert (found.status_code, found.json()["circuits"]) == (503, {"bank": "open"})
    client.post("/api/breakers/bank/close")
    assert client.get("/health/circuits").status_code == 200


@pytest.mark.parametrize("name", ["desk", "nobody"])
def test_what_is_no_breaker_is_not_opened(client: TestClient, name: str) -> None:
    """The answer names those there are."""
    found = client.post(f"/api/breakers/{name}/open")
    assert (found.status_code, found.json()["code"]) == (422, "input_invalid")
    assert "there are: bank" in found.json()["detail"]


def crowd(sagas: Sagas) -> None:
    """Five are inside of the desk, and two wait, one of them to be undone at that."""
    for number in range(7):
        sagas.defined["buy"].start(id=f"buy-{number}")
        with suppress(CommandRefused):
            claim(sagas, f"buy-{number}", "charge")


def test_one_gate_is_looked_at(sagas: Sagas, client: TestClient) -> None:
    """Who has a place, and who waits since when; what is none is not found."""
    crowd(sagas)
    desk = client.get("/api/breakers/desk").json()
    assert (desk["inside"], desk["waiting"], desk["most"]) == (5, 2, 5)
    assert {(each["run"], each["step"], each["attempt"]) for each in desk["holders"]} == {
        (f"buy-{number}", "charge", 1) for number in range(5)
    }
    assert [each["run"] for each in desk["line"]] == ["buy-5", "buy-6"]
    assert all(each["since"] for each in desk["line"])
    missing = client.get("/api/breakers/nobody")
    assert (missing.status_code, missing.json()["code"]) == (404, "gate_not_found")
    assert client.get("/breakers/nobody").status_code == 404


def test_the_pages_show_and_set(sagas: Sagas, client: TestClient) -> None:
    """All gates on one page, each on one of its own, with a form to open and one to close."""
    crowd(sagas)
    page = client.get("/breakers").text
    assert "full</span>" in page
    assert "5 of 5" in page
    assert "opens after 5 failures in 60 s" in page
    page = client.get("/breakers/desk").text
    assert all(f"buy-{number}" in page for number in range(7))
    assert "/breakers/desk/open" not in page
    done = client.post("/breakers/bank/open", data={"csrf": TOKEN})
    assert (done.status_code, done.headers["location"]) == (303, "/breakers/bank")
    page = client.get("/breakers/bank").text
    assert "open</span>" in page
    assert "<dd>eve</dd>" in page
    assert "/breakers/bank/close" in page
    assert client.post("/breakers/bank/close", data={"csrf": TOKEN}).status_code == 303
    assert "closed</span>" in client.get("/breakers").text
    refused = client.post("/breakers/desk/open", data={"csrf": TOKEN})
    assert refused.status_code == 422
    assert "Nothing was done: there is no breaker" in refused.text


def test_a_form_needs_its_token_and_a_role(sagas: Sagas, client: TestClient) -> None:
    """A page from elsewhere cannot open a breaker, and an operator sees no form."""
    assert client.post("/breakers/bank/open", data={"csrf": "y"}).status_code == 403
    operator = client_of(sagas, Role.OPERATOR)
    assert operator.post("/breakers/bank/open", data={"csrf": TOKEN}).status_code == 403
    assert "/breakers/bank/open" not in operator.get("/breakers/bank").text
    assert "/breakers/bank/open" in client.get("/breakers/bank").text
    assert client.get("/api/breakers").json()["gates"][0]["state"] == "closed"


def test_odd_names_are_text(client: TestClient) -> None:
    """Whatever a gate is called."""
    own = Sagas(Celery("odd", broker="memory://", set_as_current=False))
    name = '<i>"bänk" & 50 % ok?</i>'

    @own.step(name="odd.charge", breaker=Breaker(name))
    def charge() -> None: ...

    assert charge.name
    keep_in_memory(own)
    other = client_of(own)
    page = other.get("/breakers").text
    assert "<i>" not in page
    assert "&lt;i&gt;" in page
    path = "/breakers/" + quote(name, safe="")
    assert path in page
    assert "<i>" not in other.get(path).text
    assert other.post(f"{path}/open", data={"csrf": TOKEN}).status_code == 303
    assert own.gate(name).state == "open"
    assert client.get("/breakers").status_code == 200
