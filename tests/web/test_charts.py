"""What is drawn of figures and of a run in time: from what is stored, and as plain shapes.

Owns: what bars there are.  Refuses to know: their colours.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from celeriac import InputInvalid, StartedRuns
from celeriac.machine import RunStatus
from celeriac.store.memory import MemoryStore
from celeriac.views import throughput_of
from celeriac.web import charts
from celeriac.web.attempts import Bar, Row, rows_of, tries_of
from celeriac.web.marks import progress
from tests.in_memory import ask_outside, do
from tests.store.runs import a_run, starting, write
from tests.web import shop
from tests.web.test_pages import seen

if TYPE_CHECKING:
    from starlette.testclient import TestClient

HOUR = 3_600_000  # ms
HOSTILE = "<script>alert(1)</script>\"'"


def rows(run_id: str) -> dict[str, list[str]]:
    """The tones of the bars of a run, by row."""
    run = shop.sagas.run(run_id)
    plan, _, now = run.look()
    found, more = rows_of(run.state(), plan, run.history(), now)
    assert more == 0
    assert all(bar.since <= bar.until for row in found for bar in row.bars)
    return {row.name: [bar.tone for bar in row.bars] for row in found}


def test_each_attempt_is_a_bar(store: MemoryStore) -> None:  # noqa: ARG001 -- it is the shop's
    """Forward and back, with how it ended; what goes on ends now."""
    shop.failed("failed")
    assert rows("failed") == {
        "reserve": ["done"],
        "charge": ["failed"],
        "undo charge": ["undo failed"],
        "undo reserve": ["undo done"],
    }
    shop.running("running")
    assert rows("running") == {"reserve": ["running"]}
    shop.unsure("unsure")
    assert rows("unsure") == {"mail": ["lost"]}
    shop.place_order.start(shop.Order(sku="tea"), id="outside")
    token = ask_outside(shop.sagas, "outside", "reserve")
    assert rows("outside") == {"reserve": ["asked", "waits"]}
    shop.sagas.complete(token, "tea")
    assert rows("outside") == {"reserve": ["asked", "waits"]}


def test_each_attempt_is_told_with_its_holder(client: TestClient) -> None:
    """The newest first, with how it ended; one that is at work has no end."""
    shop.failed("o-1")
    events = shop.sagas.run("o-1").history()
    told = [(each.told, each.end, each.holder) for each in tries_of(events, "charge")]
    assert told == [("undo #1", "failed", "worker"), ("#1", "failed", "worker")]
    shop.running("o-2")
    (found,) = tries_of(shop.sagas.run("o-2").history(), "reserve")
    assert (found.end, found.took) == ("", None)
    page = client.get("/runs/o-2?step=reserve").text
    assert "at work" in page
    assert "<code>worker</code>" in page
    assert "waits for signal verdict until" in client.get(f"/runs/{shop.asking('e-1')}").text


def test_of_many_steps_those_are_marked_at_which_a_run_is(client: TestClient) -> None:
    """Where it is can be seen, and how many there are before and behind."""
    shop.completed("o-1")
    state = shop.sagas.run("o-1").state()
    done, pending = state.steps[0], state.steps[1].model_copy(update={"status": "pending"})
    for at, before, behind in ((0, "", "+60"), (50, "30+", "+30"), (99, "60+", "")):
        steps = (*([done] * at), *([pending] * (100 - at)))
        marks = str(progress(state.model_copy(update={"steps": steps})))
        assert marks.count("<i ") == 40
        assert re.findall(r"<b>(.*?)</b>", marks) == [each for each in (before, behind) if each]
        assert f'"{at} of 100 steps completed"' in marks
    assert client.get("/runs").text.count("<b>") == 0


def test_a_wait_is_hatched_while_it_waits_and_after(
    store: MemoryStore,  # noqa: ARG001 -- it is the shop's
) -> None:
    """From the end of what it comes after to its answer."""
    shop.asking("e-1")
    assert rows("e-1") == {"verdict": ["waits"]}
    run = shop.sagas.run("e-1")
    run.signal(shop.verdict, shop.Verdict(approve=True, by="ada"))
    do(shop.sagas, "e-1", "move")
    assert rows("e-1") == {"verdict": ["waits"], "move": ["done"]}


def test_a_picture_is_well_formed_whatever_it_names() -> None:
    """No name ends an attribute or begins an element, and each bar lies within the picture."""
    bars = [Bar(0, 10, "done", HOSTILE), Bar(10, 10, "undo failed", HOSTILE)]
    since = datetime(2026, 11, 30, 6, tzinfo=UTC)
    hours = [
        StartedRuns(since=since, started=n, compensated=n // 3, failed=n // 2) for n in range(25)
    ]
    for picture in (
        charts.timeline([Row(HOSTILE * 9, bars)]),
        charts.timeline([]),
        charts.ages([(HOSTILE, 5.0), ("b", 0.0)]),
        charts.ages([]),
        charts.slowest([(HOSTILE, 0.0), *((f"saga {n}", n / 7) for n in range(30))]),
        charts.hours(hours),
        charts.hours([]),
    ):
        root = ET.fromstring(str(picture))  # noqa: S314 -- our own
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        tags = {each.tag for each in root.iter()}
        assert tags <= {"svg", "g", "title", "rect", "text", "line", "defs", "circle", "pattern"}
        for each in root.iter("rect"):
            if "x" in each.attrib:
                assert 0 <= float(each.attrib["x"]) <= width - float(each.attrib["width"])
                assert 0 <= float(each.attrib["y"]) <= height - float(each.attrib["height"])


def test_what_was_started_is_counted_by_the_hour(client: TestClient) -> None:
    """With what has become of it; an hour in which nothing was started has zeros."""
    now = 500_000 * HOUR + 60_000
    store = MemoryStore(lambda: now)
    for name, at, status in (
        ("a", now - 3 * HOUR, RunStatus.RUNNING),
        ("b", now - 2 * HOUR, RunStatus.FAILED),
        ("c", now - 2 * HOUR, RunStatus.COMPENSATING),
        ("d", now - 2 * HOUR - 60_000, RunStatus.COMPLETED),
        ("e", now, RunStatus.TERMINATED),
    ):
        write(store, starting(a_run(name, started_at=at, status=status)))
    found = throughput_of(store, 2)
    assert [each.since.hour for each in found] == [(500_000 - ago) % 24 for ago in (2, 1, 0)]
    told = [(each.started, each.active, each.compensated, each.failed) for each in found]
    assert told == [(3, 1, 1, 1), (0, 0, 0, 0), (1, 0, 0, 1)]
    shop.running("r-1")
    hours = client.get("/api/throughput", params={"hours": 1}).json()["hours"]
    assert sum(each["started"] for each in hours) == 1
    for wrong in (0, 169, True, 1.5):
        with pytest.raises(InputInvalid, match="hours: 1 to 168"):
            shop.sagas.throughput(wrong)  # type: ignore[arg-type]
    assert client.get("/api/throughput", params={"hours": 169}).status_code == 422


def test_the_overview_counts_once_for_all_who_look(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are."""
    counted: list[int] = []
    throughput = shop.sagas.throughput

    def noted(hours: int) -> Any:
        counted.append(hours)
        return throughput(hours)

    monkeypatch.setattr(shop.sagas, "throughput", noted)
    shop.running("r-1")
    for _ in range(3):
        assert client.get("/").text.count('<svg class="chart"') == 2
    assert counted == [24]


def test_the_page_of_a_run_has_its_timeline(client: TestClient) -> None:
    """A bar an attempt, each with its words."""
    shop.failed("o-1")
    text = client.get("/runs/o-1").text
    assert len(re.findall(r"<title>(?:undo of )?(?:reserve|charge), attempt 1, ", text)) == 4


def test_an_attempt_leads_to_its_task_in_flower(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that is said to be; what has no task leads nowhere."""
    shop.failed("o 1")
    shop.asking("e-1")

    def tasks(path: str) -> list[str]:
        found = (known.get("href", "") for _, known in seen(client, path).elements)
        return [href.partition("/task/")[2] for href in found if "/task/" in href]

    assert tasks("/runs/o%201?step=charge") == []
    monkeypatch.setitem(shop.app.conf, "saga_flower_url", "https://ops.example.org/flower/")
    assert tasks("/runs/o%201?step=charge") == ["o%201%3Acharge%3Aundo%3A1", "o%201%3Acharge%3A1"]
    assert tasks("/runs/e-1?step=verdict") == []
    assert "https://ops.example.org/flower/task/o%201" in client.get("/runs/o%201").text
