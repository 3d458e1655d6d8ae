"""Results from outside that are waited for: the list, and bringing one on the page.

Owns: the routes and forms of people.  Refuses to know: what becomes of a result
(`test_completions.py` has the routes of programs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.app import completions
from celeriac.views import times
from celeriac.web import Role
from tests.in_memory import ask_outside
from tests.web import shop
from tests.web.test_bulk import token as csrf_of

if TYPE_CHECKING:
    import pytest
    from httpx2 import Response
    from starlette.testclient import TestClient

    from tests.web.conftest import AsRole


def asked(run_id: str) -> str:
    """A run that waits for somebody outside; his token."""
    shop.place_order.start(shop.Order(sku="tea"), id=run_id)
    return ask_outside(shop.sagas, run_id, "reserve")


def sent(client: TestClient, path: str, **fields: Any) -> Response:
    """The answer to a form of the page."""
    return client.post(path, data={"csrf": csrf_of(client.get("/outside")), **fields})


def test_what_is_waited_for_is_listed_without_a_token(as_role: AsRole) -> None:
    """Which run, which step and until when, and nothing that would let anybody answer."""
    token = asked("o-1")
    shop.running("r-1")
    shop.asking("e-1")
    client = as_role(Role.VIEWER)
    found = client.get("/api/completions")
    [told] = found.json()["completions"]
    assert (told["run_id"], told["saga"], told["step"]) == ("o-1", "place_order", "reserve")
    assert told["until"]
    [known] = shop.sagas.completions()
    assert told == {**known.model_dump(), "until": times.iso(known.until)}
    page = client.get("/outside").text
    assert 'href="/runs/o-1"' in page
    assert "/runs/r-1" not in page
    assert "<form" not in page
    run = client.get("/runs/o-1").text
    assert "waits for its result from outside" in run
    assert "/approvals/o-1" not in run
    secret = token.partition(".")[2]
    assert not any(secret in text for text in (found.text, page, run))


def test_whoever_has_the_token_brings_a_result(client: TestClient) -> None:
    """Or a failure; a wrong result or token changes nothing, and no token comes back."""
    token = asked("o-1")
    form = client.get("/outside").text.partition('action="/outside"')[2]
    assert form.index("<button disabled hidden") < form.index(
        'value="complete"'
    )  # Enter sends none
    for fields, status in (
        ({"token": token, "result": "{"}, 422),
        ({"token": token, "result": "7"}, 422),
        ({"token": token + "x", "result": '"tea"'}, 404),
    ):
        found = sent(client, "/outside", how="complete", **fields)
        assert found.status_code == status
        assert "Nothing was done" in found.text
        assert token not in found.text
    taken = sent(client, "/outside", how="complete", token=token, result='"tea"')
    assert (taken.status_code, taken.headers["Location"]) == (303, "/outside?done=true")
    assert shop.sagas.run("o-1").state().step("reserve").status == "completed"
    again = sent(client, "/outside", how="fail", token=token, message="no")
    assert again.status_code == 409
    other = asked("o-2")
    assert sent(client, "/outside", how="fail", token=other, message="no").status_code == 303
    failure = shop.sagas.run("o-2").state().failure
    assert failure is not None
    assert failure.message == "no"
    for run_id in ("o-1", "o-2"):
        told = [each.data for each in shop.sagas.run(run_id).history() if "outside" in each.data]
        assert [each["by"] for each in told] == ["admin"]


def test_an_operator_goes_on_without_a_token(client: TestClient) -> None:
    """By skipping the step as it was seen; what comes with the token later is too late."""
    token = asked("o-1")
    version = str(shop.sagas.run("o-1").state().run_version)
    asked_for = {"step": "reserve", "result": '"tea"', "reason": "told by phone"}
    stale = sent(client, "/runs/o-1/skip", if_version="1", **asked_for)
    assert stale.status_code == 409
    assert sent(client, "/runs/o-1/skip", if_version=version, **asked_for).status_code == 303
    assert shop.sagas.run("o-1").state().step("reserve").status == "skipped"
    late = client.post(f"/api/completions/{token}", json={"result": "tea"})
    assert late.status_code in (409, 410)


def test_guesses_on_the_page_are_slowed_down_too(client: TestClient) -> None:
    """They count together with those of programs."""
    for n in range(15):
        client.post(f"/api/completions/x.{n}", json={"result": 1})
    csrf = csrf_of(client.get("/outside"))
    form = {"csrf": csrf, "how": "complete", "token": "x.y"}
    told = [client.post("/outside", data=form).status_code for _ in range(17)]
    assert told == [404] * 15 + [429] * 2


def test_few_are_found_among_many(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page reads so many runs, and says where to look further."""
    asked("o-1")
    for n in range(5):
        shop.running(f"r-{n}")
    monkeypatch.setattr(completions, "_AT_ONCE", 2)
    monkeypatch.setattr(completions, "_ROUNDS", 1)
    found, cursor = [], None
    for _ in range(10):
        told = client.get("/api/completions", params={"cursor": cursor} if cursor else {}).json()
        found += told["completions"]
        cursor = told["cursor"]
        if cursor is None:
            break
    assert [each["run_id"] for each in found] == ["o-1"]
    assert "Look further" in client.get("/outside").text
