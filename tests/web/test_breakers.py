"""Breakers over HTTP: looked at, opened and closed, and told to probes.

Owns: the routes.  Refuses to know: who may use them (`test_access`), and when a breaker opens
(`tests/gating`).
"""

from __future__ import annotations

import pytest
from celery import Celery
from starlette.testclient import TestClient

from celeriac import Breaker, Flow, Limit, Sagas
from celeriac.web import Caller, Role, create_app
from tests.in_memory import keep_in_memory


@pytest.fixture
def client() -> TestClient:
    """An administrator of an app with a breaker and a limit."""
    sagas = Sagas(Celery("gated", broker="memory://", set_as_current=False))

    @sagas.step(name="gated.charge", breaker=Breaker("bank"), limit=Limit(5, name="desk"))
    def charge() -> str:
        return "paid"

    @sagas.saga
    def buy(flow: Flow) -> str:
        return flow.step(charge)

    assert buy.name == "buy"
    keep_in_memory(sagas)
    return TestClient(create_app(sagas, identify=lambda _: Caller("eve", Role.ADMIN)))


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
