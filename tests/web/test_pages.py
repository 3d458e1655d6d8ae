"""The pages, as a browser without JavaScript gets them.

Owns: what stands on each page, what its forms do, and that nothing on it is taken for HTML.
Refuses to know: how it looks.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from celeriac.views import draw
from celeriac.web import Account, Caller, Role, create_app
from celeriac.web.guards import POLICY
from celeriac.web.rendering import STATIC
from tests.web import shop

if TYPE_CHECKING:
    from celeriac.store.memory import MemoryStore
    from tests.web.conftest import AsRole

HOSTILE = "<script>alert(1)<script>\"'{{7*7}}"


class Page(HTMLParser):
    """What a page holds: its elements, its forms, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.forms: list[dict[str, Any]] = []
        self.text = ""
        self._form: dict[str, Any] | None = None
        self._textarea = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; a field belongs to the form around it."""
        known = {name: value or "" for name, value in attrs}
        self.elements.append((tag, known))
        if tag == "form":
            self._form = {"action": known["action"], "method": known["method"], "fields": {}}
            self.forms.append(self._form)
        if tag in ("input", "textarea") and self._form is not None and "name" in known:
            self._form["fields"][known["name"]] = known.get("value", "")
            self._textarea = known["name"] if tag == "textarea" else ""

    def handle_endtag(self, tag: str) -> None:
        """A form ends, or what is typed in one."""
        if tag == "form":
            self._form = None
        if tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text += data
        if self._textarea and self._form is not None:
            self._form["fields"][self._textarea] += data

    def form(self, verb: str) -> dict[str, Any]:
        """The form of a verb."""
        (found,) = [each for each in self.forms if each["action"].endswith(f"/{verb}")]
        return found

    @property
    def verbs(self) -> list[str]:
        """The verbs that can be given here."""
        return [
            each["action"].rpartition("/")[2] for each in self.forms if each["method"] == "post"
        ]


def seen(client: TestClient, path: str) -> Page:
    """A page."""
    found = client.get(path)
    assert found.status_code == 200, found.text
    assert found.headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(found.text)


def given(client: TestClient, page: Page, verb: str, **fields: str) -> Any:
    """The answer to the form of a verb, filled in."""
    form = page.form(verb)
    return client.post(form["action"], data={**form["fields"], **fields})


# --- what is shown -----------------------------------------------------------------------------


def test_the_first_page_says_what_needs_somebody_and_what_to_press(client: TestClient) -> None:
    """Each run that owes or asks something, with its reason and the buttons for it."""
    shop.failed("o-1")
    shop.unsure("o-2")
    shop.completed("o-3")
    page = seen(client, "/")
    assert "2 runs need somebody" in " ".join(page.text.split())
    assert "The undo of charge failed [declined]." in page.text
    assert "Did mail take effect? Nobody knows, and it honours no key." in page.text
    assert page.verbs == ["retry", "skip", "retry", "waive"]
    given(client, page, "waive", reason="paid back by hand")
    assert shop.sagas.run("o-1").status == "compensated"
    assert "1 run needs somebody" in " ".join(seen(client, "/").text.split())


def test_an_empty_shop_has_its_pages_too(client: TestClient) -> None:
    """Nothing needs anybody, and a page says how a run is started."""
    assert "Nothing needs you" in seen(client, "/").text
    assert "No run was started yet" in seen(client, "/runs").text
    for path in ("/sagas", "/system"):
        seen(client, path)


def test_runs_are_filtered_by_the_address(client: TestClient) -> None:
    """A page can be sent on, and its filters stand in the form again."""
    shop.failed("o-1")
    shop.paused("o-2")
    page = seen(client, "/runs?status=failed&saga=place_order&tag=")
    assert "o-1" in page.text
    assert "o-2" not in page.text
    checked = [known["value"] for tag, known in page.elements if "checked" in known]
    assert checked == ["failed"]
    assert client.get("/runs?status=broken").status_code == 422
    assert client.get("/runs?q=o-1").status_code == 422


def test_a_walk_over_the_pages_sees_each_run_once(client: TestClient) -> None:
    """`Older` leads on with the same filters."""
    for number in range(7):
        shop.ping.start(id=f"run-{number}")
    path, ids = "/runs?limit=3&status=running", []
    while path:
        page = seen(client, path)
        ids += re.findall(r"run-\d", page.text)
        path = next((k["href"] for tag, k in page.elements if k.get("rel") == "next"), "")
        assert not path or "limit=3" in path
    assert ids == [f"run-{number}" for number in reversed(range(7))]


def test_a_run_has_its_page(client: TestClient) -> None:
    """Status, picture, steps, history, and the chosen step with what came out."""
    shop.failed("o-1")
    page = seen(client, "/runs/o-1")
    assert page.verbs == ["retry", "waive", "terminate"]
    assert any(tag == "svg" for tag, _ in page.elements)
    for text in ("The undo of charge failed", "card 4711-0815 is unknown", "compensation started"):
        assert text in page.text
    assert '"done"' in seen(client, "/runs/o-1?step=reserve").text


def test_a_run_of_many_events_shows_the_newest(client: TestClient) -> None:
    """20,000 events must not freeze a browser; the others are in the API."""
    shop.ping.start(id="o-1")
    for _ in range(50):
        shop.sagas.run("o-1").pause()
        shop.sagas.run("o-1").resume()
    page = seen(client, "/runs/o-1")
    assert sum(tag == "li" for tag, _ in page.elements) == 60
    assert "These are the newest." in page.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
def test_buttons_are_those_one_may_press(as_role: AsRole, role: Role) -> None:
    """A viewer gets none, an operator cannot terminate; payloads are for those who act."""
    shop.failed("o-1")
    page = seen(as_role(role), "/runs/o-1")
    assert (
        page.verbs
        == {
            Role.VIEWER: [],
            Role.OPERATOR: ["retry", "waive"],
            Role.ADMIN: ["retry", "waive", "terminate"],
        }[role]
    )
    assert (shop.SECRET in page.text) is (role is not Role.VIEWER)


def test_what_is_to_be_hidden_is_on_no_page(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as a field nor where an error quotes it."""
    monkeypatch.setitem(shop.app.conf, "saga_redact", ("card",))
    shop.failed("o-1")
    for path in ("/", "/runs", "/runs/o-1", "/runs/o-1?step=charge", "/sagas", "/system"):
        assert shop.SECRET not in client.get(path).text
    assert "•••" in client.get("/runs/o-1").text


