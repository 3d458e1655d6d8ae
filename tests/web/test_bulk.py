"""One command for many runs over HTTP and on pages: look, confirm, and how far it has got.

Owns: the routes and forms.  Refuses to know: what is found and done, which `tests/app` looks at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.web import Role
from tests.app.test_bulks import swept
from tests.web import shop

if TYPE_CHECKING:
    from httpx2 import Response
    from starlette.testclient import TestClient

    from celeriac.store.memory import MemoryStore
    from tests.web.conftest import AsRole


def token(found: Response) -> str:
    """The token of a page's forms."""
    match = re.search(r'name="csrf" value="([^"]+)"', found.text)
    assert match
    return match[1]


def sent(client: TestClient, path: str, **fields: Any) -> Response:
    """The answer to a form, as the page of runs makes it."""
    csrf = token(client.get("/runs"))
    return client.post(path, data={"csrf": csrf, **fields})


def test_many_runs_are_retried_by_programs(client: TestClient) -> None:
    """A look has an id and a number; whoever starts it names both; progress can be asked for."""
    for n in range(3):
        shop.failed(f"o-{n}")
    asked = {"filter": {"status": ["failed"], "owed": True}, "reason": "bank is back", "rps": 1000}
    look = client.post("/api/bulk/retry", json=asked)
    assert look.status_code == 201
    told = look.json()
    assert (told["state"], told["matched"], told["about"]) == ("looked", 3, "status failed, owed")
    path = f"/api/bulk/{told['id']}"
    assert {each["outcome"] for each in client.get(f"{path}/runs").json()["runs"]} == {None}
    refused = client.post(f"{path}/start", json={"expected": 2})
    assert (refused.status_code, refused.json()["reason"]) == (409, "other_count")
    assert client.post(f"{path}/start", json={"expected": 3}).status_code == 202
    assert client.post(f"{path}/start", json={"expected": 3}).status_code == 202
    swept(shop.sagas.bulk_named(told["id"]))
    done = client.get(path).json()
    assert (done["state"], done["changed"], done["left"]) == ("done", 3, 0)
    first = client.get(f"{path}/runs", params={"limit": 2}).json()
    rest = client.get(f"{path}/runs", params={"limit": 2, "cursor": first["cursor"]}).json()
    found = [*first["runs"], *rest["runs"]]
    assert {each["run_id"]: each["outcome"] for each in found} == dict.fromkeys(
        ("o-0", "o-1", "o-2"), "changed"
    )
    assert rest["cursor"] is None
    assert [each["id"] for each in client.get("/api/bulk").json()["bulks"]] == [told["id"]]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("retry", {}, 422),
        ("retry", {"filter": {}}, 422),
        ("retry", {"filter": {"q": "x"}}, 422),
        ("retry", {"filter": {"saga": "x"}, "runs": ["a"]}, 422),
        ("retry", {"runs": ["a"], "rps": 0}, 422),
        ("signal", {"filter": {"saga": "x"}}, 405),
        ("terminate", {"filter": {"saga": "x"}}, 422),
        ("bulk-0/start", {"expected": 1}, 404),
        ("bulk-0/stop", {}, 404),
    ],
)
def test_what_makes_no_sense_is_refused(
    client: TestClient, path: str, body: Any, status: int
) -> None:
    """With nothing kept and nothing done."""
    assert client.post(f"/api/bulk/{path}", json=body).status_code == status
    assert client.get("/api/bulk").json() == {"bulks": []}


def test_only_an_administrator_abandons_many(as_role: AsRole) -> None:
    """Neither the look nor the start nor the stop is for an operator."""
    shop.running("r-0")
    asked = {"filter": {"saga": "place_order"}, "reason": "gone"}
    look = as_role(Role.ADMIN).post("/api/bulk/terminate", json=asked).json()
    operator = as_role(Role.OPERATOR)
    assert operator.post("/api/bulk/terminate", json=asked).status_code == 403
    for verb, body in (("start", {"expected": 1}), ("stop", {})):
        for prefix in ("/api/bulk", "/bulk"):
            fields = {"json": body} if prefix == "/api/bulk" else {"data": _form(operator, body)}
            found = operator.post(f"{prefix}/{look['id']}/{verb}", **fields)
            assert found.status_code == 403
    form = _form(operator, {"verb": "terminate", "filter.saga": "place_order", "reason": "x"})
    assert operator.post("/bulk", data=form).status_code == 403
    assert "<option>terminate" not in operator.get("/runs").text
    assert operator.get(f"/bulk/{look['id']}").text.count("<form") == 0
    assert shop.sagas.bulk_named(look["id"]).state().state == "looked"


