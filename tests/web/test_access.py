"""Who may do what: each role at each route, and each way to be somebody.

Owns: the table role x route, logins, and what is let in without one.  Refuses to know: what the
routes answer to those who may.  This file is long because of the table, which has a line for each
route.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from celeriac import ConfigurationError
from celeriac.doctor import Report
from celeriac.web import (
    Account,
    Caller,
    Role,
    TrustedProxy,
    create_app,
    read_accounts,
    site,
)
from celeriac.web.login import Login
from celeriac.web.server import serve
from tests.web import shop
from tests.web.test_pages import Page

if TYPE_CHECKING:
    from celeriac.store.memory import MemoryStore
    from tests.web.conftest import AsRole

EVERYBODY = frozenset({"nobody", *Role})
LOOKING = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
ACTING = frozenset({Role.OPERATOR, Role.ADMIN})
ANSWERING = frozenset({Role.APPROVER, Role.OPERATOR, Role.ADMIN})
ADMINISTERING = frozenset({Role.ADMIN})

#: Who is let through, at each route there is.
TABLE = {
    ("GET", "/openapi.json"): EVERYBODY,  # it is that of every installation, and names no saga
    ("GET", "/static/{path}"): EVERYBODY,  # style and script of the page that says: log in first
    ("GET", "/health/live"): EVERYBODY,
    ("GET", "/health/ready"): EVERYBODY,
    ("GET", "/health/circuits"): EVERYBODY,
    ("GET", "/api/breakers"): LOOKING,
    ("GET", "/api/breakers/{name}"): LOOKING,
    ("POST", "/api/breakers/{name}/open"): ADMINISTERING,
    ("POST", "/api/breakers/{name}/close"): ADMINISTERING,
    ("GET", "/api/runs"): LOOKING,
    ("GET", "/api/runs/{run_id}"): LOOKING,
    ("GET", "/api/runs/{run_id}/history"): LOOKING,
    ("GET", "/api/runs/{run_id}/graph.svg"): LOOKING,
    ("GET", "/api/runs/{run_id}/undo-plan"): LOOKING,
    ("GET", "/api/runs/{run_id}/events"): LOOKING,
    ("GET", "/api/sagas"): LOOKING,
    ("GET", "/api/sagas/{name}"): LOOKING,
    ("GET", "/api/stats"): LOOKING,
    ("GET", "/api/throughput"): LOOKING,
    ("GET", "/api/durations"): LOOKING,
    ("GET", "/api/workers"): LOOKING,
    ("GET", "/api/servers"): LOOKING,
    ("GET", "/api/doctor"): LOOKING,
    ("GET", "/runs/{run_id}/history"): LOOKING,
    ("GET", "/api/completions"): LOOKING,
    ("GET", "/outside"): LOOKING,
    ("POST", "/outside"): ACTING,
    ("GET", "/api/approvals"): ANSWERING,
    ("GET", "/approvals"): ANSWERING,
    ("GET", "/approvals/{run_id}/{step}"): ANSWERING,
    ("POST", "/approvals/{run_id}/{step}"): ANSWERING,
    ("POST", "/api/completions"): EVERYBODY,  # the token is the right
    ("POST", "/api/completions/{token}"): EVERYBODY,
    ("POST", "/api/runs"): ACTING,
    ("POST", "/api/runs/{run_id}/cancel"): ACTING,
    ("POST", "/api/runs/{run_id}/retry"): ACTING,
    ("POST", "/api/runs/{run_id}/waive"): ACTING,
    ("POST", "/api/runs/{run_id}/pause"): ACTING,
    ("POST", "/api/runs/{run_id}/resume"): ACTING,
    ("POST", "/api/runs/{run_id}/rewind"): ACTING,
    ("POST", "/api/runs/{run_id}/skip"): ACTING,
    ("POST", "/api/runs/{run_id}/fork"): ACTING,
    ("POST", "/api/runs/{run_id}/signal"): ANSWERING,
    ("POST", "/api/runs/{run_id}/terminate"): ADMINISTERING,
    ("GET", "/api/schedules"): LOOKING,
    ("GET", "/api/schedules/{name}"): LOOKING,
    ("POST", "/api/schedules/{name}/pause"): ACTING,
    ("POST", "/api/schedules/{name}/resume"): ACTING,
    ("POST", "/api/schedules/{name}/trigger"): ACTING,
    ("POST", "/api/schedules/{name}/delete"): ACTING,
    ("GET", "/api/bulk"): LOOKING,
    ("GET", "/api/bulk/{bulk_id}"): LOOKING,
    ("GET", "/api/bulk/{bulk_id}/runs"): LOOKING,
    ("POST", "/api/bulk/cancel"): ACTING,
    ("POST", "/api/bulk/retry"): ACTING,
    ("POST", "/api/bulk/pause"): ACTING,
    ("POST", "/api/bulk/resume"): ACTING,
    ("POST", "/api/bulk/terminate"): ADMINISTERING,
    ("POST", "/api/bulk/{bulk_id}/start"): ACTING,
    ("POST", "/api/bulk/{bulk_id}/stop"): ACTING,
    ("GET", "/bulk"): LOOKING,
    ("GET", "/bulk/{bulk_id}"): LOOKING,
    ("POST", "/bulk"): ACTING,
    ("POST", "/bulk/{bulk_id}/start"): ACTING,
    ("POST", "/bulk/{bulk_id}/stop"): ACTING,
    ("GET", "/schedules"): LOOKING,
    ("GET", "/breakers"): LOOKING,
    ("GET", "/breakers/{name}"): LOOKING,
    ("POST", "/breakers/{name}/open"): ADMINISTERING,
    ("POST", "/breakers/{name}/close"): ADMINISTERING,
    ("POST", "/schedules/{name}/pause"): ACTING,
    ("POST", "/schedules/{name}/resume"): ACTING,
    ("POST", "/schedules/{name}/trigger"): ACTING,
    ("POST", "/schedules/{name}/delete"): ACTING,
    ("GET", "/"): LOOKING,
    ("GET", "/runs"): LOOKING,
    ("GET", "/runs/{run_id}"): LOOKING,
    ("GET", "/sagas"): LOOKING,
    ("GET", "/sagas/{name}"): LOOKING,
    ("POST", "/sagas/{name}"): ACTING,
    ("GET", "/system"): LOOKING,
    ("POST", "/runs/{run_id}/cancel"): ACTING,
    ("POST", "/runs/{run_id}/retry"): ACTING,
    ("POST", "/runs/{run_id}/waive"): ACTING,
    ("POST", "/runs/{run_id}/pause"): ACTING,
    ("POST", "/runs/{run_id}/resume"): ACTING,
    ("POST", "/runs/{run_id}/rewind"): ACTING,
    ("POST", "/runs/{run_id}/skip"): ACTING,
    ("POST", "/runs/{run_id}/terminate"): ADMINISTERING,
}


#: What stands in the place of what a path names.
NOTHING = {
    **dict.fromkeys(("run_id", "name", "step", "bulk_id"), "none"),
    "token": "x.y",
    "path": "style.css",
}


@pytest.fixture(autouse=True)
def _nothing_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor is not kept waiting by workers that are not there."""
    monkeypatch.setattr(site, "examine", lambda _: Report(()))


