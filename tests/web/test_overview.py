"""The first page and that of the system: figures, and the runs behind each of them.

Owns: what is counted, and where it leads.  Refuses to know: how it looks, and how it is counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from celeriac.doctor import Finding, Report, Severity
from celeriac.store import Worker
from celeriac.web import Role, site
from tests.in_memory import claim, do
from tests.processes import until
from tests.web import shop
from tests.web.test_pages import seen

if TYPE_CHECKING:
    import pytest
    from starlette.testclient import TestClient

    from celeriac.store.memory import MemoryStore
    from tests.web.conftest import AsRole


def tiles(client: TestClient) -> dict[str, tuple[int, str]]:
    """What each tile counts, and where it leads."""
    found: dict[str, tuple[int, str]] = {}
    tile = (
        r'<a class="tile [^"]*" href="/runs\?([^"]*)"[^>]*><b>([\d,]+)</b>'
        r"<span>(?:<span[^>]*>.</span> )?([^<]+)</span></a>"
    )
    for search, number, label in re.findall(tile, client.get("/").text):
        found[label] = (int(number), search.replace("&amp;", "&"))
    return found


def test_each_tile_counts_the_runs_that_it_leads_to(client: TestClient) -> None:
    """Nothing is counted that nobody could look at."""
    for make in (shop.running, shop.completed, shop.failed, shop.unsure, shop.asking, shop.late):
        make(make.__name__)
    shop.running("back")
    shop.sagas.run("back").cancel("lost")
    found = tiles(client)
    counts = {label: number for label, (number, _) in found.items()}
    assert counts == {
        "needs attention": 2,
        "active": 4,
        "waiting": 1,
        "compensating": 1,
        "past deadline": 1,
        "started in 24 h and ended": 3,
    }
    for label, (number, search) in found.items():
        page = client.get(f"/api/runs?{search}").json()
        assert len(page["runs"]) == number, label


def test_an_empty_shop_has_six_tiles_of_nothing(client: TestClient) -> None:
    """And no figure that nobody can know yet."""
    assert {number for number, _ in tiles(client).values()} == {0}
    assert len(tiles(client)) == 6
    assert "95 of 100" not in client.get("/").text


def test_how_long_runs_take_stands_beside_how_many_there_are(client: TestClient) -> None:
    """Also how many of them end otherwise; on the page of a saga step by step."""
    shop.completed("o-1")
    shop.failed("o-2")
    page = seen(client, "/")
    assert "95 of 100 runs take at most" in page.text
    assert "50 %" in page.text
    page = seen(client, "/sagas/place_order")
    assert "How long it takes" in page.text
    for text in ("50.0 %, 1 failed", "reserve", "charge", "(this one)", "newest 2 runs"):
        assert text in page.text
    told = client.get("/api/durations", params={"saga": "place_order", "steps": True}).json()
    (found,) = told["sagas"]
    assert (found["runs"], found["ended"]) == (2, {"completed": 1, "failed": 1})
    assert {each["step"] for each in found["steps"]} == {"reserve", "charge"}
    assert client.get("/api/durations?saga=nobody").json() == {"sagas": []}
    assert [each["steps"] for each in client.get("/api/durations").json()["sagas"]] == [[]]


def test_runs_that_stand_still_are_found(client: TestClient, store: MemoryStore) -> None:
    """Those that run or are being undone; what waits for people does not stand still."""
    clock = store._clock
    store._clock = lambda: clock() - 3_600_000
    shop.running("still")
    shop.asking("asking")
    shop.completed("done")
    store._clock = clock
    shop.running("moving")
    assert [each["id"] for each in client.get("/api/runs?idle=15m").json()["runs"]] == ["still"]
    page = seen(client, "/runs?idle=15m")
    assert "idle 15m" in page.text
    assert any(k.get("name") == "idle" and k["value"] == "15m" for _, k in page.elements)
    found = client.get("/api/runs?idle=15m&status=waiting").json()["runs"]
    assert [each["id"] for each in found] == ["asking"]
    assert client.get("/api/runs?idle=2h").json()["runs"] == []
    for wrong in ("soon", "0", "-5m"):
        assert client.get("/api/runs", params={"idle": wrong}).status_code == 422


def test_a_run_between_two_attempts_says_when_it_goes_on(
    client: TestClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the list as well, and without one more look at the store than for any other run."""
    shop.retrying("o-1")
    asked: list[object] = []
    read_all = store.read_all

    def counted(*args: Any) -> Any:
        asked.append(args)
        return read_all(*args)

    monkeypatch.setattr(store, "read_all", counted)
    told = "(attempt 2 of 3 in 9"
    assert told in seen(client, "/runs").text
    assert len(asked) == 1  # how its step failed, as of each that did
    assert "attempt 2 of 3 in 9" in seen(client, "/runs/o-1").text
    (found,) = client.get("/api/runs").json()["runs"]
    attempt, nothing = (step["next_attempt"] for step in found["steps"])
    assert (attempt["number"], attempt["of"], nothing) == (2, 3, None)
    assert (
        attempt["at"] == client.get("/api/runs/o-1/history").json()["events"][-1]["data"]["retry"]
    )
    for path in ("/runs", "/runs/o-1"):  # the exact time on hover
        titles = [known.get("title", "") for _, known in seen(client, path).elements]
        assert any(attempt["at"] in each for each in titles)
    shop.sagas.run("o-1").pause()
    assert client.get("/api/runs/o-1").json()["steps"][0]["next_attempt"] is None


