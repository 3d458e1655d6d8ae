"""`make bench`: that it runs, and what it prints.

Owns: the JSON document, the table's verdicts, and finding what keeps a process busy.  Refuses to
know: how fast anything is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from bench.rows import LEAST, MOST, Bound, Row, rows_of, table
from bench.sampling import sampled
from tests.house.sources import ROOT
from tests.processes import environment

if TYPE_CHECKING:
    from pathlib import Path


PARTS = ("throughput", "failing", "trips", "waking", "gates", "web")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `make bench` prints as JSON, for a few runs of the parts that are quick."""
    words = ["--runs", "8", "--rounds", "1", "--children", "1", "--waking", "20", "--json"]
    words += ["--listed", "400", "--line", "20"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--only", *PARTS],
        cwd=ROOT,
        env=environment(TMPDIR=str(tmp_path_factory.mktemp("bench"))),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_both_sides_are_measured(measured: dict[str, Any]) -> None:
    """Chains and sagas ran to their end, failing ones as well, and CPU time was seen on both."""
    assert measured["settings"]["runs"] == 8
    assert measured["settings"]["celery"]
    found = measured["figures"]["ahead"]
    for sides, count in ((found["throughput"]["3"], 8), (found["failing"], 4)):
        assert sides.keys() == {"chain", "saga"}
        for side in sides.values():
            assert side["count"] == count
            assert side["per_second"] > 0
            assert side["cpu_ms_a_step"].keys() >= {"celery", "main", "children", "redis", "client"}
            assert side["cpu_ms_a_step"]["client"] > 0


def test_each_row_says_what_must_be(measured: dict[str, Any]) -> None:
    """A row has today's value, the bound, and whether it holds; parts left out have none."""
    rows = measured["rows"]
    assert {row["part"] for row in rows} == set(PARTS)
    for row in rows:
        bound = row["bound"]
        assert (row["holds"] is None) == (bound is None)
        if bound:
            over = row["value"] >= bound["must"], row["value"] <= bound["must"]
            assert row["holds"] is over[0 if bound["sign"] == LEAST else 1]
    assert any(row["bound"] for row in rows)


def test_a_bound_has_a_direction() -> None:
    """What must be large is missed below the bound, and what must be small above it."""
    for sign, good, bad in ((LEAST, 2.1, 1.9), (MOST, 1.9, 2.1)):
        for value, verdict, word in ((good, True, "holds"), (bad, False, "MISSED")):
            row = Row("memory", "figure", value, "x", 1.0, value, Bound(sign, 2.0, 3.0))
            assert row.holds is verdict
            assert table([row]).endswith(word)


def test_the_growth_is_that_of_each_side() -> None:
    """A step that costs twice as much in a long run grew by 100 %, whatever the chain does."""

    def side(ms: float) -> dict[str, Any]:
        cpu = {"celery": ms, "redis": ms, "client": ms}
        return {"per_second": 1 / ms, "ms_a_step": ms, "cpu_ms_a_step": cpu}

    lengths = {str(n): {"chain": side(1), "saga": side(ms)} for n, ms in ((3, 2), (100, 4))}
    rows = rows_of({"off": {"throughput": lengths}})
    growth = next(row for row in rows if "growth" in row.name)
    assert (growth.chain, growth.saga, growth.holds) == (0, 100, False)


def test_the_sampler_finds_what_is_busy(tmp_path: Path) -> None:
    """A function that uses all the time is what a profile shows first."""

    def burn() -> None:
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass

    with sampled(tmp_path / "found.json"):
        burn()
    _, function, count = json.loads((tmp_path / "found.json").read_text())[0]
    assert function.endswith("burn")
    assert count > 5