def routes(app: Any) -> set[tuple[str, str]]:
    """Every method and path that an application serves, described or not."""
    found = set()
    for each in app.routes:
        included = getattr(each, "original_router", None)
        if included is not None:
            found |= routes(included)
        elif isinstance(each, Mount):
            found.add(("GET", f"{each.path}/{{path}}"))
        else:
            found |= {(method, each.path) for method in each.methods - {"HEAD"}}
    return found


def test_the_table_is_complete() -> None:
    """A new route has to say who may use it."""
    app = create_app(shop.sagas)
    assert routes(app) == set(TABLE)
    described = {(m.upper(), path) for path, each in app.openapi()["paths"].items() for m in each}
    assert described <= set(TABLE)


@pytest.mark.parametrize("role", sorted(EVERYBODY))
@pytest.mark.parametrize(("method", "path"), TABLE, ids=lambda part: part)
def test_each_role_at_each_route(as_role: AsRole, method: str, path: str, role: str) -> None:
    """Who may not is told so before anything else: 401 for nobody, 403 for the wrong role."""
    if role == "nobody":
        app = create_app(shop.sagas, accounts={"ada": Account("x", Role.ADMIN)})
        client = TestClient(app)
    else:
        client = as_role(Role(role))
    # There is no such run, so whoever is let through gets 404 (or 422 for what is missing).
    client.cookies.set("celeriac_csrf", "x" * 32)
    form = {"csrf": "x" * 32} if not path.startswith(("/api", "/health")) else None
    found = client.request(method, path.format_map(NOTHING), data=form)
    if role in TABLE[method, path]:
        assert found.status_code in (200, 404, 422)
    else:
        assert found.status_code == (401 if role == "nobody" else 403)
        assert ("log in first" if role == "nobody" else f"{role} is {role} here") in found.text


