"""Real workers, watched: one endpoint for all their processes, logs, spans and signals.

Owns: what an operator sees of a worker while runs go well, fail, and its children are killed.
Refuses to know: what counts as what.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.testing.servers import free_port
from tests.observing.app import CARD, collect_spans
from tests.observing.processes import Series, World, look, value
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Process

BARE = "%(asctime)s %(message)s"


@contextmanager
def world(folder: Path, **conf: Any) -> Iterator[World]:
    """A Redis and an app of the test's own."""
    with RedisServer(folder / "redis") as redis:
        made = World(folder, redis, **conf)
        try:
            yield made
        finally:
            made.close()


def counted(port: int, outcome: str, step: str = "charge", phase: str = "do") -> float:
    """The attempts of a step that ended so."""
    labels = {"saga": "order", "step": step, "phase": phase, "outcome": outcome}
    return value(look(port), "celeriac_attempts_total", **labels)


def counters(series: Series) -> Series:
    """What must never go back."""
    ends = ("_total", "_count", "_sum", "_bucket")
    return {key: found for key, found in series.items() if key[0].endswith(ends)}


def test_one_endpoint_for_all_processes(tmp_path: Path) -> None:
    """Every attempt in every child is counted once; gauges of the store are beside them."""
    port = free_port()
    with world(tmp_path, saga_metrics_port=port) as at:
        at.worker(children=3)
        for number in range(30):
            at.order(f"order-{number}", *(["abort"] if number % 3 == 0 else []))
        at.until(lambda: counted(port, "completed") >= 20, "all are charged")
        at.until(lambda: counted(port, "completed", "reserve", "undo") >= 10, "all are undone")
        found = look(port)
        ended = {
            outcome: value(found, "celeriac_runs_ended_total", saga="order", outcome=outcome)
            for outcome in ("completed", "compensated", "failed")
        }
        assert ended == {"completed": 20, "compensated": 10, "failed": 0}
        assert counted(port, "completed", "reserve") == 30
        assert counted(port, "aborted") == 10
        assert value(found, "celeriac_step_seconds_count", saga="order", step="charge") == 30
        assert value(found, "celeriac_store_seconds_count", op="commit") >= 100
        gauges = at.until(lambda: _standing(port), "the gauges say so too")
        assert gauges["celeriac_sweep_last_success_timestamp_seconds"] > time.time() - 60
        assert not any("order-" in str(key) for key in found), "no run is a label"


def _standing(port: int) -> dict[str, float]:
    found = look(port)
    if value(found, "celeriac_runs", saga="order", status="completed") != 20:
        return {}
    return {name: amount for (name, labels), amount in found.items() if not labels}


def test_killing_children_loses_no_figure(tmp_path: Path) -> None:
    """Children that are killed in a step, or for no reason, take nothing along that was counted."""
    port = free_port()
    with world(tmp_path, saga_metrics_port=port) as at:
        worker = at.worker(children=2)
        before: Series = {}
        for number in range(1, 5):
            at.order(f"order-{number}", "kill")
            # Told first: what is lost with a child that dies just after a commit is that commit.
            at.until(lambda so_far=number: counted(port, "completed") == so_far, "it is done")  # type: ignore[misc]
            _kill_a_child(worker)
            after = look(port)
            assert all(after[key] >= amount for key, amount in counters(before).items())
            before = after
        assert counted(port, "completed") == 4
        assert counted(port, "completed", "reserve") == 4
        assert counted(port, "unknown") == 4
        assert value(look(port), "celeriac_redispatch_total", reason="lost") == 4


def _kill_a_child(worker: Process) -> None:
    """Kill a pool child that is not at work, as the machine may at any time."""
    os.kill(worker.children()[-1], signal.SIGKILL)


