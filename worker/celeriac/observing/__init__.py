"""Who hears of what happens: logs, signals, traces and metrics.

Owns: the notices of the engine, and everyone who listens to them.  Refuses to know: how to break
anything; whatever goes wrong in here is contained.

Its files, from the ground up::

    sentences < observers < logs | signals | traces | metrics
"""

from __future__ import annotations

from celeriac.observing.logs import LINE, AttemptFilter, JsonFormatter, dress, log_context
from celeriac.observing.observers import (
    Asked,
    BreakerMoved,
    Claiming,
    Committed,
    Observer,
    Observers,
    Refused,
    Settled,
    Starting,
    Swept,
    Ticked,
    Working,
    log,
    logged,
)
from celeriac.observing.sentences import clean, details, tick_details, title, too_slow
from celeriac.observing.signals import (
    saga_compensated,
    saga_completed,
    saga_failed,
    saga_started,
    saga_step_failed,
    send_signals,
)

__all__ = [
    "LINE",
    "Asked",
    "AttemptFilter",
    "BreakerMoved",
    "Claiming",
    "Committed",
    "JsonFormatter",
    "Observer",
    "Observers",
    "Refused",
    "Settled",
    "Starting",
    "Swept",
    "Ticked",
    "Working",
    "clean",
    "details",
    "dress",
    "log",
    "log_context",
    "logged",
    "saga_compensated",
    "saga_completed",
    "saga_failed",
    "saga_started",
    "saga_step_failed",
    "send_signals",
    "tick_details",
    "title",
    "too_slow",
]
