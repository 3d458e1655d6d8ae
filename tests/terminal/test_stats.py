"""`saga stats`: how the runs stand as a whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from tests.redis_server import RedisServer
    from tests.terminal.conftest import Cli


def test_nothing_is_told_of_no_runs(cli: Cli) -> None:
    """Without runs there is no table, and every figure is nothing."""
    ended = cli("stats")
    assert ended.code == 0
    assert [line.split() for line in ended.lines] == [
        ["active", "0"],
        ["owed", "0"],
        ["past", "deadline", "0"],
        ["due", "0"],
        ["last", "sweep", "none"],
        ["to", "be", "removed", "0"],
        [],
        ["QUEUE", "MESSAGES", "THE", "OLDEST", "WAITS"],
        ["celeriac", "0"],
        ["celery", "0"],
    ]


def test_runs_are_counted_by_saga_and_status(cli: Cli) -> None:
    """One row for each saga, one column for each status that occurs, and what is owed."""
    for n in range(3):
        driven_runs.completed(f"done-{n}")
    driven_runs.failed("owing")
    shop.ping.start(id="p-1")
    ended = cli("stats")
    headings, place_order, ping = ended.lines[0], *sorted(ended.lines[1:3], reverse=True)
    assert headings.split()[:4] == ["SAGA", "RUNNING", "COMPLETED", "FAILED"]
    assert place_order.split() == ["place_order", "3", "1", "4"]
    assert ping.split()[:3] == ["ping", "1", "1"]
    assert "p-1, " in ping
    assert "1 failed: list --status failed" in ended.out


def test_a_sweep_that_is_late_is_told(cli: Cli) -> None:
    """What is due and was not seen to, and since when; then the sweep that saw to it."""
    shop.ping.start(id="p-1")
    store = shop.sagas.runtime.engine.store
    before = json.loads(cli("stats", "-o", "json").out)
    assert (before["overdue"], before["last_sweep"]) == (1, None)
    assert before["lag"] >= 0
    assert "1, the oldest 0 s late" in cli("stats").out
    cli("sweep")
    mark = store.last_sweep()
    assert mark is not None
    after = json.loads(cli("stats", "-o", "json").out)
    assert after["last_sweep"]["took"] == mark.took / 1000


def test_what_should_have_gone_is_told(cli: Cli, server: RedisServer) -> None:
    """Runs whose retention is over and that are still here show that nobody removes them."""
    driven_runs.completed("old")
    with server.client() as client:
        key = shop.sagas.runtime.engine.store._keys.of("old").expire  # type: ignore[attr-defined]
        client.zadd(key, {"old": 1})
    told = json.loads(cli("stats", "-o", "json").out)
    assert told["expired"] == 1
    assert told["retention_lag"] > 10**9
    cli("sweep")
    assert json.loads(cli("stats", "-o", "json").out)["expired"] == 0


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_figures_are_told_to_programs(cli: Cli, form: str) -> None:
    """As one document, with times in UTC and durations in seconds."""
    driven_runs.completed("done")
    shop.ping.start(id="p-1")
    told = json.loads(cli("stats", "-o", form).out)
    assert told["active"] == 1
    assert told["at"].endswith("Z")
    ping, place_order = told["sagas"]
    assert place_order == {
        "saga": "place_order",
        "runs": {"completed": 1},
        "started_last_hour": 1,
        "oldest_active": None,
        "oldest_since": None,
    }
    assert (ping["runs"], ping["oldest_active"]) == ({"running": 1}, "p-1")
    assert ping["oldest_since"].endswith("Z")


def test_stats_have_no_ids(cli: Cli) -> None:
    """There are figures only."""
    assert cli("stats", "-o", "ids").code == 2
