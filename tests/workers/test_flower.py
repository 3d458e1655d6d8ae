"""The real Flower beside a real worker: what an operator finds in its pages and its API.

Owns: a run's tasks in the list, on their pages, through the search and the links; and who may do
what there.  Refuses to know: what the messages say (`test_flower_text`).
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from html import unescape
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import pytest

from celeriac import flowerconfig
from celeriac.testing.servers import free_port
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from tests.workers.world import World

CANARY = "4929-1234-5678-9012"
LOGIN = "operator:celeriac"
ENDED = {"SUCCESS", "FAILURE"}
COLUMNS = ("name", "args", "state", "received", "started", "runtime", "retries", "worker", "uuid")


class Answer(NamedTuple):
    """What Flower said."""

    status: int
    text: str


class Window:
    """Flower's pages, as somebody who has logged in sees them."""

    def __init__(self, world: World) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = [f"--conf={flowerconfig.__file__}", "--address=127.0.0.1", f"--port={port}"]
        login = {"FLOWER_BASIC_AUTH": LOGIN, "FLOWER_READ_ONLY": "true"}
        self.process = world.celery("flower", "flower", *options, **login)
        world.until(lambda: self.get("/healthcheck").text == "OK", "Flower answers", 30)

    def get(self, path: str, *, login: str = LOGIN, data: bytes | None = None) -> Answer:
        """Ask for a page."""
        token = b64encode(login.encode()).decode()
        headers = {"Authorization": f"Basic {token}"} if login else {}
        request = Request(self.url + path, data, headers)  # noqa: S310 -- our own http
        try:
            with urlopen(request, timeout=10) as answer:  # noqa: S310
                return Answer(answer.status, answer.read().decode())
        except HTTPError as error:
            return Answer(error.code, error.read().decode())
        except URLError as error:
            return Answer(0, str(error))

    def tasks(self, search: str) -> list[dict[str, Any]]:
        """The rows of the task list that a search finds."""
        query = {"draw": 1, "start": 0, "length": 100, "search[value]": search}
        query |= {"order[0][column]": 0, "order[0][dir]": "asc", "columns[0][data]": "started"}
        rows = json.loads(self.get(f"/tasks/datatable?{urlencode(query)}").text)["data"]
        assert all(set(COLUMNS) <= set(row) for row in rows)
        return list(rows)

    def page(self, task_id: str) -> Answer:
        """The page of one task."""
        return self.get(f"/task/{quote(task_id)}")


@pytest.fixture
def flower(world: World) -> Window:
    """Flower over the world's broker, before anything has happened."""
    window = Window(world)
    world.worker()
    world.beat()
    world.until(lambda: "w1@test" in window.get("/api/workers?refresh=1").text, "it is seen", 30)
    return window


def seen(world: World, flower: Window, run_id: str, count: int) -> dict[str, dict[str, Any]]:
    """The rows of a run's tasks by id, once all of them have ended."""

    def all_ended() -> list[dict[str, Any]]:
        rows = flower.tasks(f"kwargs:run={run_id}")
        ended = len(rows) >= count and all(row["state"] in ENDED for row in rows)
        return rows if ended else []

    return {row["uuid"]: row for row in world.until(all_ended, f"Flower shows {run_id}", 30)}


def shown_now(flower: Window, run_id: str) -> dict[str, str]:
    """What stands for the arguments of a run's tasks, and the states of these."""
    return {row["args"]: row["state"] for row in flower.tasks(f"kwargs:run={run_id}")}


