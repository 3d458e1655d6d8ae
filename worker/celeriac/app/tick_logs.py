"""What is logged of the ticks of the sweep: nothing while they come, a line while they cannot.

Owns: which of Celery's records are about a tick, and how often it is said that none can be sent.
Refuses to know: what a tick does, and who sends it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError

from celeriac.observing import clean, log

if TYPE_CHECKING:
    from collections.abc import Callable

#: The task that a tick is.
SWEEP = "celeriac.sweep"
_AGAIN = 60.0  # seconds after which it is said once more
_LOGGERS_OF_EVERY_TASK = ("celery.app.trace", "celery.worker.strategy", "celery.beat")
# Says of each tick that waited too long that it is discarded: a hundred after a stop of minutes.
_LOGGER_OF_REQUESTS = "celery.worker.request"


def quieten() -> None:
    """Keep the ticks of the sweep out of the logs: one a second hides everything else."""
    for name in _LOGGERS_OF_EVERY_TASK:
        logging.getLogger(name).addFilter(_not_a_tick)
    logging.getLogger(_LOGGER_OF_REQUESTS).addFilter(_no_news_of_a_tick)


def _not_a_tick(record: logging.LogRecord) -> bool:
    told = record.args
    if isinstance(told, dict):
        return told.get("name") != SWEEP
    return not (isinstance(told, tuple) and SWEEP in told)


def _no_news_of_a_tick(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or _not_a_tick(record)


class OutageFilter(logging.Filter):
    """Makes one line a minute of a beat's errors while the broker is away.

    Celery logs a stack and a traceback for every tick, some 150 lines a second.  What else keeps a
    tick from being sent stays as it is.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: float | None = None  # when it was last said; None: the broker is there

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten an error that is about a tick, or leave it out."""
        cause = _outage(record)
        if cause is None:
            return True
        now = self._clock()
        if self._told is not None and now - self._told < _AGAIN:
            return False
        self._told = now
        record.msg = "the sweep cannot be sent, since the broker cannot be reached: %s"
        record.args = (clean(str(cause)),)
        record.exc_info = record.exc_text = None
        return True

    def sent(self, **_: Any) -> None:
        """Note that a tick was sent: the next outage is another."""
        if self._told is not None:
            self._told = None
            log.info("the sweep is sent again")


def _outage(record: logging.LogRecord) -> BaseException | None:
    """What kept a tick from being sent, if that is what a record tells and the broker was away."""
    from celery.beat import SchedulingError  # noqa: PLC0415 -- only a beat needs it

    error = record.args[0] if isinstance(record.args, tuple) and record.args else None
    if not isinstance(error, SchedulingError) or SWEEP not in str(error):
        return None
    cause = error.__cause__ or error.__context__
    return cause if isinstance(cause, OperationalError | OSError) else None
