"""The state machine, wired to a store: one attempt, one command, one sweep.

Owns: what is read and written for each of them, the body of an attempt, repair and retention.
Refuses to know: Celery; messages are sent by a dispatcher that it is given.

Its files, from the ground up::

    answers | archive | attempts | dispatching | failures | herds | processes | store_time
    < changes | deaths | onward | retention < gate_book < gates < committing
    < attempt_work | starting | tokens | turns < sending < children < engine < context_calls
    < bodies | ticks | repair < sweep
"""

from __future__ import annotations

from celeriac.engine.answers import Deferred, Ends, Output, as_answer
from celeriac.engine.archive import Archive, ArchivedRun, JsonLines, find_archive, load_archive
from celeriac.engine.attempt_work import Glance
from celeriac.engine.attempts import Attempt, Delivery
from celeriac.engine.bodies import (
    Again,
    AttemptFailure,
    Prepared,
    Work,
    carry_out,
    classify_error,
    perform,
    prepare,
    report,
    taken,
)
from celeriac.engine.changes import Decided
from celeriac.engine.deaths import RENEWAL, has_ended
from celeriac.engine.dispatching import Backlog, BrokerAway, Dispatcher, Unreachable, asked_for
from celeriac.engine.engine import Engine
from celeriac.engine.herds import HERD
from celeriac.engine.onward import Ahead, Ended
from celeriac.engine.processes import this_process
from celeriac.engine.repair import FAULTS, Repair, Repaired
from celeriac.engine.retention import Archivist, Purge
from celeriac.engine.store_time import steady
from celeriac.engine.sweep import Sweep
from celeriac.engine.ticks import Scheduled, Ticks
from celeriac.engine.tokens import Brought, Said

__all__ = [
    "FAULTS",
    "HERD",
    "RENEWAL",
    "Again",
    "Ahead",
    "Archive",
    "ArchivedRun",
    "Archivist",
    "Attempt",
    "AttemptFailure",
    "Backlog",
    "BrokerAway",
    "Brought",
    "Decided",
    "Deferred",
    "Delivery",
    "Dispatcher",
    "Ended",
    "Ends",
    "Engine",
    "Glance",
    "JsonLines",
    "Output",
    "Prepared",
    "Purge",
    "Repair",
    "Repaired",
    "Said",
    "Scheduled",
    "Sweep",
    "Ticks",
    "Unreachable",
    "Work",
    "as_answer",
    "asked_for",
    "carry_out",
    "classify_error",
    "find_archive",
    "has_ended",
    "load_archive",
    "perform",
    "prepare",
    "report",
    "steady",
    "taken",
    "this_process",
]
