"""What Flower is told of a run is text there, whatever a run is called.

Owns: a run whose id would be HTML, a template and a script.  Refuses to know: what else Flower
shows (`tests/workers/test_flower.py`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.workers.kit import Trip
from tests.workers.test_flower import Window

if TYPE_CHECKING:
    from tests.workers.world import World

EVIL = "<img src=x onerror=alert(1)>{{7*7}}{% raw 8*8 %}[b]x"


def test_an_id_is_no_html(world: World) -> None:
    """Pages show an id that looks like HTML or a template as it is, escaped."""
    window = Window(world)
    world.worker()
    world.until(lambda: "w1@test" in window.get("/api/workers?refresh=1").text, "Flower sees it")
    run = world.kit.trip.start(Trip(), id=EVIL, tags={"evil": EVIL})
    assert world.rest(run).status == "completed"
    task = f"{EVIL}:book:1"
    page = world.until(lambda: _found(window, task), "Flower has a page for it")
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    assert "{{7*7}}{% raw 8*8 %}" in page
    rows = window.tasks("kit.book")
    # Data, which the page escapes when it draws its table.
    assert [row["args"] for row in rows] == [f"{EVIL[:9]}…{EVIL[-10:]} · book · #1"]
    for path in ("/tasks", "/workers", "/worker/w1@test", "/broker"):
        assert "<img src=x" not in window.get(path).text
    assert json.loads(window.get("/api/tasks").text)[task]["uuid"] == task


def _found(window: Window, task: str) -> str:
    page = window.page(task)
    return page.text if page.status == 200 and "SUCCESS" in page.text else ""
