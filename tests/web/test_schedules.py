"""Schedules over HTTP: the API, and the page.

Owns: what is answered and shown.  Refuses to know: who may (`test_access`), and the rules of ticks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.web import shop

if TYPE_CHECKING:
    from starlette.testclient import TestClient

TOKEN = "x" * 32


def test_schedules_are_told(client: TestClient) -> None:
    """All of them, and one with what happened to it."""
    (found,) = client.get("/api/schedules").json()["schedules"]
    assert (found["name"], found["status"], found["every"]) == ("nightly", "new", "0 3 * * *")
    assert client.get("/api/schedules/nightly").json()["history"] == []
    missing = client.get("/api/schedules/weekly")
    assert (missing.status_code, missing.json()["code"]) == (404, "schedule_not_found")


def test_verbs_change_a_schedule(client: TestClient) -> None:
    """With the name of who asked; what is refused is told with its reason."""
    paused = client.post("/api/schedules/nightly/pause", json={"reason": "audit"}).json()
    assert (paused["status"], paused["reason"], paused["by"]) == ("paused", "audit", "admin")
    assert client.post("/api/schedules/nightly/resume").json()["status"] == "active"
    told = client.post("/api/schedules/nightly/trigger", json={"id": "now-1"})
    assert (told.status_code, told.json()) == (202, {"id": "now-1"})
    assert shop.sagas.run("now-1").state().saga == "transfer"
    refused = client.post("/api/schedules/nightly/trigger")
    assert (refused.status_code, refused.json()["reason"]) == (409, "overlap")
    assert client.post("/api/schedules/nightly/delete").json()["status"] == "deleted"
    assert client.get("/api/schedules").json() == {"schedules": []}


def test_the_page_shows_and_steers(client: TestClient) -> None:
    """Its forms carry the token of the browser; a refusal is shown on the page."""
    client.cookies.set("celeriac_csrf", TOKEN)
    page = client.get("/schedules").text
    assert "0 3 * * * (UTC), overlap skip" in page
    done = client.post("/schedules/nightly/pause", data={"csrf": TOKEN, "reason": "<b>audit</b>"})
    assert (done.status_code, done.headers["location"]) == (303, "/schedules?done=pause")
    page = client.get("/schedules?done=pause").text
    assert "&lt;b&gt;audit&lt;/b&gt;" in page
    assert "Resume" in page
    assert client.post("/schedules/nightly/trigger", data={"csrf": TOKEN}).status_code == 303
    refused = client.post("/schedules/nightly/trigger", data={"csrf": TOKEN})
    assert refused.status_code == 409
    assert "Nothing was done: schedule" in refused.text
    assert client.post("/schedules/nightly/pause", data={"csrf": "y"}).status_code == 403
