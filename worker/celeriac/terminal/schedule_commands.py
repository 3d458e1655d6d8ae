"""`celery -A app saga schedule list`, `pause`, `trigger` …: verbs for schedules.

Owns: what can be typed after them, and its help.  Refuses to know: what the verbs do (`schedules`).
Nothing slow is imported before a verb is called (`command`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from celeriac.terminal.command import Verb
from celeriac.terminal.options import BY, OUTPUT, complete, reason, together

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.printing import Printer
    from celeriac.terminal.schedules import Schedules

SCHEDULE = click.argument("name", metavar="NAME", shell_complete=complete("schedule"))
STEERED = together(SCHEDULE, reason(required=False), BY, OUTPUT)


class ScheduleVerb(Verb):
    """A verb for schedules."""

    def called_on(self, app: Celery, printer: Printer) -> Schedules:
        """Return what does it."""
        from celeriac.terminal.schedule_printing import SchedulePrinter  # noqa: PLC0415 -- slow
        from celeriac.terminal.schedules import Schedules  # noqa: PLC0415 -- slow to load

        return Schedules(app, SchedulePrinter(printer.form, printer.colour, printer.saga))


@click.group()
def schedule() -> None:
    """Look at schedules, pause them, start a run by hand."""


@schedule.command("list", cls=ScheduleVerb)
@OUTPUT
def list_(terminal: Schedules) -> None:
    """List schedules, with their next tick."""
    terminal.list()


@schedule.command(cls=ScheduleVerb)
@SCHEDULE
@OUTPUT
def show(terminal: Schedules, name: str) -> None:
    """Show a schedule, and what happened to its ticks."""
    terminal.show(name)


@schedule.command(cls=ScheduleVerb)
@STEERED
def pause(terminal: Schedules, name: str, reason: str | None, by: str) -> None:
    """Let its ticks start nothing until it is resumed, whatever the code says."""
    terminal.steer("pause", name, reason or "", by)


@schedule.command(cls=ScheduleVerb)
@STEERED
def resume(terminal: Schedules, name: str, reason: str | None, by: str) -> None:
    """Let its ticks start runs again, also after a delete; nothing is filled in."""
    terminal.steer("resume", name, reason or "", by)


@schedule.command(cls=ScheduleVerb)
@SCHEDULE
@click.option("--id", "run_id", help="Makes it repeatable.  [default: made of name and time]")
@BY
@OUTPUT
def trigger(terminal: Schedules, name: str, **options: Any) -> None:
    """Start a run now; its ticks are as they were."""
    terminal.trigger(name, **options)


@schedule.command(cls=ScheduleVerb)
@STEERED
def delete(terminal: Schedules, name: str, reason: str | None, by: str) -> None:
    """Let a schedule be gone, though the code may have it; `resume` brings it back."""
    terminal.steer("delete", name, reason or "", by)


COMMANDS = (schedule,)
