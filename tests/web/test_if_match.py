"""Look, then act: a command over HTTP is for the run as it was seen.

Owns: `if_version` and `If-Match`, and which verbs take them.  Refuses to know: when a run has moved
on (`tests/app/test_if_version.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web import shop

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.mark.parametrize("header", [True, False])
def test_a_verb_for_an_older_state_is_refused_with_the_new_one(
    client: TestClient, *, header: bool
) -> None:
    """409 `changed_since`, whether the version came in the body or as If-Match."""
    shop.running("o-1")
    etag = client.get("/api/runs/o-1").headers["ETag"]
    version = int(etag.strip('"'))
    shop.sagas.run("o-1").pause(by="ada")
    found = client.post(
        "/api/runs/o-1/cancel",
        json={} if header else {"if_version": version},
        headers={"If-Match": etag} if header else {},
    )
    assert (found.status_code, found.json()["code"]) == (409, "changed_since")
    assert found.json()["run"]["status"] == "paused"
    now = found.json()["run"]["run_version"]
    again = client.post("/api/runs/o-1/cancel", json={"if_version": now})
    assert again.status_code == 200


@pytest.mark.parametrize("header", [True, False])
def test_a_fork_of_an_older_state_is_refused_with_the_new_one(
    client: TestClient, *, header: bool
) -> None:
    """As every verb; no run is started."""
    shop.failed("o-1")
    etag = client.get("/api/runs/o-1").headers["ETag"]
    shop.sagas.run("o-1").waive("charge", "by hand", by="ada")
    asked = {"at": "charge", "id": "o-2"} | ({} if header else {"if_version": int(etag.strip('"'))})
    headers = {"If-Match": etag} if header else {}
    found = client.post("/api/runs/o-1/fork", json=asked, headers=headers)
    assert (found.status_code, found.json()["code"]) == (409, "changed_since")
    assert found.json()["run"]["status"] == shop.sagas.run("o-1").status
    assert client.get("/api/runs/o-2").status_code == 404


def test_every_verb_takes_the_version_as_a_header(client: TestClient) -> None:
    """Also those to come; a signal is for no state, and has none in its body either."""
    paths = client.get("/openapi.json").json()["paths"]
    verbs = {
        path: each["post"]
        for path, each in paths.items()
        if path.startswith(VERB) and "post" in each
    }
    takes = {path for path, each in verbs.items() if "if-match" in _headers(each)}
    assert takes == set(verbs) - {f"{VERB}signal"}
    assert len(takes) >= 9


VERB = "/api/runs/{run_id}/"


def _headers(operation: dict[str, Any]) -> set[str]:
    return {each["name"].lower() for each in operation["parameters"] if each["in"] == "header"}


@pytest.mark.parametrize("given", ["here", '"1"'])
def test_an_if_match_that_makes_no_sense_is_refused(client: TestClient, given: str) -> None:
    """No ETag of ours, or another version than in the body."""
    shop.running("o-1")
    found = client.post("/api/runs/o-1/cancel", json={"if_version": 2}, headers={"If-Match": given})
    assert found.status_code == 422
    assert shop.sagas.run("o-1").status == "running"
