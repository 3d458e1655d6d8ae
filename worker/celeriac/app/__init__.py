"""Everything put together for one Celery app.

Owns: what an app gets from Celeriac, and what application code is given in return.  Refuses to
know: how anything is decided, stored or sent.

Its files, from the ground up::

    inputs | offload | instruments | joining | hindrances | queue_stats
    | tick_logs | acting | kept | gates < results | named
    < forking | schedules < handles < defining | pages | starting < bulk | completions
    | finding
    < bulks < sweeping < wiring | saga < known_runs
"""

from __future__ import annotations

from celeriac.app.bulk import give, kinds, matching, that_do_not_ask
from celeriac.app.bulks import BULK_VERBS, BulkCommand, BulkVerb, look_at, newest_bulks
from celeriac.app.completions import Completions, find_completions
from celeriac.app.defining import Definitions
from celeriac.app.finding import (
    ReadFilter,
    dump_known,
    find_runs,
    handle_of,
    prepare_purge,
)
from celeriac.app.gates import look_at_gate, look_at_gates, set_breaker
from celeriac.app.handles import RunHandle, dump_plain
from celeriac.app.hindrances import Hindrance, find_hindrances
from celeriac.app.inputs import inputs_of, inputs_of_texts, looked_up
from celeriac.app.instruments import Instruments, count_into, serve_store
from celeriac.app.kept import (
    KeptDefinition,
    keep,
    kept_definition,
    kept_definitions,
    read_file,
)
from celeriac.app.known_runs import KnownRuns
from celeriac.app.offload import offload
from celeriac.app.pages import Page
from celeriac.app.queue_stats import queue_stats
from celeriac.app.results import bring_failure, bring_result
from celeriac.app.saga import Family, Saga
from celeriac.app.schedules import Schedule, ScheduleDefinitions, states_of
from celeriac.app.starting import IfExists, prepare_start, start_run
from celeriac.app.sweeping import sweep_once
from celeriac.app.wiring import wire

__all__ = [
    "BULK_VERBS",
    "BulkCommand",
    "BulkVerb",
    "Completions",
    "Definitions",
    "Family",
    "Hindrance",
    "IfExists",
    "Instruments",
    "KeptDefinition",
    "KnownRuns",
    "Page",
    "ReadFilter",
    "RunHandle",
    "Saga",
    "Schedule",
    "ScheduleDefinitions",
    "bring_failure",
    "bring_result",
    "count_into",
    "dump_known",
    "dump_plain",
    "find_completions",
    "find_hindrances",
    "find_runs",
    "give",
    "handle_of",
    "inputs_of",
    "inputs_of_texts",
    "keep",
    "kept_definition",
    "kept_definitions",
    "kinds",
    "look_at",
    "look_at_gate",
    "look_at_gates",
    "looked_up",
    "matching",
    "newest_bulks",
    "offload",
    "prepare_purge",
    "prepare_start",
    "queue_stats",
    "read_file",
    "serve_store",
    "set_breaker",
    "start_run",
    "states_of",
    "sweep_once",
    "that_do_not_ask",
    "wire",
]
