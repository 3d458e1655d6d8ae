"""What counts: the observer that turns notices into samples.

Owns: which notice counts as what.  Refuses to know: where samples go; *sink* takes them, one at a
time: a name of the table, the values of its labels, and how much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import NOT_SENT, EventKind, Fail, PhaseStatus, gate_named
from celeriac.observing.observers import (
    Asked,
    BreakerMoved,
    Committed,
    Refused,
    Swept,
    Ticked,
)
from celeriac.scheduling import TickEventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine import Event, Run
    from celeriac.observing.observers import Notice
    from celeriac.scheduling import TickEvent


class Counting:
    """The observer that counts: gives *sink* a name, the values of its labels, and how much."""

    def __init__(self, sink: Callable[[str, tuple[str, ...], float], None]) -> None:
        self._sink = sink

    def __call__(self, notice: Notice) -> None:
        """Count what there is to count."""
        if isinstance(notice, Committed):
            for event in notice.events:
                self._event(notice, event)
        elif isinstance(notice, Asked):
            self._asked(notice)
        elif isinstance(notice, Refused):
            self._refused(notice)
        elif isinstance(notice, Swept):
            self._sink("celeriac_sweep_seconds", (), notice.seconds)
        elif isinstance(notice, BreakerMoved):
            labels = (notice.gate, notice.state)
            self._sink("celeriac_breaker_transitions_total", labels, 1)
        elif isinstance(notice, Ticked):
            for each in notice.events:
                self._ticked(notice.schedule, each)

    def _event(self, notice: Committed, event: Event) -> None:
        run, kind = notice.run, event.kind
        if kind is EventKind.STARTED:
            self._sink("celeriac_runs_started_total", (run.saga,), 1)
        elif kind in (EventKind.FINISHED, EventKind.TERMINATED):
            self._ended(run, event)
        elif kind is EventKind.TRY_ENDED:
            self._sink("celeriac_tries_ended_total", (run.saga,), 1)
        elif kind is EventKind.CLAIMED:
            self._claimed(notice, event)
        elif kind in (EventKind.COMPLETED, EventKind.FAILED, EventKind.LOST) and event.attempt:
            self._attempted(notice, event)
        elif kind is EventKind.LATE:
            self._late(notice, event)
        elif kind is EventKind.WAIVED:
            self._compensated(run, event, "waived")
        elif kind is EventKind.DISPATCHED and event.data.get("why") == "unclaimed":
            self._sink("celeriac_redispatch_total", ("unclaimed",), 1)
        elif kind in (EventKind.BLOCKED, EventKind.QUEUED):
            self._blocked(run, event)

    def _blocked(self, run: Run, event: Event) -> None:
        """What a step waits for: a gate, or something to be mended."""
        if event.kind is EventKind.QUEUED:
            self._sink("celeriac_queued_total", (run.saga, event.step), 1)
        elif event.data:
            unsent = str(event.data.get("why", "")).startswith(NOT_SENT)
            labels = (run.saga, event.step, "not_sent" if unsent else "unknown_task")
            self._sink("celeriac_blocked_total", labels, 1)

    def _ticked(self, schedule: str, event: TickEvent) -> None:
        if event.kind in (TickEventKind.STARTED, TickEventKind.TRIGGERED):
            self._sink("celeriac_schedule_ticks_total", (schedule, event.kind.value), 1)
        elif event.kind is TickEventKind.SKIPPED:
            why = event.why.partition(":")[0]
            self._sink("celeriac_schedule_ticks_total", (schedule, why), event.count)

    def _ended(self, run: Run, event: Event) -> None:
        labels = (run.saga, event.data.get("outcome", "terminated"))
        self._sink("celeriac_runs_ended_total", labels, 1)
        self._sink("celeriac_run_seconds", labels, max(0, event.at - run.started_at) / 1000)

    def _claimed(self, notice: Committed, event: Event) -> None:
        for gate in (*notice.run.step(event.step).gates, *event.data.get("enters", ())):
            self._sink("celeriac_gate_granted_total", (gate_named(gate),), 1)
        if event.phase == "do" and notice.before is not None:
            due = notice.before.step(event.step).do.at
            waited = max(0, event.at - due) / 1000
            self._sink("celeriac_step_wait_seconds", (notice.run.saga, event.step), waited)

    def _attempted(self, notice: Committed, event: Event) -> None:
        """An attempt ended; a late success was counted when the attempt was given up."""
        run = notice.run
        if event.data.get("late"):
            self._late(notice, event)
        else:
            labels = (run.saga, event.step, event.phase, _outcome(notice, event))
            self._sink("celeriac_attempts_total", labels, 1)
            if event.phase == "do" and event.kind is not EventKind.LOST and notice.before:
                took = max(0, event.at - notice.before.step(event.step).do.at) / 1000
                self._sink("celeriac_step_seconds", (run.saga, event.step), took)
        if event.kind is EventKind.LOST and "retry" in event.data:
            self._sink("celeriac_redispatch_total", ("lost",), 1)
        if event.phase == "undo":
            if event.kind is EventKind.COMPLETED:
                self._compensated(run, event, "completed")
            elif run.step(event.step).undo.state is PhaseStatus.FAILED:
                self._compensated(run, event, "failed")

    def _compensated(self, run: Run, event: Event, outcome: str) -> None:
        self._sink("celeriac_compensations_total", (run.saga, event.step, outcome), 1)

    def _late(self, notice: Committed, event: Event) -> None:
        again = any(
            each.kind is EventKind.REOPENED and event.step in (each.step, each.data.get("late"))
            for each in notice.events
        )
        used = "used" if event.kind is EventKind.COMPLETED else "noted"
        self._sink("celeriac_late_reports_total", ("undone_again" if again else used,), 1)

    def _refused(self, notice: Refused) -> None:
        self._sink("celeriac_stale_deliveries_total", (notice.reason,), 1)
        if notice.step:
            labels = (notice.saga, notice.step, notice.phase, "refused")
            self._sink("celeriac_attempts_total", labels, 1)

    def _asked(self, notice: Asked) -> None:
        self._sink("celeriac_store_seconds", (notice.op,), notice.seconds)
        if notice.conflict:
            self._sink("celeriac_commit_conflicts_total", (), 1)
        if notice.error:
            self._sink("celeriac_store_errors_total", (notice.error,), 1)


def _outcome(notice: Committed, event: Event) -> str:
    if event.kind is EventKind.COMPLETED:
        return "completed"
    if event.kind is EventKind.LOST or event.data.get("why") == "timeout":
        return "unknown"
    command = notice.command
    return "aborted" if isinstance(command, Fail) and command.kind == "abort" else "failed"