def _form(client: TestClient, fields: dict[str, Any]) -> dict[str, Any]:
    return {"csrf": token(client.get("/runs")), **fields}


def test_people_look_confirm_and_watch(client: TestClient) -> None:
    """By forms alone: the filter of the page, a number and the runs, then how far it has got."""
    for n in range(3):
        shop.failed(f"o-{n}")
    listed = client.get("/runs?status=failed&saga=place_order")
    assert 'name="filter.status" value="failed"' in listed.text
    fields = {"filter.status": "failed", "filter.saga": "place_order", "rps": "1000"}
    found = sent(client, "/bulk", verb="retry", which="all", reason="bank <b>", **fields)
    assert found.status_code == 303
    path = found.headers["Location"]
    page = client.get(path)
    assert "Retry 3 runs?" in page.text
    assert "Nothing has been done yet" in page.text
    assert "bank &lt;b&gt;" in page.text
    assert 'href="/runs/o-1"' in page.text
    refused = sent(client, f"{path}/start", expected="2")
    assert refused.status_code == 409
    assert "is for 3 runs, not 2" in refused.text
    assert sent(client, f"{path}/start", expected="3").status_code == 303
    going = client.get(path).text
    assert 'data-live="2"' in going
    assert "0 of 3" in going
    shop.sagas.run("o-1").waive("charge", "was first", by="eve")
    swept(shop.sagas.bulk_named(path.rpartition("/")[2]))
    done = client.get(path).text
    assert "3 of 3" in done
    only = client.get(f"{path}?only=refused").text
    assert 'href="/runs/o-1"' in only
    assert 'href="/runs/o-0"' not in only
    assert "Retry 3" in client.get("/bulk").text


def test_people_pick_some_and_stop(client: TestClient) -> None:
    """Only those that were ticked; a command that goes on can be stopped."""
    for n in range(3):
        shop.failed(f"o-{n}")
    nothing = sent(client, "/bulk", verb="retry", which="picked")
    assert (nothing.status_code, "no run was picked" in nothing.text) == (422, True)
    fields = {"run": ["o-0", "o-2"], "filter.status": "failed", "rps": "0.1"}
    path = sent(client, "/bulk", verb="cancel", which="picked", **fields).headers["Location"]
    assert "Cancel 2 runs?" in client.get(path).text
    sent(client, f"{path}/start", expected="2")
    assert "Stop" in client.get(path).text
    assert sent(client, f"{path}/stop").status_code == 303
    assert "stopped" in client.get(path).text
    assert {run.status for run in shop.sagas.runs()} == {"failed"}


@pytest.mark.parametrize("path", ["/bulk", "/bulk/none/start", "/bulk/none/stop"])
def test_a_form_of_another_site_does_nothing(client: TestClient, path: str) -> None:
    """Each form has the token of its browser."""
    shop.failed("o-1")
    client.get("/runs")
    fields = {"verb": "retry", "filter.saga": "place_order", "expected": "1", "csrf": "x" * 32}
    found = client.post(path, data=fields)
    assert (found.status_code, "too old" in found.text) == (403, True)
    assert shop.sagas.bulks() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"verb": "skip", "filter.saga": "x"},
        {"verb": "retry"},
        {"verb": "retry", "filter.q": "x"},
        {"verb": "retry", "filter.saga": "x", "rps": "fast"},
    ],
)
def test_a_form_that_makes_no_sense_is_refused(client: TestClient, fields: dict[str, str]) -> None:
    """With a page that says what is wrong."""
    assert sent_from_runs(client, fields).status_code == 422
    assert shop.sagas.bulks() == []


def sent_from_runs(client: TestClient, fields: dict[str, str]) -> Response:
    """The answer to a form for many runs, where there is a run to have the form beside."""
    shop.failed("o-1")
    return sent(client, "/bulk", which="all", **fields)


def test_filters_stand_in_every_link(client: TestClient, store: MemoryStore) -> None:  # noqa: ARG001
    """Also to the next page, with what the address needs quoted."""
    for n in range(3):
        shop.ping.start(id=f"p-{n}", tags={"shop": "a&b=c"})
    found = client.get("/runs", params={"tag": "shop:a&b=c", "limit": "2"}).text
    more = re.search(r'rel="next" href="([^"]+)"', found)
    assert more
    text = client.get(more[1].replace("&amp;", "&")).text
    assert 'href="/runs/p-0"' in text
    assert 'name="filter.tag" value="shop:a&amp;b=c"' in text
