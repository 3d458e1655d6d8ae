"""The filters of the page of runs: what was asked for stands until somebody takes it away.

Owns: that the form and the links keep each filter.  Refuses to know: what a filter finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.web import shop
from tests.web.test_pages import seen

if TYPE_CHECKING:
    from starlette.testclient import TestClient

ASKED = (
    "status=running&saga=ping&tag=a:1&tag=b:2&limit=2&past_deadline=true&awaiting=true&owed=true"
    "&asking=true&idle=15m&since=2026-01-01T00:00:00Z&until=2036-01-01T00:00:00Z&failed_step=tick"
    "&code=away"
)


def test_the_form_keeps_what_was_asked_for(client: TestClient) -> None:
    """Pressing `Show` finds what is shown: each filter is in the form, also several tags."""
    sent: set[str] = set()
    for tag, known in seen(client, f"/runs?{ASKED}").elements:
        if tag == "input" and (known.get("type") != "checkbox" or "checked" in known):
            sent.add(f"{known['name']}={known['value']}")
    assert {*ASKED.split("&")} - sent == {"saga=ping"}  # it is selected
    assert {"tag=", "limit=50"} & sent == set()


def test_older_and_newest_keep_what_was_asked_for(client: TestClient) -> None:
    """The number of runs on a page as well."""
    for number in range(3):
        shop.ping.start(id=f"run-{number}", tags={"a": "1", "b": "2"})
    page = seen(client, "/runs?tag=a:1&tag=b:2&limit=1")
    (older,) = [known["href"] for _, known in page.elements if known.get("rel") == "next"]
    assert all(each in older for each in ("tag=a%3A1", "tag=b%3A2", "limit=1"))
    links = [known.get("href", "") for _, known in seen(client, older).elements]
    assert "/runs?tag=a%3A1&tag=b%3A2&limit=1" in links
