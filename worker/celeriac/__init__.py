"""Celeriac makes the Celery you already run durable.

Owns: the public names, and refusing to be imported under any other.
"""

from __future__ import annotations

if __name__ != "celeriac":
    raise ImportError(
        f"the package is `celeriac`, not `{__name__}`: a second copy would have a registry of its "
        "own; install it (`make setup`) and `import celeriac`"
    )

from celeriac.app.client import Page, RunHandle
from celeriac.authoring.flow import Flow
from celeriac.authoring.steps import Compensation, Step
from celeriac.context import StepContext, current
from celeriac.engine.archive import ArchivedRun
from celeriac.engine.retention import Purge
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
from celeriac.failure import Failure
from celeriac.machine.events import Event, EventKind
from celeriac.machine.policy import Retry
from celeriac.machine.runs import RunStatus, StepStatus
from celeriac.observing.signals import (
    saga_compensated,
    saga_completed,
    saga_failed,
    saga_started,
    saga_step_failed,
)
from celeriac.sagas import Saga, Sagas
from celeriac.views.state import RunState, StepView
from celeriac.views.stats import SagaStats, Stats, SweepStats

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
