"""Signals for applications, in Celery's style: what a run came to, told in the process that saw it.

Owns: the five signals and what each is sent with.  Refuses to know: who receives them, and
payloads: whoever needs more has the run's id.

A signal is sent once for an event, after it was written, in the process that wrote it: a client, a
worker's child, or whoever sweeps.  A process that dies between the two sends nothing, so a signal
comes at most once, and the run's history is what to rely on.  What a receiver raises is logged and
goes no further; how long it takes, the step or the client waits.

::

    @saga_failed.connect
    def page(sender, run_id, owed, **_):   # sender is the saga's name: connect(…, sender="order")
        ...
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery.utils.dispatch import Signal

from celeriac.machine import EventKind, RunStatus
from celeriac.observing.observers import Committed, only

if TYPE_CHECKING:
    from celeriac.machine import Event, Run
    from celeriac.observing.observers import Notice

#: A run was accepted.  With `run_id`, `saga`, `tags`.
saga_started = Signal(name="saga_started", providing_args={"run_id", "saga", "tags"})
#: An attempt of a step or of its compensation failed, or was given up as lost.  With `run_id`,
#: `saga`, `step`, `phase` (do, undo), `attempt`, `error` (the class, not the message), `code`,
#: `outcome` (failed, unknown) and `retry_at` (None: it was the last attempt).
saga_step_failed = Signal(
    name="saga_step_failed",
    providing_args={
        "run_id",
        "saga",
        "step",
        "phase",
        "attempt",
        "error",
        "code",
        "outcome",
        "retry_at",
    },
)
#: A run has ended well.  With `run_id`, `saga`, `seconds` since its start.
saga_completed = Signal(name="saga_completed", providing_args={"run_id", "saga", "seconds"})
#: A run has ended, and all it did was undone.  With `run_id`, `saga`, `seconds`, `why` (failed,
#: cancelled, deadline), `step` (the one that failed) and `reason` (what an operator said).
saga_compensated = Signal(
    name="saga_compensated", providing_args={"run_id", "saga", "seconds", "why", "step", "reason"}
)
#: A run rests in `failed`: somebody has to retry or waive what is `owed` (names of steps).  With
#: `run_id`, `saga`, `seconds`, `why`, `step`, `reason`, `owed`.
saga_failed = Signal(
    name="saga_failed",
    providing_args={"run_id", "saga", "seconds", "why", "step", "reason", "owed"},
)


@only(Committed)
def send_signals(notice: Notice) -> None:
    """The observer that sends the signals."""
    if isinstance(notice, Committed) and _anybody():
        for event in notice.events:
            _send(notice.run, event)


def _anybody() -> bool:
    return bool(  # spelled out: this is asked at every commit
        saga_started.receivers
        or saga_step_failed.receivers
        or saga_completed.receivers
        or saga_compensated.receivers
        or saga_failed.receivers
    )


def _send(run: Run, event: Event) -> None:
    if event.kind is EventKind.STARTED:
        _signal(saga_started, run, tags=dict(run.tags))
    elif event.kind in (EventKind.FAILED, EventKind.LOST):
        _step_failed(run, event)
    elif event.kind is EventKind.FINISHED:
        _finished(run, event)


def _step_failed(run: Run, event: Event) -> None:
    unknown = event.kind is EventKind.LOST or event.data.get("why") == "timeout"
    retry = event.data.get("retry")
    _signal(
        saga_step_failed,
        run,
        step=event.step,
        phase=event.phase,
        attempt=event.attempt,
        error=event.data.get("error"),
        code=event.data.get("code"),
        outcome="unknown" if unknown else "failed",
        retry_at=None if retry is None else datetime.fromtimestamp(retry / 1000, UTC),
    )


def _finished(run: Run, event: Event) -> None:
    outcome = RunStatus(event.data["outcome"])
    seconds = max(0, event.at - run.started_at) / 1000
    if outcome is RunStatus.COMPLETED:
        _signal(saga_completed, run, seconds=seconds)
        return
    how = {"seconds": seconds, "why": run.why, "step": run.failed_step, "reason": run.reason}
    if outcome is RunStatus.COMPENSATED:
        _signal(saga_compensated, run, **how)
    elif outcome is RunStatus.FAILED:
        _signal(saga_failed, run, **how, owed=run.owed)


def _signal(signal: Any, run: Run, **details: Any) -> None:
    signal.send(sender=run.saga, run_id=run.id, saga=run.saga, **details)
