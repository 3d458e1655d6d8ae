"""The JSON API: what each route takes and answers.

Owns: statuses, documents, cursors and headers.  Refuses to know: roles, and what a verb does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from celeriac import RunStatus, StoreFull, StoreUnavailable
from celeriac.views import run_document
from tests.web import shop

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from celeriac.store.memory import MemoryStore

ORDER = {"sku": "pen"}


# --- start -------------------------------------------------------------------------------------


def test_a_start_is_accepted_and_the_same_again_joins(client: TestClient) -> None:
    """202 for the run that was made, 200 for the one that was there."""
    asked = {"saga": "place_order", "input": ORDER, "id": "o-1", "tags": {"shop": "7"}}
    first, second = (client.post("/api/runs", json=asked) for _ in range(2))
    assert (first.status_code, first.json()["joined"]) == (202, False)
    assert (second.status_code, second.json()["joined"]) == (200, True)
    assert first.json()["status"] == "running"
    assert first.json()["tags"] == {"shop": "7"}
    assert [run.id for run in shop.sagas.runs()] == ["o-1"]


def test_a_start_that_joins_a_completed_run_gets_its_result(client: TestClient) -> None:
    """A caller that asks again after a broken connection learns how it ended."""
    shop.completed("o-1")
    found = client.post("/api/runs", json={"saga": "place_order", "input": ORDER, "id": "o-1"})
    assert (found.status_code, found.json()["result"]) == (200, "pen 1")


@pytest.mark.parametrize(
    ("saga", "sent"),
    [("ping", {}), ("transfer", {"input": {"source": "a", "amount": 2}}), ("mailing", {})],
)
def test_sagas_of_each_shape_are_started(client: TestClient, saga: str, sent: Any) -> None:
    """None, several or one parameter: as `saga start --input` takes them."""
    found = client.post("/api/runs", json={"saga": saga, **sent})
    assert found.status_code == 202
    assert found.json()["id"] == shop.sagas.runs()[0].id


def test_the_id_may_come_as_idempotency_key(client: TestClient) -> None:
    """The header and `id` are the same; two that differ are refused."""
    asked = {"saga": "ping"}
    found = client.post("/api/runs", json=asked, headers={"Idempotency-Key": "o-1"})
    assert found.json()["id"] == "o-1"
    both = client.post("/api/runs", json={**asked, "id": "o-2"}, headers={"Idempotency-Key": "o-1"})
    assert (both.status_code, both.json()["code"]) == (422, "input_invalid")
    assert "differ" in both.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"saga": "place_order", "input": {"sku": 3}}, "sku"),
        ({"saga": "place_order"}, "order"),
        ({"saga": "nothing"}, "no saga 'nothing'"),
        ({"saga": "ping", "id": "a\nb"}, "printable"),
        ({"saga": "ping", "tags": {"": "x"}}, "tags"),
        ({"saga": "ping", "color": "red"}, "color"),
        ({}, "saga"),
    ],
)
def test_a_wrong_start_is_refused_with_what_is_wrong(
    client: TestClient, sent: Any, told: str
) -> None:
    """422, and nothing was written."""
    found = client.post("/api/runs", json=sent)
    assert found.status_code == 422
    assert found.headers["Content-Type"] == "application/problem+json"
    assert found.json()["code"] == "input_invalid"
    assert told in found.json()["detail"]
    assert len(shop.sagas.runs()) == 0


def test_an_id_that_is_taken_is_a_conflict(client: TestClient) -> None:
    """Another input, or `if_exists="fail"`: 409 with the code of the error."""
    shop.completed("o-1")
    asked = {"saga": "place_order", "id": "o-1"}
    other = client.post("/api/runs", json={**asked, "input": {"sku": "ink"}})
    assert (other.status_code, other.json()["code"]) == (409, "run_conflict")
    same = client.post("/api/runs", json={**asked, "input": ORDER, "if_exists": "fail"})
    assert (same.status_code, same.json()["code"]) == (409, "run_exists")


@pytest.mark.parametrize(
    ("error", "code"),
    [(StoreUnavailable("away"), "store_unavailable"), (StoreFull("full"), "store_full")],
)
def test_a_store_that_cannot_says_when_to_come_again(
    client: TestClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, error: Any, code: str
) -> None:
    """503 with Retry-After: nothing is wrong with the request."""

    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(store, "commit", refuse)
    found = client.post("/api/runs", json={"saga": "ping"})
    assert (found.status_code, found.json()["code"]) == (503, code)
    assert int(found.headers["Retry-After"]) > 0


# --- looking -----------------------------------------------------------------------------------


def test_a_walk_sees_each_older_run_once_while_others_start(client: TestClient) -> None:
    """The cursor is a place among the runs, no offset."""
    for number in range(7):
        shop.ping.start(id=f"o-{number}")
    seen: list[str] = []
    cursor = None
    while True:
        asked = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/runs", params=asked).json()
        seen += [run["id"] for run in page["runs"]]
        cursor = page["cursor"]
        if cursor is None:
            break
        shop.ping.start()
    assert seen == [f"o-{number}" for number in reversed(range(7))]


def test_runs_are_found_by_what_has_an_index(client: TestClient) -> None:
    """Status, saga, tag and time, alone and together."""
    shop.running("o-1")
    shop.failed("o-2")
    shop.paused("o-3")

    def ids(**asked: Any) -> list[str]:
        found = client.get("/api/runs", params=asked)
        assert found.status_code == 200, found.json()
        return [run["id"] for run in found.json()["runs"]]

    assert ids() == ["o-3", "o-2", "o-1"]
    assert ids(status=["failed", "paused"]) == ["o-3", "o-2"]
    assert ids(saga="place_order") == ["o-2", "o-1"]
    assert ids(tag="shop:7") == ["o-1"]
    assert ids(tag="shop:7", status="failed") == []
    assert ids(until="2020-01-01T00:00:00Z") == []
    assert ids(since="2020-01-01T00:00:00Z", saga="ping") == ["o-3"]


@pytest.mark.parametrize(
    "asked",
    [
        {"q": "o-1"},
        {"step": "charge"},
        {"status": "broken"},
        {"tag": "shop"},
        {"tag": ["shop:7", "shop:8"]},
        {"limit": 201},
        {"limit": 0},
        {"cursor": "here"},
        {"since": "2020-01-01T00:00:00"},
    ],
)
def test_a_filter_that_is_not_known_is_refused(client: TestClient, asked: Any) -> None:
    """What is not understood must not list, or later act on, all runs."""
    shop.ping.start(id="o-1")
    found = client.get("/api/runs", params=asked)
    assert (found.status_code, found.json()["code"]) == (422, "input_invalid")


def test_a_run_is_told_as_the_terminal_tells_it(client: TestClient) -> None:
    """The same document everywhere, with its version as ETag."""
    shop.failed("o-1")
    found = client.get("/api/runs/o-1")
    expected = json.loads(json.dumps(run_document(shop.sagas.run("o-1").state())))
    assert found.json() == expected
    etag = found.headers["ETag"]
    assert etag == f'"{expected["run_version"]}"'
    again = client.get("/api/runs/o-1", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    shop.sagas.run("o-1").retry()
    assert client.get("/api/runs/o-1", headers={"If-None-Match": etag}).status_code == 200


def test_payloads_come_on_demand(client: TestClient) -> None:
    """Input and outputs by their names; tracebacks only where the setting says so."""
    shop.failed("o-1")
    assert "payloads" not in client.get("/api/runs/o-1").json()
    found = client.get("/api/runs/o-1", params={"payloads": True}).json()["payloads"]
    assert found["in:order"]["sku"] == "pen"
    assert found["err:charge"]["type"] == "BankDown"
    assert "traceback" not in found["err:charge"]


def test_a_history_is_read_in_pages(client: TestClient) -> None:
    """Oldest first, each event with its number; the last page has no cursor."""
    shop.completed("o-1")
    told: list[Any] = []
    cursor = None
    while True:
        asked = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/runs/o-1/history", params=asked).json()
        assert len(page["events"]) <= 2
        told += page["events"]
        cursor = page["cursor"]
        if cursor is None:
            break
    events = shop.sagas.run("o-1").history()
    assert [each["number"] for each in told] == list(range(1, len(events) + 1))
    assert [each["event"] for each in told] == [event.kind.value for event in events]
    assert client.get("/api/runs/o-1/history", params={"cursor": "x"}).status_code == 422


def test_a_picture_is_svg(client: TestClient) -> None:
    """As `saga graph` draws it."""
    shop.running("o-1")
    found = client.get("/api/runs/o-1/graph.svg")
    assert found.headers["Content-Type"] == "image/svg+xml"
    assert ET.fromstring(found.text).tag.endswith("svg")  # noqa: S314 -- our own


def test_what_a_cancel_would_undo(client: TestClient) -> None:
    """The steps in order, and nothing has changed."""
    shop.completed("o-1")
    before = shop.sagas.run("o-1").history()
    found = client.get("/api/runs/o-1/undo-plan").json()
    assert [step["step"] for step in found["steps"]] == ["charge", "reserve"]
    assert shop.sagas.run("o-1").history() == before


def test_sagas_and_figures(client: TestClient) -> None:
    """What this application defines, and how its runs stand."""
    shop.failed("o-1")
    listed = client.get("/api/sagas").json()["sagas"]
    assert [each["name"] for each in listed] == sorted(shop.sagas.defined)
    one = client.get("/api/sagas/place_order").json()
    assert one["runs"] == {"failed": 1}
    assert [(step["name"], step["undo"]) for step in one["steps"]] == [
        ("reserve", shop.release.name),
        ("charge", shop.refund.name),
    ]
    assert client.get("/api/sagas/nothing").json()["code"] == "saga_not_found"
    stats = client.get("/api/stats").json()
    assert (stats["active"], stats["owed"]) == (0, 1)


@pytest.mark.parametrize("what", ["", "/history", "/graph.svg", "/undo-plan", "/events"])
def test_a_run_that_is_not_there_is_not_found(client: TestClient, what: str) -> None:
    """404 with the code of the error, from every route."""
    found = client.get(f"/api/runs/o-1{what}")
    assert (found.status_code, found.json()["code"]) == (404, "run_not_found")


def test_a_route_that_is_not_there_is_a_problem_too(client: TestClient) -> None:
    """A program can read every answer."""
    assert client.get("/api/nothing").json()["code"] == "not_found"
    assert client.delete("/api/runs").json()["code"] == "method_not_allowed"


# --- acting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bring", "verb", "sent", "status"),
    [
        (shop.running, "cancel", {}, RunStatus.COMPENSATING),
        (shop.running, "terminate", {"reason": "why"}, RunStatus.TERMINATED),
        (shop.failed, "retry", {}, RunStatus.COMPENSATING),
        (shop.failed, "waive", {"step": "charge", "reason": "paid back"}, RunStatus.COMPENSATED),
        (shop.completed, "rewind", {"to": "charge"}, RunStatus.COMPENSATING),
        (shop.running, "pause", {}, RunStatus.PAUSED),
        (shop.paused, "resume", {}, RunStatus.RUNNING),
        (shop.unsure, "skip", {"step": "mail", "result": 3, "reason": "sent"}, RunStatus.COMPLETED),
    ],
)
def test_a_verb_does_what_the_client_does(
    client: TestClient, bring: Any, verb: str, sent: Any, status: RunStatus
) -> None:
    """The answer is the committed state, and the history has the caller's name."""
    bring("o-1")
    found = client.post(f"/api/runs/o-1/{verb}", json=sent)
    assert found.status_code == 200, found.json()
    assert (found.json()["changed"], found.json()["status"]) == (True, status)
    assert shop.sagas.run("o-1").status == status
    assert any(event.data.get("by") == "admin" for event in shop.sagas.run("o-1").history())


