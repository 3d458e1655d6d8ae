"""Celeriac makes the Celery you already run durable.

Owns: the public names, and refusing to be imported under any other.  Refuses to know: what they do.

A name is imported when it is first asked for, so that `import celeriac` and every `celery` command
take next to nothing.

Its rooms, from the ground up::

    ground < machine | scheduling < gating < authoring | store
    < observing | barrier | definitions | actions < views < engine < workers < doctor < app
    < faces < web < terminal < testing

Two rooms are files beside this one::

    ground: errors failure settings points context
    faces: sagas signals logs archive observe instruments drawing flower flowerconfig
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "celeriac":
    raise ImportError(
        f"the package is `celeriac`, not `{__name__}`: a second copy would have a registry of its "
        "own; install it (`make setup`) and `import celeriac`",
    )

if TYPE_CHECKING:
    from celeriac.app import BulkCommand, Completions, Page, RunHandle, Schedule
    from celeriac.authoring import Breaker, Compensation, Flow, Limit, Rate, Signal, Step
    from celeriac.context import StepContext, current
    from celeriac.engine import ArchivedRun, Purge
    from celeriac.errors import (
        Abort,
        ActionFailed,
        BulkNotFound,
        ChangedSince,
        CommandRefused,
        ConfigurationError,
        DefinitionConflict,
        DefinitionError,
        DefinitionNotFound,
        Done,
        FileInvalid,
        GateNotFound,
        InputInvalid,
        LeaseLost,
        NotYet,
        OutputInvalid,
        PayloadTooLarge,
        ResultTimeout,
        Route,
        RunCompensated,
        RunConflict,
        RunExists,
        RunFailed,
        RunNotFound,
        RunNotSuccessful,
        RunTerminated,
        SagaError,
        ScheduleNotFound,
        Skip,
        StepFailed,
        Stopping,
        StoreError,
        StoreFull,
        StoreUnavailable,
        TokenRefused,
        TokenSettled,
        TokenUnknown,
        TokenVoid,
    )
    from celeriac.failure import Failure
    from celeriac.machine import Event, EventKind, Retry, RunStatus, StepStatus
    from celeriac.observing import (
        saga_compensated,
        saga_completed,
        saga_failed,
        saga_started,
        saga_step_failed,
    )
    from celeriac.sagas import Saga, Sagas
    from celeriac.views import (
        AtGate,
        BulkKind,
        BulkState,
        BulkTurn,
        Completion,
        Durations,
        GateDetails,
        GateState,
        QueueStats,
        RunState,
        SagaStats,
        ScheduleEvent,
        ScheduleState,
        ServerState,
        StartedRuns,
        Stats,
        StepDurations,
        StepView,
        SweepStats,
        WorkerState,
    )

    __version__: str

__all__ = [
    "Abort",
    "ActionFailed",
    "ArchivedRun",
    "AtGate",
    "Breaker",
    "BulkCommand",
    "BulkKind",
    "BulkNotFound",
    "BulkState",
    "BulkTurn",
    "ChangedSince",
    "CommandRefused",
    "Compensation",
    "Completion",
    "Completions",
    "ConfigurationError",
    "DefinitionConflict",
    "DefinitionError",
    "DefinitionNotFound",
    "Done",
    "Durations",
    "Event",
    "EventKind",
    "Failure",
    "FileInvalid",
    "Flow",
    "GateDetails",
    "GateNotFound",
    "GateState",
    "InputInvalid",
    "LeaseLost",
    "Limit",
    "NotYet",
    "OutputInvalid",
    "Page",
    "PayloadTooLarge",
    "Purge",
    "QueueStats",
    "Rate",
    "ResultTimeout",
    "Retry",
    "Route",
    "RunCompensated",
    "RunConflict",
    "RunExists",
    "RunFailed",
    "RunHandle",
    "RunNotFound",
    "RunNotSuccessful",
    "RunState",
    "RunStatus",
    "RunTerminated",
    "Saga",
    "SagaError",
    "SagaStats",
    "Sagas",
    "Schedule",
    "ScheduleEvent",
    "ScheduleNotFound",
    "ScheduleState",
    "ServerState",
    "Signal",
    "Skip",
    "StartedRuns",
    "Stats",
    "Step",
    "StepContext",
    "StepDurations",
    "StepFailed",
    "StepStatus",
    "StepView",
    "Stopping",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "SweepStats",
    "TokenRefused",
    "TokenSettled",
    "TokenUnknown",
    "TokenVoid",
    "WorkerState",
    "current",
    "saga_compensated",
    "saga_completed",
    "saga_failed",
    "saga_started",
    "saga_step_failed",
]

# Where each name is at home.
_HOMES = {
    "celeriac.app": ("BulkCommand", "Completions", "Page", "RunHandle", "Schedule"),
    "celeriac.authoring": ("Breaker", "Compensation", "Flow", "Limit", "Rate", "Signal", "Step"),
    "celeriac.context": ("StepContext", "current"),
    "celeriac.engine": ("ArchivedRun", "Purge"),
    "celeriac.errors": (
        "Abort",
        "ActionFailed",
        "BulkNotFound",
        "ChangedSince",
        "CommandRefused",
        "ConfigurationError",
        "DefinitionConflict",
        "DefinitionError",
        "DefinitionNotFound",
        "Done",
        "FileInvalid",
        "InputInvalid",
        "LeaseLost",
        "NotYet",
        "OutputInvalid",
        "PayloadTooLarge",
        "ResultTimeout",
        "Route",
        "RunCompensated",
        "RunConflict",
        "RunExists",
        "RunFailed",
        "RunNotFound",
        "RunNotSuccessful",
        "RunTerminated",
        "SagaError",
        "GateNotFound",
        "ScheduleNotFound",
        "Skip",
        "StepFailed",
        "Stopping",
        "StoreError",
        "StoreFull",
        "StoreUnavailable",
        "TokenRefused",
        "TokenSettled",
        "TokenUnknown",
        "TokenVoid",
    ),
    "celeriac.failure": ("Failure",),
    "celeriac.machine": ("Event", "EventKind", "Retry", "RunStatus", "StepStatus"),
    "celeriac.observing": (
        "saga_compensated",
        "saga_completed",
        "saga_failed",
        "saga_started",
        "saga_step_failed",
    ),
    "celeriac.sagas": ("Saga", "Sagas"),
    "celeriac.views": (
        "BulkKind",
        "BulkState",
        "BulkTurn",
        "AtGate",
        "Completion",
        "Durations",
        "GateDetails",
        "GateState",
        "QueueStats",
        "RunState",
        "SagaStats",
        "ScheduleEvent",
        "ScheduleState",
        "ServerState",
        "StartedRuns",
        "Stats",
        "StepDurations",
        "StepView",
        "SweepStats",
        "WorkerState",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        return import_module("importlib.metadata").version("celeriac")
    if name not in _HOME:
        raise AttributeError(f"module 'celeriac' has no attribute {name!r}")
    found = getattr(import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
