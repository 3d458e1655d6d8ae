"""Records that know their attempt, and their form as JSON.

Owns: the filter and the formatter, on loggers of the test's own.  Refuses to know: how a worker
sets them up (`test_workers`).
"""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from celeriac.observing.logs import FIELDS, LINE, AttemptFilter, JsonFormatter, dress, log_context
from celeriac.observing.observers import Observers, Working

if TYPE_CHECKING:
    from collections.abc import Iterator

WORK = Working("order-42", "place_order", "charge", "undo", 2, "h")
PLACE = {"run": "order-42", "saga": "place_order", "step": "charge", "phase": "undo", "attempt": 2}
watching = Observers(log_context)


class Log:
    """A logger with one handler, and what was written there."""

    def __init__(self, name: str, form: str = LINE, *, as_json: bool = False) -> None:
        self.out = io.StringIO()
        self.logger = logging.getLogger(name)
        self.logger.setLevel(logging.DEBUG)
        handler = logging.StreamHandler(self.out)
        handler.setFormatter(logging.Formatter(form))
        self.logger.addHandler(handler)
        dress(self.logger, as_json=as_json)

    @property
    def lines(self) -> list[str]:
        """The lines written so far."""
        return self.out.getvalue().splitlines()

    @property
    def row(self) -> dict[str, Any]:
        """The only line, which is JSON."""
        [line] = self.lines
        row = json.loads(line)
        assert isinstance(row, dict)
        return row


@pytest.fixture
def shop(request: pytest.FixtureRequest) -> Iterator[Log]:
    """A logger that writes lines of text."""
    made = Log(f"shop.{request.node.name}")
    yield made
    made.logger.handlers.clear()


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> Iterator[Log]:
    """A logger that writes JSON."""
    made = Log(f"rows.{request.node.name}", as_json=True)
    # What is logged here need not be text that a test runner could send on, and pytest listens to
    # every logger that it can find.
    made.logger.propagate = False
    del logging.root.manager.loggerDict[made.logger.name]
    yield made
    made.logger.handlers.clear()


def test_records_of_a_step_know_it(shop: Log) -> None:
    """Whatever is logged below a step names run, saga, step, phase and attempt; nothing after."""
    with watching.during(WORK):
        shop.logger.info("sold %s", "a mug")
    shop.logger.info("closed")
    first, second = shop.lines
    assert first.endswith("[order-42 place_order charge undo 2] sold a mug")
    assert second.endswith("[    ] closed")


