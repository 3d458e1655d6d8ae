"""Attacks on the pages and the HTTP API: each is tried at every route where it could work.

Owns: trying them.  Refuses to know: who may do what (`test_access.py`), ids in addresses
(`test_ids.py`), and whether a token is guessed (`test_completions.py`).
"""

from __future__ import annotations

import http.client
import logging
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from celeriac.web import Account, Caller, Role, create_app, serve
from celeriac.web.guards import HEADERS
from tests.in_memory import ask_outside, fail
from tests.web import shop
from tests.web.test_access import NOTHING, TABLE
from tests.web.test_pages import HOSTILE, Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.store.memory import MemoryStore

NO_PAGES = ("/api", "/health", "/openapi.json", "/static")
PAGES = [path for method, path in TABLE if method == "GET" and not path.startswith(NO_PAGES)]
FORMS = [path for method, path in TABLE if method == "POST" and not path.startswith("/api")]


@pytest.fixture
def hostile(client: TestClient) -> dict[str, str]:  # noqa: ARG001 -- it is the shop's
    """One hostile string in every field that runs and commands can hold; what paths name."""
    run_id = HOSTILE
    shop.place_order.start(
        shop.Order(sku=HOSTILE, card=HOSTILE), id=run_id, tags={HOSTILE: HOSTILE}
    )
    run = shop.sagas.run(run_id)
    run.pause(HOSTILE, by=HOSTILE)
    run.resume(HOSTILE, by=HOSTILE)
    fail(shop.sagas, run_id, "reserve", text=HOSTILE)
    shop.expense.start(HOSTILE, 7, HOSTILE, id=HOSTILE + "2")
    shop.place_order.start(shop.Order(sku=HOSTILE), id=HOSTILE + "3")
    ask_outside(shop.sagas, HOSTILE + "3", "reserve")
    bulk = shop.sagas.bulk("retry", tags={HOSTILE: HOSTILE}, reason=HOSTILE, by=HOSTILE)
    bulk.start(bulk.state().matched, by=HOSTILE)
    bulk.stop(by=HOSTILE)
    return {
        **NOTHING,
        "run_id": quote(run_id, safe=""),
        "bulk_id": bulk.id,
        "name": "nightly",
        "step": "verdict",
    }


@pytest.mark.parametrize("path", PAGES)
def test_no_string_becomes_html(client: TestClient, hostile: dict[str, str], path: str) -> None:
    """Whatever a run, a command or an address holds: no script, no handler, no frame of its own."""
    if path.startswith("/approvals/"):
        hostile["run_id"] = quote(HOSTILE + "2", safe="")
    asked = {"step": "reserve", "done": HOSTILE} if path != "/runs" else {"tag": f"a:{HOSTILE}"}
    page = Page(client.get(path.format_map(hostile), params=asked).text)
    tags = [tag for tag, _ in page.elements]
    assert not {"iframe", "object", "embed", "base", "style"} & set(tags)
    scripts = [known for tag, known in page.elements if tag == "script"]
    assert [known["src"].partition("?")[0] for known in scripts] == ["/static/live.js"]
    for _, known in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in known)
        for name in ("href", "src", "action"):
            assert not known.get(name, "").lower().startswith(("javascript:", "data:", "//"))


@pytest.mark.parametrize(("method", "path"), TABLE, ids=lambda part: part)
def test_no_answer_can_be_framed_or_sniffed_and_few_are_kept(
    client: TestClient, method: str, path: str
) -> None:
    """Each answer says so to the browser, also one that refuses."""
    if path.endswith("/events"):
        path = path.replace("{run_id}", "none")  # which is not found: no stream
    headers = client.request(method, path.format_map(NOTHING)).headers
    for name, value in HEADERS.items():
        expected = "no-referrer" if name == "Referrer-Policy" and "compl" in path else value
        assert headers[name] == expected
    # Style and script are those of every installation, and may be kept.
    kept = "max-age=86400" if path.startswith("/static") else "no-store"
    assert headers["Cache-Control"] == kept
    assert "Server" not in headers


