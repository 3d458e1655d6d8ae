"""`celery -A app saga list`, `show`, `history` …: verbs that look at runs and change nothing.

Owns: what can be typed after them, and its help.  Refuses to know: what the verbs do
(`inspection`).  Nothing slow is imported before a verb is called (`command`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from celeriac.terminal.command import Verb
from celeriac.terminal.options import FILTERS, OUTPUT, RUN, complete, output

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.inspection import Inspect
    from celeriac.terminal.printing import Printer
    from celeriac.views import Drawing


class InspectVerb(Verb):
    """A verb that looks at runs."""

    def called_on(self, app: Celery, printer: Printer) -> Inspect:
        """Return what does it."""
        from celeriac.terminal.inspection import Inspect  # noqa: PLC0415 -- slow to load

        return Inspect(app, printer)


@click.command("list", cls=InspectVerb)
@FILTERS
@click.option(
    "--limit",
    type=click.IntRange(1, 200),
    default=50,
    show_default=True,
    help="List at most so many.",
)
@click.option("--cursor", help="The cursor that the previous page printed.")
@OUTPUT
def list_(terminal: Inspect, **filters: Any) -> None:
    """List runs, newest first."""
    terminal.list(**filters)


@click.command(cls=InspectVerb)
@RUN
@click.option("--traceback", is_flag=True, help="Show where in the steps the errors were raised.")
@OUTPUT
def show(terminal: Inspect, run_id: str, *, traceback: bool) -> None:
    """Show a run: its steps, what is owed, and what can be done about it."""
    terminal.show(run_id, traceback=traceback)


@click.command(cls=InspectVerb)
@RUN
@click.option("--step", default="", metavar="STEP", help="Only of this step, element or map.")
@OUTPUT
def history(terminal: Inspect, run_id: str, step: str) -> None:
    """Show everything that happened to a run.

    What the elements of a map do as usual is told together: --step names one, such as 'ship[3]'.
    """
    terminal.history(run_id, step)


@click.command(cls=InspectVerb)
@RUN
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
def watch(terminal: Inspect, run_id: str, every: float) -> None:
    """Watch a run until it has ended; the exit code is that of --wait.

    On a terminal, a tree that is kept up to date; elsewhere, a line for each event.
    """
    terminal.watch(run_id, every)


@click.command(cls=InspectVerb)
@click.argument("name", metavar="ID|SAGA|FILE", shell_complete=complete("run or saga"))
@click.option(
    "-o",
    "--output",
    "drawing",
    type=click.Choice(["ascii", "mermaid", "svg"]),
    default="ascii",
    show_default=True,
    help="How to draw it.",
)
def graph(terminal: Inspect, name: str, drawing: Drawing) -> None:
    """Draw a run, a saga or a YAML file.

    Forward lane above, undo lane below; done solid, planned dashed.
    """
    terminal.graph(name, drawing)


@click.command("undo-plan", cls=InspectVerb)
@RUN
@click.option("--to", metavar="STEP", help="What a rewind to STEP would undo.  [default: a cancel]")
@output("table", "json")
def undo_plan(terminal: Inspect, run_id: str, to: str | None) -> None:
    """Show what a cancel would undo, in which order and with which inputs, and what it could not.

    The inputs are payloads: mind who looks over your shoulder.
    """
    terminal.undo_plan(run_id, to)


@click.command(cls=InspectVerb)
@RUN
@click.option(
    "--payloads", is_flag=True, help="With input, outputs and failures in full: may hold secrets."
)
@output("json", "jsonl")
def export(terminal: Inspect, run_id: str, *, payloads: bool) -> None:
    """Print all that is known of a run as one JSON document: state, history and plan."""
    terminal.export(run_id, payloads=payloads)


@click.command(cls=InspectVerb)
@output("table", "json", "jsonl")
def stats(terminal: Inspect) -> None:
    """Show figures about all runs: how many, what is owed, how late sweeps are."""
    terminal.stats()


COMMANDS = (list_, show, history, watch, graph, undo_plan, export, stats)