def test_redis_away_and_back(tmp_path: Path) -> None:
    """The endpoint still answers quickly, without gauges and with errors counted."""
    port = free_port()
    with world(tmp_path, saga_metrics_port=port) as at:
        at.worker()
        assert at.order("order-1").result(timeout=30)
        at.until(lambda: value(look(port), "celeriac_runs", saga="order", status="completed"), "")
        os.kill(at.redis.pid, signal.SIGSTOP)  # worse than dead: it does not even refuse
        try:
            at.until(lambda: ("celeriac_overdue", frozenset()) not in look(port), "gauges vanish")
            began = time.monotonic()
            found = look(port)
            assert time.monotonic() - began < 3
            assert value(found, "celeriac_runs_ended_total", saga="order", outcome="completed") == 1
            labels = {"kind": "store_unavailable"}
            at.until(lambda: value(look(port), "celeriac_store_errors_total", **labels), "errors")
        finally:
            os.kill(at.redis.pid, signal.SIGCONT)
        at.until(lambda: ("celeriac_overdue", frozenset()) in look(port), "gauges are back")


def test_a_second_worker_at_the_same_port(tmp_path: Path) -> None:
    """It says what is wrong and works; the first one's figures stay what they were."""
    port = free_port()
    with world(tmp_path, saga_metrics_port=port) as at:
        first = at.worker("w1", children=1)
        second = at.worker("w2", children=1)
        at.until(lambda: second.says("no metrics are served"), "the log says so")
        assert second.says(f"127.0.0.1:{port} cannot be had")
        first.kill()
        assert at.order("order-1").result(timeout=30)


def test_a_dead_worker_leaves_no_port_behind(tmp_path: Path) -> None:
    """Its children, also those that came later, do not keep the port: the next one has it."""
    port = free_port()
    with world(tmp_path, saga_metrics_port=port) as at:
        first = at.worker("w1", children=2)
        _kill_a_child(first)
        run = at.order("order-1", "kill")
        at.until(lambda: run.status == "completed", "with a child that came later")
        os.kill(first.pid, signal.SIGKILL)
        second = at.worker("w2", children=1)
        assert second.says(f"metrics are served at http://127.0.0.1:{port}/metrics")
        assert "celeriac_overdue" in {name for name, _ in look(port)}


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_pools_that_do_not_fork(tmp_path: Path, pool: str) -> None:
    """Where all is one process, it counts all the same."""
    port = free_port()
    with world(tmp_path, saga_metrics_port=port) as at:
        at.worker("w1", "-P", pool)
        assert at.order("order-1", "raise").result(timeout=30)
        at.until(lambda: counted(port, "completed") == 1, "it is counted")
        assert counted(port, "failed") == 1


def test_children_that_are_not_forked(tmp_path: Path) -> None:
    """They cannot tell the main process what they count: the log says so, and runs go on."""
    port = free_port()
    with world(tmp_path, saga_metrics_port=port, worker_pool_start_method="spawn") as at:
        worker = at.worker()
        assert worker.says("what pool children count is not served: they are started by spawn")
        assert at.order("order-1").result(timeout=60)


def test_the_store_by_itself(tmp_path: Path) -> None:
    """Where no worker serves them, a command serves the gauges until it is told to end."""
    port = free_port()
    with world(tmp_path) as at:
        at.order("order-1")
        at.kit.sagas.sweep()
        command = at.run("metrics", "saga", "metrics", "--port", str(port), says="Metrics are at")
        found = look(port)
        assert value(found, "celeriac_runs", saga="order", status="running") == 1
        assert value(found, "celeriac_store_seconds_count", op="figures") >= 1
        command.signal(signal.SIGTERM)
        at.until(lambda: command.ended, "it ends in good order")


def test_children_that_end_leave_nothing_behind(tmp_path: Path) -> None:
    """A child that is replaced after a task has told all it counted, its last questions too."""
    port = free_port()
    with world(tmp_path, saga_metrics_port=port) as at:
        at.worker("w1", "--max-tasks-per-child", "1")
        for number in range(4):
            assert at.order(f"order-{number}").result(timeout=60)
        at.until(lambda: counted(port, "completed") == 4, "every attempt is counted")


