"""Ids of any form: each is found at every route, and by every link and button of the pages.

Owns: walking the routes, and following what stands on pages.  Refuses to know: what they answer to
an id of a usual form.

No run is started any more with a slash in its id; those of earlier versions are found all the same.
"""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import quote

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from celeriac import InputInvalid
from celeriac.app import starting
from celeriac.web import Caller, Role, create_app
from tests.in_memory import keep_in_memory
from tests.web import shop

IDS = [
    "2026/11/order 42",
    "/",
    "//evil.example/x",
    "a/history",
    "../../etc/passwd",
    "100%",
    "a:b;c=d&e?f#g",
    "مرحبا بالعالم",
    "a\\b",
    "\"><script>alert('1')</script>",
    "日本語-№1",
    "javascript:alert(1)",
    "~" * 200,
]


@pytest.fixture(params=["", "/sagas"])
def served(request: pytest.FixtureRequest) -> TestClient:
    """An operator's client of an application that is served alone, or mounted."""
    keep_in_memory(shop.sagas)
    app = create_app(shop.sagas, identify=lambda _: Caller("ada", Role.ADMIN))
    base = f"http://testserver{request.param}"
    whole = Starlette(routes=[Mount(request.param, app)]) if request.param else app
    return TestClient(whole, base_url=base, follow_redirects=False)


@pytest.fixture
def slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are started as by a version that let their ids hold a slash."""
    monkeypatch.setattr(starting, "checked_id", lambda run_id: run_id)


@pytest.mark.usefixtures("slashes")
@pytest.mark.parametrize("run_id", IDS)
def test_an_id_is_one_segment_at_every_route(served: TestClient, run_id: str) -> None:
    """For programs, who have to quote it."""
    shop.running(run_id)
    path = f"/api/runs/{quote(run_id, safe='')}"
    assert served.get(path).json()["id"] == run_id
    for part in ("history", "graph.svg", "undo-plan"):
        assert served.get(f"{path}/{part}").status_code == 200, part
    for verb, body in (
        ("pause", {}),
        ("resume", {}),
        ("skip", {"step": "charge", "result": "x"}),
        ("signal", {"name": "none"}),
        ("waive", {"step": "charge", "reason": "x"}),
        ("retry", {}),
        ("cancel", {}),
        ("fork", {"at": "reserve"}),
        ("terminate", {"reason": "x"}),
    ):
        found = served.post(f"{path}/{verb}", json=body)
        assert found.status_code in (200, 409), (verb, found.text)
    assert shop.sagas.run(run_id).status == "terminated"
    assert served.get(f"/api/runs/{quote('no' + run_id, safe='')}").json()["code"] == (
        "run_not_found"
    )


@pytest.mark.usefixtures("slashes")
@pytest.mark.parametrize("run_id", IDS)
def test_every_link_and_button_leads_to_the_run(served: TestClient, run_id: str) -> None:
    """Those of the list, of its page, of what many runs get, and of what it asks."""
    shop.asking(run_id)
    quoted = quote(run_id, safe="")
    root = served.base_url.path.rstrip("/")
    page = served.get(f"/runs/{quoted}")
    assert f"<bdi>{_shown(run_id)}</bdi>" in page.text
    for path in ("/runs", "/approvals", f"/runs/{quoted}", f"/runs/{quoted}/history"):
        text = served.get(path).text
        links = [
            unescape(each) for each in re.findall(r'(?:href|action|data-events)="([^"]*)"', text)
        ]
        assert any(quoted in each for each in links), path
        for each in links:
            assert each.startswith((root + "/", "#")), each
            assert not each.startswith("//")
            if quoted in each and not each.endswith("events") and "_" not in each:
                inner = each.removeprefix(root).partition("#")[0]
                assert served.get(inner).status_code in (200, 405), each
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]
    version = re.findall(r'name="if_version" value="(\d+)"', page.text)[0]
    form = {"csrf": csrf, "if_version": version, "reason": "x"}
    found = served.post(f"/runs/{quoted}/cancel", data=form)
    assert (found.status_code, found.headers["Location"]) == (
        303,
        f"{root}/runs/{quoted}?done=cancel",
    )
    assert shop.sagas.run(run_id).status == "compensated"


def _shown(run_id: str) -> str:
    """An id as a page spells it."""
    for char, spelled in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&#34;"),
        ("'", "&#39;"),
    ):
        run_id = run_id.replace(char, spelled)
    return run_id


@pytest.mark.usefixtures("slashes")
@pytest.mark.parametrize("run_id", ["%2F", "a/b", "a%2Fb", "%25", "..%2f..", "مرحبا/42"])
def test_a_server_is_asked_for_the_very_id(address: str, run_id: str) -> None:
    """Over a connection: what is quoted twice is decoded once."""
    for each in ("%2F", "a/b", "a%2Fb", "%25", "..%2f..", "مرحبا/42"):
        shop.ping.start(id=each)
    found = httpx2.get(f"{address}/api/runs/{quote(run_id, safe='')}")
    assert found.json()["id"] == run_id


@pytest.mark.parametrize("run_id", [".", "..", "a/b"])
def test_an_id_that_no_address_can_hold_is_refused(served: TestClient, run_id: str) -> None:
    """Every browser takes it for a folder, however it is quoted."""
    with pytest.raises(InputInvalid, match="folder"):
        shop.ping.start(id=run_id)
    assert served.post("/api/runs", json={"saga": "ping", "id": run_id}).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2F..%2Faccess.py",
        "/static/%2e%2e/%2e%2e/access.py",
        "/static/..%5C..%5Caccess.py",
        "/static/%2Fetc%2Fpasswd",
        "/static//etc/passwd",
        "/static/%00",
        "/runs/%00",
        "/static/",
        "/static/../templates/frame.html",
    ],
)
def test_no_path_leads_out_of_the_static_files(served: TestClient, path: str) -> None:
    """However it is spelled."""
    found = served.get(path)
    assert found.status_code == 404
    assert "root:" not in found.text
