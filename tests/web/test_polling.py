"""What is asked for again and again: long histories in pages, and answers that have not changed.

Owns: pages, ETags, and how much of a history is read.  Refuses to know: what events say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.web import pages
from tests.web import shop

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def long(run_id: str = "p-1", rounds: int = 30) -> int:
    """A run that was paused and resumed so often; how many events it has."""
    run = shop.ping.start(id=run_id)
    for _ in range(rounds):
        run.pause()
        run.resume()
    return len(run.history())


def test_a_history_is_read_page_by_page(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event once, under its number; no page reads more than it shows."""
    count = long()
    read: list[int] = []
    store: Any = shop.sagas.runtime.engine.store
    whole = store.history

    def counted(run_id: str, first: int = 0, limit: int | None = None) -> Any:
        read.append(len(found := whole(run_id, first, limit)))
        return found

    monkeypatch.setattr(store, "history", counted)
    numbers: list[int] = []
    asked: dict[str, Any] = {"limit": 7}
    while True:
        told = client.get("/api/runs/p-1/history", params=asked).json()
        numbers += [each["number"] for each in told["events"]]
        if told["cursor"] is None:
            break
        asked["cursor"] = told["cursor"]
    assert numbers == [*range(1, count + 1)]
    assert max(read) == 8
    beyond = client.get("/api/runs/p-1/history", params={"cursor": "9999"})
    assert beyond.json() == {"events": [], "cursor": None}
    assert client.get("/api/runs/none/history", params={"cursor": "5"}).status_code == 404


def test_the_page_of_a_long_run_reads_its_newest_events(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leads to the others, oldest first."""
    count = long()
    assert f'value="{count}"' in client.get("/runs/p-1").text
    monkeypatch.setattr(pages, "_WHOLE", 10)
    monkeypatch.setattr(pages, "_NEWEST", 5)
    monkeypatch.setattr(pages, "_PAGE", 20)
    text = client.get("/runs/p-1").text
    assert text.count("<li>") == 5
    assert "These are the newest" in text
    assert 'href="/runs/p-1/history"' in text
    first = client.get("/runs/p-1/history").text
    assert "cursor=20" in first
    assert '<td class="number">1</td>' in first
    last = client.get("/runs/p-1/history", params={"cursor": str(count - 1)}).text
    assert f'<td class="number">{count}</td>' in last
    assert 'rel="next"' not in last


@pytest.mark.parametrize(
    "path", ["/api/runs", "/api/sagas", "/api/approvals", "/api/runs/o-1/history", "/api/runs/o-1"]
)
def test_what_has_not_changed_is_not_sent_again(
    client: TestClient,
    path: str,
) -> None:
    """Whatever else the caller knows; what has changed is sent."""
    run = shop.ping.start(id="o-1")
    found = client.get(path)
    etag = found.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
        assert again.headers["X-Frame-Options"] == "DENY"
    run.pause()
    shop.asking("e-1")
    changed = client.get(path, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_a_refusal_has_no_tag(client: TestClient) -> None:
    """Whoever has nothing is told so each time."""
    found = client.get("/api/runs/none", headers={"If-None-Match": "*"})
    assert found.status_code == 404
    assert "ETag" not in found.headers
