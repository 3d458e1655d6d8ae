"""Runs and their histories as programs get them: the same from every verb, and in an archive.

Owns: which fields there are, and how they are called.  Refuses to know: where the documents go.

The forms are stable: times are ISO 8601 in UTC, to the millisecond.  No payload is among them, nor
the text of an error, which may quote one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.views.times import iso, moment

if TYPE_CHECKING:
    from celeriac.failure import Failure
    from celeriac.machine import Event
    from celeriac.views.next_attempts import NextAttempt
    from celeriac.views.state import RunState, StepView
    from celeriac.views.stats import Stats

_MOMENTS = (
    "deadline",
    "retry",
    "until",
)  # what an event's data holds in milliseconds since the epoch


def run_document(state: RunState) -> dict[str, Any]:
    """A run as programs get it: the same from every verb."""
    return {
        "id": state.id,
        "saga": state.saga,
        "version": state.version,
        "plan": state.plan,
        "run_version": state.run_version,
        "status": state.status.value,
        "started_at": iso(state.started_at),
        "started_by": state.started_by,
        "changed_at": iso(state.changed_at),
        "ended_at": iso(state.ended_at),
        "deadline": iso(state.deadline),
        "tags": state.tags,
        "why": state.why,
        "reason": state.reason,
        "failed_step": state.failed_step,
        "failure": _failure_document(state.failure),
        "owed": list(state.owed),
        "tries": state.tries,
        "most_tries": state.most_tries,
        "begins_at": iso(state.begins_at),
        "rewinds": state.rewinds,
        "rewinds_to": state.rewinds_to,
        "hold": state.hold.model_dump(mode="json") if state.hold else None,
        "parent": {"id": state.parent, "step": state.parent_step} if state.parent else None,
        "origin": state.origin,
        "begins_anew": state.begins_anew,
        "only_forward": state.only_forward,
        "steps": [_step_document(step) for step in state.steps],
    }


def _step_document(step: StepView) -> dict[str, Any]:
    return {
        "name": step.name,
        "task": step.task,
        "status": step.status.value,
        "attempts": step.attempts,
        "undo_attempts": step.undo_attempts,
        "failure": _failure_document(step.failure),
        "undo_failure": _failure_document(step.undo_failure),
        "blocked": step.blocked,
        "asks": step.asks,
        "because": step.because,
        "choice": step.choice,
        "confirm_attempts": step.confirm_attempts,
        "confirm_failure": _failure_document(step.confirm_failure),
        "undone_by": step.undone_by,
        "waits_for": step.waits_for,
        "waits_until": iso(step.waits_until),
        "elements": step.elements,
        "child": step.child,
        "progress": step.progress.model_dump(mode="json") if step.progress else None,
        "next_attempt": _next_document(step.next_attempt),
    }


def _next_document(found: NextAttempt | None) -> dict[str, Any] | None:
    return None if found is None else {**found.model_dump(), "at": iso(found.at)}


def _failure_document(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    # Neither message nor traceback: they may quote a payload.
    return {"type": failure.type, "code": failure.code, "effect": failure.effect}


def event_document(event: Event) -> dict[str, Any]:
    """An event as programs get it: all that was recorded."""
    data = {
        name: iso(moment(value)) if name in _MOMENTS else value
        for name, value in event.data.items()
    }
    return {
        "at": iso(moment(event.at)),
        "event": event.kind.value,
        "step": event.step or None,
        "phase": event.phase if event.step else None,
        "attempt": event.attempt or None,
        "data": data,
    }


def stats_document(stats: Stats) -> dict[str, Any]:
    """How the runs stand as a whole, as programs get it.  Durations are seconds."""
    sweep = stats.last_sweep
    return {
        "at": iso(stats.at),
        "active": stats.active,
        "owed": stats.owed,
        "awaiting": stats.awaiting,
        "past_deadline": stats.past_deadline,
        "overdue": stats.overdue,
        "lag": stats.lag,
        "last_sweep": {"at": iso(sweep.at), "lag": sweep.lag, "took": sweep.took}
        if sweep
        else None,
        "expired": stats.expired,
        "retention_lag": stats.retention_lag,
        "queues": [each.model_dump(mode="json") for each in stats.queues],
        "sagas": [
            {
                "saga": each.saga,
                "runs": {status.value: count for status, count in each.counts.items()},
                "started_last_hour": each.started_last_hour,
                "oldest_active": each.oldest_active,
                "oldest_since": iso(each.oldest_since),
            }
            for each in stats.sagas
        ],
    }
