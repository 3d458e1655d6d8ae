"""Logs that say which attempt they are about: run, saga, step, phase, attempt, trace.

Owns: what is added to every record, wherever in a step it was made, the form of JSON lines, and
setting both up in a worker.  Refuses to know: levels and wording of our own lines (`observe`), and
what other people's records say; a payload that a step logs is logged.

In a program that sets up its logging by itself::

    handler.addFilter(celeriac.logs.AttemptFilter())
    handler.setFormatter(celeriac.logs.JsonFormatter())
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from celeriac.observing.observers import Notice, Working, escaped, log, only
from celeriac.observing.sentences import clean

#: What every record has, once it has passed the filter; empty where it does not apply.
FIELDS = ("run", "saga", "step", "phase", "attempt", "trace_id", "span_id")

#: A format for lines of text: `app.conf.worker_log_format = app.conf.worker_task_log_format = …`
LINE = (
    "[%(asctime)s: %(levelname)s/%(processName)s] "
    "[%(run)s %(saga)s %(step)s %(phase)s %(attempt)s] %(message)s"
)

_NOWHERE: dict[str, str | int] = dict.fromkeys(FIELDS[:5], "")
_TRACER = "celery.app.trace"  # the logger that tells how a task ended, just after it has
_working: ContextVar[Working | None] = ContextVar("celeriac_log_working", default=None)
_worked: ContextVar[Working | None] = ContextVar("celeriac_log_worked", default=None)

# What logging itself puts into a record; the rest was given as `extra`.
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Celery's `data` repeats the line, and has the arguments of other people's tasks.
_LEFT_OUT = _KNOWN | {"data"}


@only(Working)
def log_context(notice: Notice) -> AbstractContextManager[None] | None:
    """The observer that knows which attempt is at work, for the records made meanwhile."""
    return _AtWork(notice) if isinstance(notice, Working) else None


class _AtWork(AbstractContextManager[None]):
    """The time in which a body is at work.  A class, since there is one for every attempt."""

    __slots__ = ("_token", "_work")

    def __init__(self, work: Working) -> None:
        self._work = work

    def __enter__(self) -> None:
        self._token = _working.set(self._work)

    def __exit__(self, *_: object) -> None:
        _working.reset(self._token)
        _worked.set(self._work)


# --- records -----------------------------------------------------------------------------------


class AttemptFilter(logging.Filter):
    """Adds to each record which attempt it is about; lets all of them pass.

    To be put on a handler: a logger's filter sees only what is logged there directly.  What a
    record says of itself (`extra=`) stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is missing."""
        work = _working.get() or _just_left(record)
        for name, value in _about(work).items():
            if not hasattr(record, name):
                setattr(record, name, value)
        if not hasattr(record, "trace_id"):
            record.trace_id, record.span_id = _trace()
        return escaped(record) if record.name.startswith(log.name) else True


def _about(work: Working | None) -> dict[str, str | int]:
    if work is None:
        return _NOWHERE
    return {
        "run": clean(work.run_id),
        "saga": work.saga,
        "step": work.step,
        "phase": work.phase,
        "attempt": work.attempt,
    }


def _just_left(record: logging.LogRecord) -> Working | None:
    """The attempt that has just ended, if the record is Celery's line about that."""
    work = _worked.get()
    if work is not None and record.name == _TRACER and isinstance(record.args, dict):
        task_id = str(record.args.get("id", ""))
        if task_id.startswith(work.run_id) and f":{work.step}:" in task_id:
            return work
    return None


def _trace() -> tuple[str, str]:
    """The ids of the span at work, if anybody in this process makes spans."""
    known = sys.modules.get("opentelemetry.trace")
    if known is None:
        return "", ""
    span = known.get_current_span().get_span_context()
    if not span.is_valid:
        return "", ""
    return f"{span.trace_id:032x}", f"{span.span_id:016x}"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, and what is known beside it.

    Whatever was given as `extra` is kept, as text if it is not JSON.  Control characters are
    escaped, as JSON wants it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        for name, value in vars(record).items():
            if name not in _LEFT_OUT and not name.startswith("_") and value not in ("", None):
                line.setdefault(name, value)
        if isinstance(record.exc_info, tuple):
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str)


# --- a worker ----------------------------------------------------------------------------------


def dress(logger: logging.Logger, *, as_json: bool) -> None:
    """Let every handler of *logger* know the attempt, and write JSON if that is wanted."""
    for handler in logger.handlers:
        if not any(isinstance(each, AttemptFilter) for each in handler.filters):
            handler.addFilter(AttemptFilter())
        if as_json:
            handler.setFormatter(JsonFormatter())
