"""`celery -A app saga bulk list`, `look`, `start` …: one command for many runs, given by the sweep.

Owns: what can be typed after them, and its help.  Refuses to know: what the verbs do (`bulks`).
Nothing slow is imported before a verb is called (`command`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from celeriac.terminal.command import Verb
from celeriac.terminal.options import BY, FILTERS, OUTPUT, complete, reason

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.bulks import Bulks
    from celeriac.terminal.printing import Printer

BULK = click.argument("bulk_id", metavar="ID", shell_complete=complete("bulk"))


class BulkVerb(Verb):
    """A verb for commands for many runs."""

    def called_on(self, app: Celery, printer: Printer) -> Bulks:
        """Return what does it."""
        from celeriac.terminal.bulk_printing import BulkPrinter  # noqa: PLC0415 -- slow to load
        from celeriac.terminal.bulks import Bulks  # noqa: PLC0415 -- slow to load

        return Bulks(app, BulkPrinter(printer.form, printer.colour, printer.saga))


@click.group()
def bulk() -> None:
    """One command for many runs that goes on without you: look, start, stop.

    `retry --status failed` and the like do it from here, for as long as this terminal is there.
    """


@bulk.command("list", cls=BulkVerb)
@click.option(
    "--limit",
    type=click.IntRange(1, 200),
    default=50,
    show_default=True,
    help="List at most so many.",
)
@OUTPUT
def list_(terminal: Bulks, limit: int) -> None:
    """List the commands of the last week, newest first, and how far each has got."""
    terminal.list(limit)


@bulk.command(cls=BulkVerb)
@BULK
@click.option(
    "--limit",
    type=click.IntRange(1, 200),
    default=50,
    show_default=True,
    help="Show at most so many of its runs.",
)
@click.option("--cursor", type=click.IntRange(min=0), default=0, help="Begin after so many runs.")
@OUTPUT
def show(terminal: Bulks, bulk_id: str, limit: int, cursor: int) -> None:
    """Show how far a command has got, and what became of its runs."""
    terminal.show(bulk_id, limit, cursor)


@bulk.command(cls=BulkVerb)
@click.argument("verb", type=click.Choice(["retry", "pause", "resume", "cancel", "terminate"]))
@FILTERS
@reason(required=False)
@click.option(
    "--rps", type=float, default=20.0, show_default=True, metavar="N", help="Runs a second."
)
@BY
@OUTPUT
def look(terminal: Bulks, verb: str, **options: Any) -> None:
    """Look which runs VERB would be for, and keep them; nothing is done yet."""
    terminal.look(verb, **options)


@bulk.command(cls=BulkVerb)
@BULK
@click.option(
    "--expected",
    type=click.IntRange(min=0),
    required=True,
    metavar="N",
    help="How many runs you have seen that it is for.",
)
@BY
@OUTPUT
def start(terminal: Bulks, bulk_id: str, expected: int, by: str) -> None:
    """Let the sweep of the workers give it to the runs that were found."""
    terminal.start(bulk_id, expected, by)


@bulk.command(cls=BulkVerb)
@BULK
@BY
@OUTPUT
def stop(terminal: Bulks, bulk_id: str, by: str) -> None:
    """Let runs that had no turn yet be as they are."""
    terminal.stop(bulk_id, by)


COMMANDS = (bulk,)