def test_an_attempt_that_is_at_work_tells_its_number(client: TestClient) -> None:
    """Unless it is the first."""
    shop.failed("o-1")
    shop.sagas.run("o-1").retry()
    claim(shop.sagas, "o-1", "charge", "undo")
    assert "charge compensating (attempt 2)" in seen(client, "/runs").text
    shop.running("o-2")
    assert "reserve running (attempt 1)" not in seen(client, "/runs").text


def test_who_is_past_its_deadline_is_found(client: TestClient) -> None:
    """Until it is at rest."""
    shop.late("late")
    shop.running("in time")
    assert "late" in seen(client, "/runs?past_deadline=true").text
    found = client.get("/api/runs?past_deadline=true").json()["runs"]
    assert [each["id"] for each in found] == ["late"]
    assert client.get("/api/stats").json()["past_deadline"] == 1
    do(shop.sagas, "late", "reserve")
    assert client.get("/api/runs?past_deadline=true").json()["runs"] == []


def test_questions_are_something_that_needs_somebody(client: TestClient, as_role: AsRole) -> None:
    """How many runs ask, and the way to answer; who may not answer sees no more than that."""
    assert "somebody's answer" not in client.get("/").text
    shop.asking("e-1")
    page = seen(client, "/")
    assert "1 run waits for somebody's answer" in " ".join(page.text.split())
    assert "Pay this expense" in page.text
    assert "Nothing needs you" not in page.text
    (question,) = client.get("/api/approvals").json()["approvals"]
    answer = question["page"]
    assert any(known.get("href") == answer for _, known in page.elements)
    page = seen(as_role(Role.VIEWER), "/")
    assert "1 run waits for somebody's answer" in " ".join(page.text.split())
    assert "A viewer answers nothing here." in page.text
    assert all(known.get("href") != answer for _, known in page.elements)
    assert client.get("/api/stats").json()["awaiting"] == 1
    shop.sagas.run("e-1").signal(shop.verdict, shop.Verdict(approve=True, by="ada"))
    assert client.get("/api/stats").json()["awaiting"] == 0


def test_a_sweep_that_is_late_is_said_first(client: TestClient, store: MemoryStore) -> None:
    """With the way to who knows why."""
    shop.running("o-1")
    assert "The sweep is" not in client.get("/").text
    clock = store._clock
    store._clock = lambda: clock() + 900_000
    page = seen(client, "/")
    assert re.search(r"The sweep is 1\d min late", page.text)
    assert page.text.index("The sweep is") < page.text.index("Nothing needs you")
    assert any(known.get("href") == "/system?doctor=1#doctor" for _, known in page.elements)


def test_workers_are_shown_and_that_there_are_none(client: TestClient, store: MemoryStore) -> None:
    """By their signs of life."""
    assert "No worker gives a sign of life" in seen(client, "/system").text
    assert client.get("/api/workers").json() == {"workers": []}
    store.presences.announce(Worker("Anna_1", "here", 4711, 8, 15_000))
    page = seen(client, "/system")
    for text in ("Anna_1", "alive", "4711", "15 s"):
        assert text in page.text
    (found,) = client.get("/api/workers").json()["workers"]
    assert (found["id"], found["state"]) == ("Anna_1", "alive")
    assert client.get("/api/servers").json() == {"servers": []}


def test_what_the_doctor_warns_of_is_on_the_first_page(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked behind whoever looks, once for many looks, and at once for who asks for it."""
    asked: list[None] = []

    def examined(_: object) -> Report:
        asked.append(None)
        several = [
            Finding("persistence", Severity.ERROR, f"<b> is off: {len(asked)}", "turn it on"),
            Finding("memory", Severity.WARNING, "it may be full"),
            Finding("clock", Severity.INFO, "it is early"),
        ]
        return Report(several)

    monkeypatch.setattr(site, "examine", examined)
    client.get("/")
    until(lambda: "The doctor finds an error: <b> is off: 1" in seen(client, "/").text)
    text = seen(client, "/").text
    assert all(each in text for each in ("turn it on", "it may be full", "1 error, 1 warning"))
    assert "it is early" not in text
    assert "it is early" in seen(client, "/system").text
    assert asked == [None]
    assert "is off: 2" in seen(client, "/system?doctor=1").text
    assert "is off: 2" in seen(client, "/").text
    told = client.get("/api/doctor").json()
    assert told.pop("at")
    assert told["summary"] == "1 error, 1 warning, 1 info"
    found = {"check": "memory", "severity": "warning", "found": "it may be full", "advice": None}
    assert told["findings"][1] == found