def test_attempts_of_other_threads_are_told_apart(shop: Log) -> None:
    """Two attempts at once in one process: each record names its own."""
    both = threading.Barrier(2)

    def work(run: str) -> None:
        with watching.during(WORK._replace(run_id=run)):
            both.wait(10)
            shop.logger.info("from %s", run)

    threads = [threading.Thread(target=work, args=(run,)) for run in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(line.partition("] [")[2] for line in shop.lines) == [
        f"{run} place_order charge undo 2] from {run}" for run in ("a", "b")
    ]


def test_an_attempt_within_an_attempt(shop: Log) -> None:
    """When the inner one is over, the outer one is at work again."""
    with watching.during(WORK):
        with watching.during(WORK._replace(run_id="inner")):
            pass
        shop.logger.info("back")
    assert "[order-42 " in shop.lines[0]


def test_what_a_record_says_of_itself_stays(shop: Log) -> None:
    """A field given as `extra` is not overwritten."""
    with watching.during(WORK):
        shop.logger.info("moved", extra={"step": "elsewhere"})
    assert "[order-42 place_order elsewhere undo 2]" in shop.lines[0]


def test_celerys_line_about_the_end_of_an_attempt_knows_it() -> None:
    """What Celery logs of a task just after it has ended belongs to its attempt, and only that."""
    celery = Log("celery.app.trace")
    before = celery.logger.propagate
    celery.logger.propagate = False
    try:
        with watching.during(WORK):
            pass
        for task_id in ("order-42:charge:undo:2", "order-42:ship:1", "c0ffee"):
            celery.logger.info(
                "Task %(name)s[%(id)s] ended", {"name": "shop.refund", "id": task_id}
            )
    finally:
        celery.logger.propagate = before
        celery.logger.handlers.clear()
    assert ["[order-42 place_order charge" in line for line in celery.lines] == [True, False, False]


def test_every_field_is_always_there(shop: Log) -> None:
    """A format may name each of them, whoever logs."""
    shop.logger.handlers[0].setFormatter(
        logging.Formatter(" ".join(f"%({name})s" for name in FIELDS) + "|")
    )
    shop.logger.info("x")
    assert shop.lines == ["      |"]


def test_trace_ids_are_those_of_the_span_at_work(rows: Log) -> None:
    """Whoever makes spans, a record names the one it was made in."""
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        rows.logger.info("x")
    assert rows.row["trace_id"] == f"{0xABC:032x}"
    assert rows.row["span_id"] == f"{0xDEF:016x}"


# --- JSON --------------------------------------------------------------------------------------


def test_a_row_says_what_is_known(rows: Log) -> None:
    """Time, level, logger and message, the attempt, and what was given as extra."""
    with watching.during(WORK):
        rows.logger.warning("sold %d", 3, extra={"sku": "mug", "at": {1}})
    row = rows.row
    assert {name: row[name] for name in PLACE} == PLACE
    assert (row["level"], row["message"], row["sku"]) == ("WARNING", "sold 3", "mug")
    assert row["at"] == "{1}", "what is not JSON is text"
    assert row["logger"] == rows.logger.name
    assert row["time"].endswith("+00:00")


def test_a_row_leaves_out_what_is_not_known(rows: Log) -> None:
    """Outside of a step there are no empty fields."""
    rows.logger.info("closed")
    assert set(rows.row) == {"time", "level", "logger", "message", "process"}


@pytest.mark.parametrize("sign", ["\n", "\r", "\x1b", "\u2028", "\x00", '"', "\ud800"])
def test_a_row_is_one_line(rows: Log, sign: str) -> None:
    """Whatever a message holds, it is one line of JSON, and the message is still all there."""
    rows.logger.info("a%sb", sign)
    assert len(rows.out.getvalue().split("\n")) == 2
    assert rows.out.getvalue().isascii()
    assert rows.row["message"] == f"a{sign}b"


def test_an_error_is_in_its_row(rows: Log) -> None:
    """A traceback is a field, and the line stays a line."""
    try:
        int("by\nzero")
    except ValueError:
        rows.logger.exception("no result", stack_info=True)
    assert (
        r"ValueError: invalid literal for int() with base 10: 'by\nzero'" in rows.row["exception"]
    )
    assert "test_an_error_is_in_its_row" in rows.row["stack"]


def test_arguments_of_tasks_are_left_out(rows: Log) -> None:
    """Celery hands the arguments of any task along with its lines: they may be payloads."""
    rows.logger.info("Task ended", extra={"data": {"args": "('4929-1234',)"}})
    assert "4929" not in rows.out.getvalue()


def test_a_field_of_ours_cannot_be_replaced_by_extra(rows: Log) -> None:
    """Nobody can make a row say that it has another level or time."""
    rows.logger.info("x", extra={"level": "ERROR", "time": "never"})
    assert rows.row["level"] == "INFO"
    assert rows.row["time"] != "never"


def test_dressing_twice_is_once(shop: Log) -> None:
    """A handler gets one filter, however often a worker sets up its logging."""
    dress(shop.logger, as_json=False)
    [handler] = shop.logger.handlers
    assert [type(each) for each in handler.filters] == [AttemptFilter]
    assert isinstance(handler.formatter, logging.Formatter)
    dress(shop.logger, as_json=True)
    assert isinstance(handler.formatter, JsonFormatter)
