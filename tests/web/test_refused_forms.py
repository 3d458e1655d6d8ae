"""Forms that were refused, and the page that is the answer.

Owns: that such a page can be looked at again where it is.  Refuses to know: why a form is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from celeriac.web import Caller, Role, create_app
from tests.web import shop
from tests.web.test_pages import Page, seen

if TYPE_CHECKING:
    from celeriac.store.memory import MemoryStore


@pytest.mark.parametrize("root", ["", "/sagas"])
def test_what_a_form_was_refused_with_says_where_its_page_is(store: MemoryStore, root: str) -> None:  # noqa: ARG001
    """The address of the form itself takes no look; where the page is, it can be looked at."""
    shop.running("o 1%?")
    inner = create_app(shop.sagas, identify=lambda _: Caller("ada", Role.ADMIN))
    app = Starlette(routes=[Mount(root, inner)]) if root else inner
    client = TestClient(app, follow_redirects=False)
    page = seen(client, f"{root}/runs/o%201%25%3F?step=reserve")
    shop.sagas.run("o 1%?").pause(by="ada")
    token = page.form("cancel")["fields"]["csrf"]
    sent = {
        "/runs/o%201%25%3F/cancel": page.form("cancel")["fields"],
        "/runs/o%201%25%3F/waive": page.form("cancel")["fields"],
        "/schedules/nightly/pause": {"csrf": token, "reason": "x" * 5_000},
        "/breakers/nothing/open": {"csrf": token},
        "/outside": {"csrf": token, "token": "wrong"},
        "/sagas/place_order": {"csrf": token, "input": "{"},
    }
    for path, fields in sent.items():
        found = client.post(root + path, data=fields)
        assert found.status_code in (404, 409, 422), path
        assert 'class="notice bad"' in found.text
        (own,) = [known["data-from"] for tag, known in Page(found.text).elements if tag == "main"]
        assert own.startswith(f"{root}/")
        assert client.get(own).status_code == 200
    assert [tag for tag, known in page.elements if "data-from" in known] == []
