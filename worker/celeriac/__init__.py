"""Celeriac makes the Celery you already run durable.

Owns: the public names, and refusing to be imported under any other.
"""

from __future__ import annotations

if __name__ != "celeriac":
    raise ImportError(
        f"the package is `celeriac`, not `{__name__}`: a second copy would have a registry of its "
        "own; install it (`make setup`) and `import celeriac`"
    )

from celeriac.archive import ArchivedRun
from celeriac.client import Page, RunHandle
from celeriac.context import StepContext, current
from celeriac.errors import (
    Abort,
    CommandRefused,
    ConfigurationError,
    DefinitionError,
    InputInvalid,
    LeaseLost,
    OutputInvalid,
    PayloadTooLarge,
    ResultTimeout,
    RunCompensated,
    RunConflict,
    RunExists,
    RunFailed,
    RunNotFound,
    RunNotSuccessful,
    RunTerminated,
    SagaError,
    StepFailed,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from celeriac.flow import Flow
from celeriac.models import Event, EventKind, Failure, RunState, RunStatus, StepStatus, StepView
from celeriac.policy import Retry
from celeriac.retention import Purge
from celeriac.sagas import Saga, Sagas
from celeriac.signals import (
    saga_compensated,
    saga_completed,
    saga_failed,
    saga_started,
    saga_step_failed,
)
from celeriac.stats import SagaStats, Stats, SweepStats
from celeriac.steps import Compensation, Step

__all__ = [
    "Abort",
    "ArchivedRun",
    "CommandRefused",
    "Compensation",
    "ConfigurationError",
    "DefinitionError",
    "Event",
    "EventKind",
    "Failure",
    "Flow",
    "InputInvalid",
    "LeaseLost",
    "OutputInvalid",
    "Page",
    "PayloadTooLarge",
    "Purge",
    "ResultTimeout",
    "Retry",
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
    "Stats",
    "Step",
    "StepContext",
    "StepFailed",
    "StepStatus",
    "StepView",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "SweepStats",
    "current",
    "saga_compensated",
    "saga_completed",
    "saga_failed",
    "saga_started",
    "saga_step_failed",
]
