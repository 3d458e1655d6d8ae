"""Elements of maps, and branches, over HTTP: each can be acted on by its name.

Owns: that a verb takes the name of an element or of a branch's step, and that all that is owed is
told.  Refuses to know: what the state machine makes of it (`tests/machine/test_maps.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from starlette.testclient import TestClient

from celeriac import Flow, Sagas
from celeriac.machine import Dispatch
from celeriac.web import Caller, Role, create_app
from tests.in_memory import claim, do, fail, give_up, keep_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

app = Celery("elements", broker="memory://", set_as_current=False)
sagas = Sagas(app)


@sagas.step
def send(item: int) -> str:
    """Done for each element."""
    return str(item)


@send.compensation
def unsend(item: int) -> None:
    """Undo it."""


@sagas.step(pivot=True)
def commit(items: list[int]) -> int:
    """From here on the run only goes forward."""
    return len(items)


@sagas.saga
def deliver(flow: Flow, items: list[int]) -> list[str]:
    """A map."""
    return flow.map(send, items)


@sagas.saga
def announce(flow: Flow, items: list[int]) -> None:
    """Two branches and a map, behind the pivot."""
    flow.step(commit, items)
    with flow.parallel():
        flow.options(name="left").step(send, 1)
        flow.options(name="right").step(send, 2)
        flow.map(send, items)


@pytest.fixture
def client() -> Iterator[TestClient]:
    """An administrator's client, of an app without runs."""
    keep_in_memory(sagas)
    site = create_app(sagas, identify=lambda _: Caller("ada", Role.ADMIN))
    with TestClient(site, raise_server_exceptions=False) as found:
        yield found


def post(client: TestClient, run_id: str, verb: str, **sent: Any) -> Any:
    """Give a command, which changes something, and return the state that it left."""
    found = client.post(f"/api/runs/{run_id}/{verb}", json={"reason": "by hand", **sent})
    assert found.status_code == 200, found.json()
    assert found.json()["changed"]
    return client.get(f"/api/runs/{run_id}").json()


def begin(saga: Any, run_id: str, *done: str) -> None:
    """Start a run, do some of its steps, and count its list."""
    saga.start([0, 1, 2], id=run_id)
    for step in done:
        do(sagas, run_id, step)
    sagas.runtime.engine.begin_turn(run_id, Dispatch("send", "do", 1, 0))


def test_elements_are_skipped_undone_and_waived(client: TestClient) -> None:
    """Each by its name; one that there is not is none."""
    begin(deliver, "d-1")
    post(client, "d-1", "pause")
    post(client, "d-1", "skip", step="send[1]", result="x")
    post(client, "d-1", "resume")
    sent = {"step": "send[9]", "result": "x", "reason": "by hand"}
    assert client.post("/api/runs/d-1/skip", json=sent).status_code in (404, 409)
    for step in ("send[0]", "send[2]"):
        do(sagas, "d-1", step)
    assert client.get("/api/runs/d-1").json()["status"] == "completed"
    post(client, "d-1", "cancel")
    do(sagas, "d-1", "send[2]", "undo")
    fail(sagas, "d-1", "send[0]", "undo")
    assert client.get("/api/runs/d-1").json()["owed"] == ["send[0]"]
    assert post(client, "d-1", "waive", step="send[0]")["status"] == "compensated"


def test_a_map_is_one_mark_and_a_count_in_the_list(client: TestClient) -> None:
    """Its elements are many, and would be taken for steps."""
    begin(deliver, "d-1")
    do(sagas, "d-1", "send[0]")
    page = client.get("/runs").text
    assert "send running (1 of 3 completed)" in page
    assert "send[1]" not in page
    assert 'aria-label="0 of 1 steps completed"' in page
    attempt = claim(sagas, "d-1", "send[1]")
    give_up(sagas, attempt)
    assert "send[1] [declined]" in client.get("/runs").text


def test_all_that_gave_up_past_the_pivot_is_owed(client: TestClient) -> None:
    """Two branches and an element: each is retried or skipped by itself."""
    begin(announce, "p-1", "commit")
    for step in ("send[0]", "send[2]"):
        do(sagas, "p-1", step)
    for attempt in [claim(sagas, "p-1", step) for step in ("left", "right", "send[1]")]:
        give_up(sagas, attempt)
    assert set(client.get("/api/runs/p-1").json()["owed"]) == {"left", "right", "send[1]"}
    post(client, "p-1", "retry", step="left")
    do(sagas, "p-1", "left")
    assert set(client.get("/api/runs/p-1").json()["owed"]) == {"right", "send[1]"}
    post(client, "p-1", "skip", step="right", result="x")
    post(client, "p-1", "retry", step="send[1]")
    do(sagas, "p-1", "send[1]")
    assert client.get("/api/runs/p-1").json()["status"] == "completed"
