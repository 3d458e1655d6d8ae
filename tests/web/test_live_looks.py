"""What open pages look at together: read once a second, however many there are.

Owns: who shares a look, and for how long.  Refuses to know: what is on a page.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from celeriac.web.live_looks import FRESH, LIVE, LiveLooks
from tests.web import shop

if TYPE_CHECKING:
    from starlette.testclient import TestClient


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def test_within_a_second_it_is_read_once() -> None:
    """Then it is read again."""
    clock, read = Clock(), iter(range(10))
    looks = LiveLooks(clock)
    assert [looks.shared("a", lambda: next(read)) for _ in range(3)] == [0, 0, 0]
    assert looks.shared("b", lambda: next(read)) == 1
    clock.now += FRESH
    assert looks.shared("a", lambda: next(read)) == 2


def test_many_at_once_read_once() -> None:
    """Who comes while another is reading waits for that."""
    looks, reading, told = LiveLooks(), threading.Event(), threading.Event()
    calls: list[None] = []

    def read() -> str:
        calls.append(None)
        reading.set()
        assert told.wait(30)
        return "found"

    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(looks.shared("a", read))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert reading.wait(30)
    told.set()
    for thread in threads:
        thread.join(30)
    assert found == ["found"] * 5
    assert len(calls) == 1


def test_an_error_is_not_kept() -> None:
    """Whoever looks next tries again."""
    looks = LiveLooks(Clock())

    def away() -> None:
        raise LookupError("away")

    with pytest.raises(LookupError, match="away"):
        looks.shared("a", away)
    assert looks.shared("a", lambda: "back") == "back"


@pytest.mark.parametrize("path", ["/", "/runs"])
def test_who_opens_a_page_sees_what_is_so_now(client: TestClient, path: str) -> None:
    """Only a page that refreshes itself may be a second behind."""
    refresh, looks = {LIVE: "1"}, client.app.state.site.looks  # type: ignore[attr-defined]
    looks._clock = clock = Clock()
    assert "o-1" not in client.get(path, headers=refresh).text
    shop.failed("o-1")
    assert "o-1" in client.get(path).text
    assert "o-1" not in client.get(path, headers=refresh).text
    clock.now += FRESH
    assert "o-1" in client.get(path, headers=refresh).text


def test_filters_share_no_look(client: TestClient) -> None:
    """Each has its own."""
    shop.running("o-1")
    refresh = {LIVE: "1"}
    assert "o-1" in client.get("/runs?status=running", headers=refresh).text
    assert "o-1" not in client.get("/runs?status=failed", headers=refresh).text