def test_a_viewer_sees_payloads_only_where_that_is_set(
    as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs, results and arguments are for those who act, tracebacks for nobody by default."""
    shop.failed("o-1")
    client = as_role(Role.VIEWER)
    found = client.get("/api/runs/o-1", params={"payloads": True})
    assert (found.status_code, found.json()["code"]) == (403, "payloads_hidden")
    shop.completed("o-2")
    assert "inputs" not in client.get("/api/runs/o-2/undo-plan").json()["steps"][0]
    monkeypatch.setitem(shop.app.conf, "saga_web_payloads", True)
    shown = client.get("/api/runs/o-1", params={"payloads": True}).json()["payloads"]
    assert "bank.py, line 7" in shown["err:charge"]["traceback"]
    assert "inputs" in client.get("/api/runs/o-2/undo-plan").json()["steps"][0]


def test_what_is_to_be_hidden_is_found_in_no_answer(
    as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field of `saga_redact` is hidden by its name, and its value where an error quotes it."""
    monkeypatch.setitem(shop.app.conf, "saga_redact", ("Card",))
    monkeypatch.setitem(shop.app.conf, "saga_web_payloads", True)
    shop.failed("o-1")
    shop.completed("o-2")
    client = as_role(Role.ADMIN)
    looks = [path for method, path in TABLE if method == "GET" and not path.endswith("events")]
    paths = [path for path in looks if path != "/runs"]  # refuses what it does not know
    named = {"name": "place_order", "step": "charge"}
    texts = [
        client.get(path.format_map({**NOTHING, **named, "run_id": run_id}), params=asked).text
        for path in paths
        for run_id in ("o-1", "o-2")
        for asked in ({}, {"payloads": True})
    ]
    assert [text for text in texts if shop.SECRET in text] == []
    assert sum("•••" in text for text in texts) >= 3
    asked = {"saga": "place_order", "input": {"sku": "pen"}, "id": "o-2"}
    assert shop.SECRET not in client.post("/api/runs", json=asked).text


# --- logging in --------------------------------------------------------------------------------


def basic(name: str, password: str) -> dict[str, str]:
    """The header of a name and a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def accounts(store: MemoryStore) -> dict[str, Account]:  # noqa: ARG001 -- it is the shop's
    """Two people with passwords."""
    return read_accounts(["# people", "", "ada:pass:word:admin", "bob:béer:viewer"])


def test_a_password_makes_somebody(accounts: dict[str, Account]) -> None:
    """It may hold colons and letters of any language."""
    client = TestClient(create_app(shop.sagas, accounts=accounts))
    assert client.get("/api/runs", headers=basic("ada", "pass:word")).status_code == 200
    assert client.get("/api/runs", headers=basic("bob", "béer")).status_code == 200
    for headers in (
        basic("ada", "word"),
        basic("eve", ""),
        {"Authorization": "Basic ????"},
        {"Authorization": "Bearer pass:word"},
        {},
    ):
        found = client.get("/api/runs", headers=headers)
        assert found.status_code == 401
        assert found.headers["WWW-Authenticate"].startswith("Basic ")


def test_whoever_guesses_is_slowed_down(accounts: dict[str, Account]) -> None:
    """After ten wrong passwords in a minute an address is refused, even with the right one."""
    now = [0.0]
    client = TestClient(create_app(shop.sagas, accounts=accounts))
    client.app.state.site.login._guesses._clock = lambda: now[0]  # type: ignore[attr-defined]
    told = [client.get("/api/runs", headers=basic("ada", f"{n}")).status_code for n in range(1000)]
    assert told == [401] * 10 + [429] * 990
    found = client.get("/api/runs", headers=basic("ada", "pass:word"))
    assert found.status_code == 429
    now[0] += int(found.headers["Retry-After"])
    assert client.get("/api/runs", headers=basic("ada", "pass:word")).status_code == 200


@pytest.mark.parametrize(
    "lines", [["ada:word"], ["ada:word:boss"], [":x:admin"], [], ["a:b:viewer"] * 2]
)
def test_a_wrong_list_of_accounts_is_refused(lines: list[str]) -> None:
    """Nobody gets in by a line that was meant otherwise."""
    with pytest.raises(ConfigurationError, match="basic auth"):
        read_accounts(lines)


def test_a_proxy_is_believed_only_if_it_is_the_one(store: MemoryStore) -> None:  # noqa: ARG001
    """Its headers mean nothing when anybody else sends them."""
    proxy = TrustedProxy(("10.0.0.0/30",), role_header="X-Forwarded-Role")
    app = create_app(shop.sagas, proxy=proxy)

    def status(peer: str, **headers: str) -> int:
        client = TestClient(app, client=(peer, 1))
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get("/api/runs", headers=sent).status_code

    assert status("10.0.0.2", X_Forwarded_User="ada", X_Forwarded_Role="viewer") == 200
    assert status("10.0.0.2", X_Forwarded_User="ada", X_Forwarded_Role="approver") == 403
    assert status("10.0.0.2", X_Forwarded_User="ada", X_Forwarded_Role="boss") == 401
    assert status("10.0.0.2", X_Forwarded_Role="admin") == 401
    assert status("10.0.0.9", X_Forwarded_User="ada", X_Forwarded_Role="admin") == 401
    with pytest.raises(ConfigurationError, match="proxy"):
        TrustedProxy(("proxy.internal",))


def test_the_application_may_know_who_it_is(store: MemoryStore) -> None:  # noqa: ARG001
    """One hook, for whatever login an application has; its word counts first."""

    def identify(request: Any) -> Caller | None:
        name = request.headers.get("X-Session")
        return Caller(name, Role.OPERATOR) if name else None

    client = TestClient(create_app(shop.sagas, identify=identify))
    assert client.get("/api/runs").status_code == 401
    assert "WWW-Authenticate" not in client.get("/api/runs").headers
    assert client.get("/api/runs", headers={"X-Session": "ada"}).status_code == 200


# --- without a login ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "base", "status"),
    [
        ("127.0.0.1", "http://localhost:5556", 200),
        ("127.0.0.1", "http://127.0.0.1", 200),
        ("::1", "http://[::1]:5556", 200),
        ("127.0.0.1", "http://evil.example", 403),
        ("127.0.0.1", "http://localhost.evil.example", 403),
        ("192.0.2.7", "http://localhost:5556", 403),
    ],
)
def test_without_a_login_only_this_machine_is_let_in(
    store: MemoryStore,  # noqa: ARG001
    peer: str,
    base: str,
    status: int,
) -> None:
    """The address and the name must both be loopback: a page of another site has another name."""
    client = TestClient(create_app(shop.sagas), base_url=base, client=(peer, 1))
    found = client.get("/api/runs")
    assert found.status_code == status
    assert status == 200 or found.json()["code"] == "local_only"
    assert client.get("/health/live").status_code == 200


def test_without_a_login_nothing_is_served_to_others() -> None:
    """A server that others reach does not even start."""
    with pytest.raises(ConfigurationError, match="without a login"):
        serve(create_app(shop.sagas), "0.0.0.0", 5556)  # noqa: S104


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Origin": "http://testserver"}, 202),
        ({"Origin": "https://ops.example"}, 202),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}, 202),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 202),
        ({"Sec-Fetch-Site": "none", "Origin": "http://evil.example"}, 403),
    ],
)
def test_a_page_of_another_site_cannot_act(
    store: MemoryStore,  # noqa: ARG001
    headers: dict[str, str],
    status: int,
) -> None:
    """A browser says where a request comes from, and sends passwords along unasked."""
    app = create_app(
        shop.sagas,
        identify=lambda _: Caller("ada", Role.ADMIN),
        origins=["https://ops.example"],
    )
    found = TestClient(app).post("/api/runs", json={"saga": "ping"}, headers=headers)
    assert found.status_code == status
    assert status == 202 or found.json()["code"] == "other_origin"


def test_a_form_of_another_site_is_no_json(as_role: AsRole) -> None:
    """What a plain HTML form can send is not taken for a command."""
    body = '{"saga": "ping"}'
    found = as_role(Role.ADMIN).post(
        "/api/runs", content=body, headers={"Content-Type": "text/plain"}
    )
    assert found.status_code == 422
    assert len(shop.sagas.runs()) == 0


def test_a_body_is_read_up_to_a_limit(as_role: AsRole) -> None:
    """Whether it says beforehand how long it is, or not."""
    client = as_role(Role.ADMIN)
    large = b"x" * (4 * 256 * 1024 + 64 * 1024 + 1)
    assert client.post("/api/runs", content=large).json()["code"] == "body_too_large"
    found = client.post(
        "/api/runs", content=iter([large]), headers={"Content-Type": "application/json"}
    )
    assert (found.status_code, found.json()["code"]) == (413, "body_too_large")


def test_every_answer_has_its_headers(as_role: AsRole) -> None:
    """Also one that refuses: no frame, nothing from elsewhere, nothing kept by a cache."""
    client = as_role(Role.VIEWER)
    for path in ("/api/runs", "/api/nothing", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


def test_mounted_in_another_application_it_is_as_safe(store: MemoryStore) -> None:  # noqa: ARG001
    """Guards and roles are the application's own, whoever mounts it."""
    app = Starlette(routes=[Mount("/sagas", create_app(shop.sagas))])
    local = TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1))
    assert local.get("/sagas/api/runs").status_code == 200
    assert local.get("/sagas/api/runs").headers["X-Frame-Options"] == "DENY"
    assert TestClient(app, client=("192.0.2.7", 1)).get("/sagas/api/runs").status_code == 403


def test_a_login_asks_if_there_is_one_way_in() -> None:
    """Whether a password, a proxy or a hook: then nobody is let in unasked."""
    assert not Login().asks
    assert Login(proxy=TrustedProxy(("10.0.0.1",))).asks
    assert not Login(proxy=TrustedProxy(("10.0.0.1",))).takes_passwords


def test_who_may_do_little_is_led_to_what_they_may(as_role: AsRole) -> None:
    """Also by the page that says so."""
    found = as_role(Role.APPROVER).get("/runs")
    assert found.status_code == 403
    leads = {k["href"] for tag, k in Page(found.text).elements if tag == "a"} - {"#main"}
    assert leads == {"/approvals"}