def test_settings_are_shown_without_what_may_hold_a_password(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL of the state is left out."""
    monkeypatch.setitem(shop.app.conf, "saga_redis_url", "redis://:hunter2@127.0.0.1:1/0")
    page = client.get("/system").text
    assert "saga_lease" in page
    assert "hunter2" not in page


# --- what is done ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bring", "verb", "fields", "status"),
    [
        (shop.running, "cancel", {"reason": "lost"}, "compensating"),
        (shop.running, "terminate", {"reason": "lost"}, "terminated"),
        (shop.completed, "rewind", {"to": "charge"}, "compensating"),
        (shop.running, "pause", {}, "paused"),
        (shop.paused, "resume", {}, "running"),
        (shop.failed, "retry", {}, "compensating"),
        (shop.failed, "waive", {"reason": "paid back"}, "compensated"),
        (shop.unsure, "skip", {"reason": "sent", "result": "3"}, "completed"),
    ],
)
def test_a_button_does_it_and_shows_the_run(
    client: TestClient, bring: Any, verb: str, fields: dict[str, str], status: str
) -> None:
    """The form leads back to the page, so that loading it again does nothing twice."""
    bring("o 1%?")
    found = given(client, seen(client, "/runs/o%201%25%3F"), verb, **fields)
    assert found.status_code == 303
    assert found.headers["Location"] == f"/runs/o%201%25%3F?done={verb}"
    assert shop.sagas.run("o 1%?").status == status
    assert f"Done: {verb}." in seen(client, found.headers["Location"]).text


def test_a_run_that_changed_between_look_and_click_is_left_alone(client: TestClient) -> None:
    """409, the reason, and the run as it is now with new buttons."""
    shop.running("o-1")
    page = seen(client, "/runs/o-1")
    shop.sagas.run("o-1").pause(by="ada")
    found = given(client, page, "cancel")
    assert found.status_code == 409
    assert "the run has changed since you looked" in found.text
    assert shop.sagas.run("o-1").status == "paused"
    assert "resume" in Page(found.text).verbs


@pytest.mark.parametrize(
    ("verb", "fields", "told"),
    [
        ("waive", {}, "reason"),
        ("waive", {"reason": "why", "step": "reserve"}, "Nothing was done"),
        ("terminate", {"reason": "why", "if_version": ""}, "version"),
    ],
)
def test_what_a_form_lacks_is_said(
    client: TestClient, verb: str, fields: dict[str, str], told: str
) -> None:
    """The page comes back with the reason, and nothing was done."""
    shop.failed("o-1")
    before = shop.sagas.run("o-1").history()
    found = given(client, seen(client, "/runs/o-1"), verb, **fields)
    assert found.status_code in (409, 422)
    assert told in found.text
    assert shop.sagas.run("o-1").history() == before


@pytest.mark.parametrize("csrf", ["", "wrong", "x" * 40])
def test_a_form_without_the_token_of_its_browser_is_refused(client: TestClient, csrf: str) -> None:
    """Another site can neither read the cookie nor set it."""
    shop.running("o-1")
    found = given(client, seen(client, "/runs/o-1"), "cancel", csrf=csrf)
    assert found.status_code == 403
    assert "nothing was done" in found.text
    assert shop.sagas.run("o-1").status == "running"


def test_a_session_that_expired_does_nothing(store: MemoryStore) -> None:  # noqa: ARG001
    """Somebody who is nobody any more is asked who it is, and the run is left alone."""
    shop.running("o-1")
    people = [Caller("ada", Role.ADMIN)]
    app = create_app(shop.sagas, identify=lambda _: people[0] if people else None)
    client = TestClient(app, follow_redirects=False)
    page = seen(client, "/runs/o-1")
    people.clear()
    assert given(client, page, "cancel").status_code == 401
    assert shop.sagas.run("o-1").status == "running"


def test_the_cookie_of_a_form_is_for_this_site_only(client: TestClient) -> None:
    """No script reads it, and no other site sends it along."""
    cookie = client.get("/").headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert "Set-Cookie" not in client.get("/").headers


def test_a_look_never_acts(client: TestClient) -> None:
    """A scanner of mails follows every link."""
    shop.running("o-1")
    before = shop.sagas.run("o-1").history()
    for path in ("/runs/o-1/cancel", "/runs/o-1/terminate"):
        assert client.get(path).status_code == 405
        assert client.head(path).status_code == 405
    assert shop.sagas.run("o-1").history() == before


# --- what must not happen ----------------------------------------------------------------------


def test_no_string_of_a_run_becomes_html(client: TestClient) -> None:
    """One hostile string in every field that a run can have, on every page."""
    shop.place_order.start(
        shop.Order(sku=HOSTILE, card=HOSTILE), id=HOSTILE.replace("/", "|"), tags={HOSTILE: HOSTILE}
    )
    run = shop.sagas.runs()[0]
    run.pause(HOSTILE, by=HOSTILE)
    run.resume(HOSTILE, by=HOSTILE)
    run.cancel(HOSTILE, by=HOSTILE)
    quoted = run.id.replace("%", "%25").replace("<", "%3C").replace("{", "%7B").replace('"', "%22")
    for path in (
        "/",
        "/runs",
        f"/runs/{quoted}",
        f"/runs?saga={HOSTILE}",
        f"/runs?tag=a:{HOSTILE}",
    ):
        page = seen(client, path)
        scripts = [known for tag, known in page.elements if tag == "script"]
        assert [known["src"].partition("?")[0] for known in scripts] == ["/static/live.js"]
        assert not any(name.startswith("on") for _, known in page.elements for name in known)
        if "/runs/" in path:  # tag, reasons and who gave them, as they are
            assert page.text.count(HOSTILE) > 3
    assert "<script>alert" not in client.get(f"/api/runs/{quoted}/graph.svg").text


def test_no_page_needs_what_the_policy_forbids(client: TestClient) -> None:
    """No inline style or script, and nothing from elsewhere."""
    shop.failed("o-1")
    for path in ("/", "/runs", "/runs/o-1", "/sagas", "/system"):
        found = client.get(path)
        assert found.headers["Content-Security-Policy"] == POLICY
        page = Page(found.text)
        assert not any(tag == "style" or "style" in known for tag, known in page.elements)
        links = [k.get("href", "") + k.get("src", "") for _, k in page.elements]
        assert not any("://" in link or link.startswith(("//", "javascript:")) for link in links)


def test_static_files_are_those_of_the_folder(client: TestClient) -> None:
    """They may be kept, since their address changes with them; nothing else is reached."""
    found = client.get("/static/style.css")
    assert (found.status_code, found.headers["Cache-Control"]) == (200, "max-age=86400")
    for path in ("/static/../pages.py", "/static/%2e%2e/pages.py", "/static/..%2fpages.py"):
        assert client.get(path).status_code == 404


def test_the_stylesheet_knows_every_ink_of_the_picture(client: TestClient) -> None:
    """The picture is drawn for paper; in the dark its colours are those of the page."""
    style = client.get("/static/style.css").text
    for make in (shop.running, shop.completed, shop.failed, shop.unsure):
        picture = draw(shop.sagas.run(make(make.__name__)).graph(), "svg")
        inks = set(re.findall(r'(?:fill|stroke)="(#\w+)"', picture))
        assert inks
        assert [ink for ink in inks if ink not in style] == []


def test_errors_are_pages_for_people(client: TestClient) -> None:
    """A run that is not there, and a page that is not."""
    found = client.get("/runs/o-1")
    assert found.status_code == 404
    assert "no run" in Page(found.text).text
    assert client.get("/nothing").status_code == 404
    login = TestClient(create_app(shop.sagas, accounts={"ada": Account("x", Role.VIEWER)}))
    asked = login.get("/")
    assert (asked.status_code, asked.headers["WWW-Authenticate"][:5]) == (401, "Basic")


def test_mounted_under_a_path_every_address_begins_with_it(store: MemoryStore) -> None:  # noqa: ARG001
    """Links, forms, files and redirects work behind a proxy or inside another application."""
    shop.failed("o-1")
    inner = create_app(shop.sagas, identify=lambda _: Caller("ada", Role.ADMIN))
    client = TestClient(Starlette(routes=[Mount("/sagas", inner)]), follow_redirects=False)
    for path in ("/sagas/", "/sagas/runs", "/sagas/runs/o-1", "/sagas/sagas", "/sagas/system"):
        page = seen(client, path)
        links = [
            known[name]
            for _, known in page.elements
            for name in ("href", "src", "action", "data-events")
            if known.get(name)
        ]
        assert links
        assert [each for each in links if not each.startswith(("/sagas/", "#"))] == []
    found = given(client, seen(client, "/sagas/runs/o-1"), "waive", reason="paid")
    assert found.headers["Location"] == "/sagas/runs/o-1?done=waive"
    assert client.get("/sagas/api/nothing").json()["code"] == "not_found"


def test_each_static_file_is_used() -> None:
    """What is shipped is what the pages name."""
    assert sorted(path.name for path in STATIC.iterdir()) == ["icon.svg", "live.js", "style.css"]
