"""What the verbs of `celery -A app saga schedule` do.

Owns: which method of a schedule is called.  Refuses to know: how it is typed
(`schedule_commands`) and how it is printed (`schedule_printing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.app import Schedule
from celeriac.terminal.invocation import Invocation

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.schedule_printing import SchedulePrinter


# What a verb calls, and how it is told afterwards.
_DEEDS = {
    "pause": (Schedule.pause, "paused"),
    "resume": (Schedule.resume, "resumed"),
    "delete": (Schedule.delete, "deleted"),
}


class Schedules(Invocation):
    """Verbs for schedules."""

    def __init__(self, app: Celery, printer: SchedulePrinter) -> None:
        super().__init__(app, printer)
        self._printer = printer

    def list(self) -> None:
        """List all that the code or the store knows."""
        self._printer.schedules(self._sagas().schedules())

    def show(self, name: str) -> None:
        """Show one, and what happened to its ticks."""
        schedule = self._sagas().schedule_named(name)
        self._printer.schedule(schedule.state(), schedule.history())

    def steer(self, verb: str, name: str, reason: str, by: str) -> None:
        """Pause, resume or delete one."""
        act, done = _DEEDS[verb]
        act(self._sagas().schedule_named(name), reason, by=by)
        self._printer.deed(name, done)

    def trigger(self, name: str, run_id: str | None, by: str) -> None:
        """Start a run of it now."""
        schedule = self._sagas().schedule_named(name)
        self._printer.triggered(schedule.trigger(id=run_id, by=by))
