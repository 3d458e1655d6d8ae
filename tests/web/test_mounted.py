"""Mounted under a path: every page that there is, and where each of its links and forms leads.

Owns: walking from the first page to all others.  Refuses to know: what stands on them.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from celeriac.doctor import Report
from celeriac.web import Caller, Role, create_app, site
from tests.in_memory import ask_outside
from tests.web import shop
from tests.web.test_access import TABLE
from tests.web.test_pages import Page

ROOT = "/sagas"
LEADS = ("href", "src", "action", "data-events", "formaction")
MAKES = (shop.running, shop.completed, shop.failed, shop.unsure, shop.paused, shop.asking)


@pytest.mark.usefixtures("store")
def test_each_link_and_form_of_each_page_leads_to_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All stay below the path; a link is served, and a form gets as far as its token."""
    monkeypatch.setattr(site, "examine", lambda _: Report(()))
    for make in MAKES:
        make(make.__name__)
    shop.place_order.start(shop.Order(sku="tea"), id="elsewhere")
    ask_outside(shop.sagas, "elsewhere", "reserve")
    shop.sagas.bulk("retry", status="failed", owed=True, reason="why", by="ada")
    inner = create_app(shop.sagas, identify=lambda _: Caller("ada", Role.ADMIN))
    client = TestClient(Starlette(routes=[Mount(ROOT, inner)]), follow_redirects=False)

    left, seen, forms = [f"{ROOT}/"], set(), set()
    while left:
        path = left.pop()
        found = client.get(path)
        assert found.status_code == 200, path
        if "text/html" not in found.headers["Content-Type"]:
            continue
        page = Page(found.text)
        for tag, known in page.elements:
            for name in LEADS:
                if name not in known or known[name].startswith("#"):
                    continue
                to = urljoin(path, known[name]).partition("#")[0]
                assert to.startswith(f"{ROOT}/"), (path, tag, to)
                if tag == "form" and known["method"] == "post":
                    forms.add(to)
                elif to not in seen and not to.endswith("/events"):
                    seen.add(to)
                    left.append(to)
    for form in forms:
        assert client.post(form, data={"reason": "x"}).status_code == 403, form

    assert _unvisited("GET", seen) == NOT_HERE["GET"]
    assert _unvisited("POST", forms) == NOT_HERE["POST"]


#: What is led to only in a state that nothing is in here: this shop has no gate, its schedule is
#: not paused, and its command for many runs was not begun.
NOT_HERE = {
    "GET": {"/breakers/{name}"},
    "POST": {
        "/breakers/{name}/open",
        "/breakers/{name}/close",
        "/schedules/{name}/resume",
        "/bulk/{bulk_id}/stop",
    },
}


def _unvisited(method: str, addresses: set[str]) -> set[str]:
    """The routes of pages that were not come to."""
    paths = {unquote(urlsplit(each).path).removeprefix(ROOT) for each in addresses}
    others = ("/api", "/health", "/openapi.json", "/static")
    pages = {path for of, path in TABLE if of == method and not path.startswith(others)}
    return {each for each in pages if not any(_is(each, path) for path in paths)}


def _is(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) is not None
