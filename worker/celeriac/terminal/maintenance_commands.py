"""`celery -A app saga sweep`, `purge`, `ui` …: verbs for the installation as a whole.

Owns: what can be typed after them, and its help.  Refuses to know: what the verbs do
(`maintenance`).  Nothing slow is imported before a verb is called (`command`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from celeriac.terminal.command import Verb
from celeriac.terminal.options import OUTPUT, complete, output, user

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.maintenance import Maintain
    from celeriac.terminal.printing import Printer


class MaintainVerb(Verb):
    """A verb for the installation as a whole."""

    def called_on(self, app: Celery, printer: Printer) -> Maintain:
        """Return what does it."""
        from celeriac.terminal.maintenance import Maintain  # noqa: PLC0415 -- slow to load

        return Maintain(app, printer)


@click.command(cls=MaintainVerb)
@click.option(
    "--older-than", required=True, metavar="AGE", help="Only runs that ended so long ago: 12h, 30d."
)
@click.option(
    "--status",
    multiple=True,
    help="completed, compensated or terminated; may be repeated.  [default: all three]",
)
@click.option("--saga", help="Runs of this saga only.")
@click.option("--dry-run", is_flag=True, help="Only count the runs; with -o ids, print their ids.")
@click.option("--reason", default="", help="Why; stored in the archive and logged.")
@click.option("--by", default=user, help="Who asks; as --reason.  [default: your login name]")
@click.option("-y", "--yes", is_flag=True, help="Do not ask, however many runs it is about.")
@click.option(
    "--rps",
    type=click.FloatRange(min=0, min_open=True),
    default=1000.0,
    show_default=True,
    metavar="N",
    help="At most so many runs a second.",
)
@OUTPUT
def purge(terminal: Maintain, **options: Any) -> None:
    """Remove runs at rest before their retention is over; saga_archive gets them first.

    What is live is never removed, nor what is owed: retry, waive or terminate that.
    """
    terminal.purge(**options)


@click.command(cls=MaintainVerb)
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@output("table", "json", "jsonl")
def repair(terminal: Maintain, *, dry_run: bool) -> None:
    """Check that everything stored about runs is consistent, and mend what is not.

    To be done after a backup was restored, or a hand was at work in Redis.
    """
    terminal.repair(dry_run=dry_run)


@click.command(cls=MaintainVerb)
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Sweep at this interval until SIGINT or SIGTERM, in place of beat.",
)
@output("table", "json", "jsonl")
def sweep(terminal: Maintain, every: float | None) -> None:
    """Handle every run whose time has come: deadlines, retries, lost messages."""
    terminal.sweep(every)


@click.command(cls=MaintainVerb)
@click.option("--port", type=click.IntRange(1, 65_535), required=True, help="TCP port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@output("table")
def metrics(terminal: Maintain, host: str, port: int) -> None:
    """Serve metrics of all runs to Prometheus, until SIGINT or SIGTERM."""
    terminal.metrics(host, port)


@click.command(cls=MaintainVerb)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=5556,
    show_default=True,
    help="TCP port.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--basic-auth",
    "accounts",
    metavar="FILE",
    help="Passwords, a line user:password:role each; or in the variable CELERIAC_BASIC_AUTH.",
)
@click.option(
    "--proxy-peer",
    "peers",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy whose header says who it is; may be repeated.",
)
@click.option(
    "--proxy-user-header", default="X-Forwarded-User", show_default=True, help="That header."
)
@click.option(
    "--proxy-role-header", metavar="HEADER", help="A header of the same proxy that says the role."
)
@click.option(
    "--proxy-role",
    default="viewer",
    show_default=True,
    help="The role of whoever the proxy names, without a header for it.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="An origin whose pages may send commands, if a proxy changes our name; may be repeated.",
)
@click.option(
    "--root-path", default="", metavar="PATH", help="Where a proxy has it, such as /sagas."
)
@output("table")
def ui(terminal: Maintain, **options: Any) -> None:
    """Serve the dashboard and the HTTP API, until SIGINT or SIGTERM.

    Without a login it serves this machine only.  Roles: approver, viewer, operator, admin.
    """
    terminal.ui(**options)


@click.command(cls=MaintainVerb)
@click.option(
    "--only",
    multiple=True,
    metavar="ID",
    shell_complete=complete("check"),
    help="Make only this check; may be repeated.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="ID",
    shell_complete=complete("check"),
    help="Skip this check; may be repeated.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also show the checks that passed.")
@click.option(
    "--acl", is_flag=True, help="Print the users that Redis needs, with the least rights, instead."
)
@output("table", "json", "jsonl")
def doctor(terminal: Maintain, **options: Any) -> None:
    """Look for anything that endangers runs: in the app, Redis, broker, workers, sweep.

    Says what to do about each finding, and changes nothing.  Ends with 1 if there are errors.
    """
    terminal.doctor(**options)


COMMANDS = (purge, repair, sweep, metrics, ui, doctor)