@pytest.mark.parametrize("path", ["/runs/o-1", "/api/runs/o-1"])
def test_an_error_that_nobody_foresaw_is_guarded_too(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Its headers are those of every answer, its text is told nobody, and people get a page."""

    def broken(*_: Any) -> None:
        raise RuntimeError(shop.SECRET)

    monkeypatch.setattr(shop.sagas, "run", broken)
    found = client.get(path)
    assert found.status_code == 500
    assert {name: found.headers[name] for name in HEADERS} == HEADERS
    assert found.headers["Cache-Control"] == "no-store"
    assert shop.SECRET not in found.text
    kind = "application/problem+json" if path.startswith("/api/") else "text/html; charset=utf-8"
    assert found.headers["Content-Type"] == kind
    with pytest.raises(RuntimeError):  # whoever serves us hears of it
        TestClient(client.app).get(path)


def test_a_login_that_breaks_is_guarded_too(store: MemoryStore) -> None:  # noqa: ARG001
    """Nobody can say who would see the page, so there is none."""

    def broken(_: Any) -> None:
        raise RuntimeError(shop.SECRET)

    app = create_app(shop.sagas, identify=broken)
    found = TestClient(app, raise_server_exceptions=False).get("/runs")
    assert (found.status_code, found.json()["code"]) == (500, "unforeseen")
    assert {name: found.headers[name] for name in HEADERS} == HEADERS


def test_a_form_that_is_too_large_is_told_so(client: TestClient) -> None:
    """Also one that does not say how large it is."""
    parts = (b"x" * 1_000_000 for _ in range(20))
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    found = client.post("/outside", content=parts, headers=sent)
    assert (found.status_code, found.headers["Cache-Control"]) == (413, "no-store")


@pytest.mark.parametrize("root", ["", "/static", "/health"])
def test_the_name_of_a_run_is_no_folder(store: MemoryStore, root: str) -> None:  # noqa: ARG001
    """A run may be called `static`, and all of it be mounted there: only our files are kept."""
    inner = create_app(shop.sagas, identify=lambda _: Caller("ada", Role.ADMIN))
    app = Starlette(routes=[Mount(root, inner)]) if root else inner
    client = TestClient(app, raise_server_exceptions=False)
    shop.running("static")
    for path in ("/runs/static/history", "/api/runs/static/history", "/api/runs/static"):
        found = client.get(root + path)
        assert (found.status_code, found.headers["Cache-Control"]) == (200, "no-store")
    assert client.get(f"{root}/static/style.css").headers["Cache-Control"] == "max-age=86400"


def test_only_probes_are_let_in_under_any_name(store: MemoryStore) -> None:  # noqa: ARG001
    """A run that is called `health` is no probe."""
    client = TestClient(create_app(shop.sagas), base_url="http://evil.example", client=("::1", 1))
    assert client.get("/health/live").status_code == 200
    assert client.get("/api/runs/health/history").json()["code"] == "local_only"


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("token", [None, "", "y" * 32, "é" * 32])
def test_no_form_of_another_site_counts(
    client: TestClient, hostile: dict[str, str], path: str, token: str | None
) -> None:
    """Without the token of this browser nothing is done, whatever else is right."""
    client.cookies.set("celeriac_csrf", "x" * 32)
    versions = {run.id: run.state().run_version for run in shop.sagas.runs()}
    fields = {"if_version": "1", "reason": "x", "verb": "retry", "which": "all", "expected": "1"}
    form = fields if token is None else {**fields, "csrf": token}
    found = client.post(path.format_map(hostile), data=form)
    assert (found.status_code, "nothing was done" in found.text) == (403, True)
    assert {run.id: run.state().run_version for run in shop.sagas.runs()} == versions


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/",
        "//evil.example/%2e%2e",
        "/\\evil.example/",
        "/runs/",
        "/%0d%0aSet-Cookie:%20a=b/",
        "/approvals?done=%0d%0aSet-Cookie:%20a=b",
        "/runs/x?done=%0d%0aX-Evil:%201",
    ],
)
def test_no_address_leads_elsewhere_or_adds_a_header(client: TestClient, path: str) -> None:
    """A redirect stays at this server, and nothing of an address stands in a header by itself."""
    found = client.get(path)
    assert found.status_code in (200, 307, 404)
    goal = urlsplit(found.headers.get("Location", "/"))
    assert goal.netloc in ("", "testserver")
    assert not found.headers.get("Location", "/").startswith("//")
    assert "X-Evil" not in found.headers
    assert "a=b" not in found.headers.get("Set-Cookie", "")


@pytest.mark.parametrize(
    "cookie", ["x" * 100_000, 'x"; Path=/; x="', "\x01" * 32, "a" * 32 + "%0d%0aX: y"]
)
def test_a_made_up_cookie_does_no_harm(client: TestClient, cookie: str) -> None:
    """It is compared, and never sent back in a header."""
    found = client.get("/runs", headers={"Cookie": f"celeriac_csrf={quote(cookie)}"})
    assert found.status_code == 200
    assert "X" not in found.headers


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, store: MemoryStore) -> Iterator[int]:  # noqa: ARG001
    """The port of a server as `saga ui` starts it, with everything logged that it can log."""
    configs: list[uvicorn.Config] = []

    def note(server: uvicorn.Server) -> None:
        configs.append(server.config)

    with monkeypatch.context() as patched:
        patched.setattr(uvicorn.Server, "run", note)
        serve(create_app(shop.sagas, accounts={"ada": Account("x", Role.ADMIN)}), "127.0.0.1", 0)
    server = uvicorn.Server(configs[0])
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(60)


def test_no_token_or_password_is_logged(served: int, caplog: pytest.LogCaptureFixture) -> None:
    """Neither one that is right nor one that is wrong, wherever it stands in a request."""
    shop.place_order.start(shop.Order(sku="tea"), id="o-1")
    token = ask_outside(shop.sagas, "o-1", "reserve")
    secrets = [token, token.partition(".")[2], "sesame"]
    caplog.set_level(logging.DEBUG)
    asked: list[tuple[str, dict[str, str]]] = [
        (f"/api/completions/{token}x", {}),
        ("/api/completions", {"Saga-Token": token + "x"}),
        (f"/api/completions/{token}", {}),
        (f"/api/runs?code={token}", {"Authorization": "Basic YWRhOnNlc2FtZQ=="}),
    ]
    statuses = []
    for path, headers in asked:
        connection: Any = http.client.HTTPConnection("127.0.0.1", served, timeout=60)
        body = '{"result": "tea"}'
        connection.request(
            "POST", path, body, {"Content-Type": "application/json", "Host": "127.0.0.1", **headers}
        )
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        statuses.append(answer.status)
        assert not any(secret in text for secret in secrets)
        assert answer.headers["Server"] is None
    assert statuses == [404, 404, 200, 401]
    told = [record.getMessage() for record in caplog.records]
    assert not any(secret in each for each in told for secret in secrets)


@pytest.mark.parametrize("origin", ["http://[::1", "http://", "null", "["])
def test_an_origin_that_is_no_address_is_another(client: TestClient, origin: str) -> None:
    """It is refused as any other, before anything reads it."""
    found = client.post("/api/runs", json={"saga": "ping"}, headers={"Origin": origin})
    assert (found.status_code, found.json()["code"]) == (403, "other_origin")


@pytest.mark.parametrize("field", ["saga", "failed_step", "code", "tag"])
def test_half_of_a_character_finds_no_runs(client: TestClient, field: str) -> None:
    """JSON may hold it, and no store: it is refused before anybody is asked."""
    half = '"x:\\ud800"'
    body = f'{{"filter": {{"{field}": {f"[{half}]" if field == "tag" else half}}}}}'
    sent = {"Content-Type": "application/json"}
    assert client.post("/api/bulk/cancel", content=body, headers=sent).status_code == 422


def test_a_plan_to_no_step_is_refused(client: TestClient) -> None:
    """An empty name is none."""
    shop.failed("o-1")
    assert client.get("/api/runs/o-1/undo-plan?to=").status_code == 422