def test_a_run_is_found_with_all_its_tasks(world: World, flower: Window) -> None:
    """Under their own names, in the words of logs, with how far they are; the page has the saga."""
    script = {"book": ["tell"], "pay": ["raise"], "send": ["abort"], CANARY: [CANARY]}
    run = world.kit.trip.start(Trip(script=script), id="order-42")
    world.kit.trip.start(Trip(), id="order-43")
    world.reached(run, "book")
    far = {"order-42 · book · #1 · 100 of 100 labels printed": "PROGRESS"}
    world.until(lambda: shown_now(flower, "order-42") == far, "it is seen how far it is")
    assert "100 of 100 labels printed" in unescape(flower.page("order-42:book:1").text)
    world.open(run, "book")
    assert world.rest(run).status == "compensated"
    rows = seen(world, flower, "order-42", 6)
    told = {task_id: (row["name"].rpartition(".")[2], row["args"]) for task_id, row in rows.items()}
    assert told == {
        "order-42:book:1": ("book", "order-42 · book · #1"),
        "order-42:pay:1": ("pay", "order-42 · pay · #2"),
        "order-42:send:1": ("send", "order-42 · send · #1"),
        "order-42:send:undo:1": ("recall", "order-42 · send · undo #1"),
        "order-42:pay:undo:1": ("refund", "order-42 · pay · undo #1"),
        "order-42:book:undo:1": ("unbook", "order-42 · book · undo #1"),
    }
    assert {task_id: row["retries"] for task_id, row in rows.items()} == {
        task_id: 1 if task_id == "order-42:pay:1" else 0 for task_id in rows
    }
    page = flower.page("order-42:pay:undo:1")
    assert page.status == 200
    assert "order-42 · pay · undo #1" in unescape(page.text)
    assert "'saga': 'trip', 'run': 'order-42'" in unescape(page.text)  # what it is found by
    assert "tests.workers.kit.refund" in page.text


def test_what_people_type_finds_the_run(world: World, flower: Window) -> None:
    """Its id alone, or a direction of a saga."""
    run = world.kit.trip.start(Trip(script={"send": ["abort"]}), id="order-44")
    world.kit.trip.start(Trip(), id="order-45")
    world.rest(run)
    ids = set(seen(world, flower, "order-44", 6))
    by_id = {row["uuid"] for row in flower.tasks("order-44") if "compensate" not in row["name"]}
    assert by_id == ids
    back = {row["uuid"] for row in flower.tasks("kwargs:phase=compensation kwargs:saga=trip")}
    assert back == {task_id for task_id in ids if ":undo:" in task_id}


def test_parents_and_roots_are_pages(world: World, flower: Window) -> None:
    """Every link on a task's page leads to another."""
    run = world.kit.trip.start(Trip(script={"send": ["abort"]}), id="order-46")
    world.rest(run)
    linked = set()
    for task_id in seen(world, flower, "order-46", 6):
        links = re.findall(r'href="(/task/[^"]+)"', flower.page(task_id).text)
        assert links, f"{task_id} has no links"
        linked |= set(links)
    assert {flower.get(link).status for link in linked} == {200}
    assert any(
        link.endswith(quote("order-46:book:1")) or "order-46:book:1" in link for link in linked
    )


def test_no_payload_is_on_any_page(world: World, flower: Window) -> None:
    """Neither in the list, nor on a task's page, nor in the API."""
    script = {"book": ["raise-after"], "pay": ["raise"] * 3, CANARY: [CANARY]}
    run = world.kit.trip.start(Trip(script=script), id="order-47")
    world.rest(run)
    rows = seen(world, flower, "order-47", 4)
    pages = [flower.page(task_id).text for task_id in rows]
    pages += [json.dumps(list(rows.values())), flower.get("/api/tasks").text]
    pages += [flower.get(path).text for path in ("/", "/workers", "/tasks", "/broker", "/metrics")]
    assert "order-47" in pages[-6]
    for secret in (CANARY, "the participant is away", "the answer got lost"):
        assert [page for page in pages if secret in page] == []


def test_nobody_gets_in_without_a_password_and_nobody_changes_anything(
    world: World, flower: Window
) -> None:
    """Flower is a window: runs are steered where it leaves a reason in their history."""
    run = world.kit.trip.start(Trip(), id="order-48")
    world.rest(run)
    for path in ("/", "/tasks", "/task/order-48:book:1", "/api/tasks", "/api/workers"):
        assert flower.get(path, login="").status == 401
        assert flower.get(path, login="operator:wrong").status == 401
    for path in ("/api/task/revoke/order-48:book:1", "/api/worker/shutdown/w1@test"):
        assert flower.get(path, data=b"").status == 403