# --- logs, signals, spans ----------------------------------------------------------------------


def test_every_record_of_a_step_names_it(tmp_path: Path) -> None:
    """The body's own records, ours, and Celery's of its end: as JSON, with where they belong."""
    with world(tmp_path, saga_log_json=True) as at:
        worker = at.worker()
        run = at.order("order-1", "raise", "abort")
        at.until(lambda: run.status == "compensated", "it is undone")
        at.until(lambda: worker.says("finished: compensated"), "the log says so")
        rows = [row for row in at.rows() if row.get("run") == "order-1"]
    mine = [row for row in rows if row["logger"] == "shop"]
    assert [(row["step"], row["phase"], row["attempt"]) for row in mine] == [
        ("reserve", "do", 1),
        ("charge", "do", 1),
        ("charge", "do", 2),
        ("reserve", "undo", 1),
    ]
    assert {row["saga"] for row in rows} == {"order"}
    assert mine[0]["message"] == "reserving for\na card of 14 digits"
    told = {row["event"] for row in rows if row["logger"] == "celeriac"}
    assert {"failed", "compensation_started", "finished"} <= told
    ended = [row for row in rows if row["logger"] == "celery.app.trace"]
    assert {(row["step"], row["attempt"]) for row in ended} >= {("reserve", 1), ("charge", 2)}
    assert CARD not in (tmp_path / "w1.log").read_text()


def test_a_format_may_name_the_attempt(tmp_path: Path) -> None:
    """The default handlers of a worker know run and step, for whoever puts them into the format."""
    form = "%(levelname)s <%(run)s/%(step)s/%(attempt)s> %(message)s"
    with world(tmp_path, worker_log_format=form, worker_task_log_format=form) as at:
        worker = at.worker()
        assert at.order("order-1").result(timeout=30)
        at.until(lambda: worker.says("INFO <order-1/charge/1> charging after"), "it is named")
        assert worker.says("INFO <//> w1@test ready.")


def test_signals_are_sent_where_it_happens(tmp_path: Path) -> None:
    """Clients and workers send them, once each, and receivers that raise break nothing."""
    path = tmp_path / "signals"
    path.touch()
    with world(tmp_path) as at:
        at.worker()
        run = at.order("order-1", "raise")
        assert run.result(timeout=30)
        at.until(lambda: "saga_completed" in path.read_text(), "the end is told")
        assert path.read_text().splitlines() == [
            "saga_started order order-1 ",
            "saga_step_failed order order-1 charge",
            "saga_completed order order-1 ",
        ]


def test_spans_of_a_run_are_one_trace(tmp_path: Path) -> None:
    """Over client and children, also one that was killed: one trace, and undos linked."""
    with world(tmp_path, saga_traces=True) as at:
        at.worker()
        collect_spans(tmp_path)
        run = at.order("order-1", "kill", "raise", "abort")
        at.until(lambda: run.status == "compensated", "it is undone")
        at.until(lambda: len(at.spans()) >= 6, "all spans are written")
        spans = {
            (span["name"], span["attributes"].get("celeriac.attempt", 0)): span
            for span in at.spans()
        }
    assert set(spans) == {
        ("start order", 0),
        ("order reserve", 1),
        ("order charge lost", 1),
        ("order charge", 2),
        ("order charge", 3),
        ("order undo charge", 1),
        ("order undo reserve", 1),
    } - {("order undo charge", 1)}
    start = spans["start order", 0]
    assert {span["context"]["trace_id"] for span in spans.values()} == {
        start["context"]["trace_id"]
    }
    assert {span["parent_id"] for name, span in spans.items() if name[1]} == {
        start["context"]["span_id"]
    }
    [link] = spans["order undo reserve", 1]["links"]
    assert link["context"]["span_id"] == spans["order reserve", 1]["context"]["span_id"]
    assert spans["order charge", 3]["attributes"]["error.type"] == "Abort"
    assert CARD not in str(spans)