def test_a_command_without_effect_says_so(client: TestClient) -> None:
    """A second cancel is no error, and did nothing."""
    shop.running("o-1")
    told = [client.post("/api/runs/o-1/cancel").json()["changed"] for _ in range(2)]
    assert told == [True, False]


def test_a_refusal_says_why(client: TestClient) -> None:
    """409, with the reason in one word."""
    shop.completed("o-1")
    found = client.post("/api/runs/o-1/retry", json={})
    assert found.status_code == 409
    assert (found.json()["code"], found.json()["reason"]) == ("refused", "nothing_to_retry")


@pytest.mark.parametrize(
    ("verb", "sent"),
    [
        ("terminate", {}),
        ("terminate", {"reason": " "}),
        ("waive", {"reason": "why"}),
        ("waive", {"step": "charge"}),
        ("skip", {}),
        ("rewind", {}),
        ("cancel", {"why": "lost"}),
        ("cancel", {"reason": "x" * 2_001}),
    ],
)
def test_what_a_verb_needs_is_asked_for(client: TestClient, verb: str, sent: Any) -> None:
    """A reason where the client requires one, a step where there must be one."""
    shop.failed("o-1")
    found = client.post(f"/api/runs/o-1/{verb}", json=sent)
    assert (found.status_code, found.json()["code"]) == (422, "input_invalid")


def test_an_answer_repeats_no_value_that_was_sent(client: TestClient) -> None:
    """What does not validate may be a secret, or no text at all."""
    found = client.post(
        "/api/runs",
        content=b'{"saga": "\\ud800", "tags": {"card": 4711}}',
        headers={"Content-Type": "application/json"},
    )
    assert found.status_code == 422
    assert "4711" not in found.text
