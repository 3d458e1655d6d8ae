"""The client's verbs on a terminal: `celery -A app saga …`, and the script `celeriac`.

Owns: what can be typed: verbs, arguments, options and their help.  Refuses to know: what the
verbs do (`terminal`), how it is printed (`printing`) and with which exit code it ends (`exits`).

Celery loads this file for each of its own commands, whatever the application: so nothing slow is
imported here before a verb is really called.
"""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from celeriac.terminal.options import (
    FILTERS,
    OUTPUT,
    RUN,
    SAGA,
    STEERING,
    WAIT,
    complete,
    document,
    output,
    reason,
    step,
    tagged,
    targets,
    the_step,
    user,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.terminal.verbs import Terminal
    from celeriac.views import Drawing

_EPILOG = """\b
Exit codes: 0 done, 1 an error, 2 wrong usage or input, 3 not found, 4 refused
in the run's present state, 5 Redis or the broker is out of reach; and with
--wait, how the run ended: 0 completed, 10 compensated, 11 failed (something
is still owed), 13 terminated."""


class Verb(click.Command):
    """A verb: its function gets a Terminal, and its errors are a line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Call the verb's function."""
        # What follows loads Pydantic and redis-py: only now is it sure that they are needed.
        from celeriac.terminal.exit_codes import error_boundary  # noqa: PLC0415
        from celeriac.terminal.printing import Printer  # noqa: PLC0415
        from celeriac.terminal.verbs import Terminal  # noqa: PLC0415

        options = dict(ctx.params)
        form = options.pop("form", "table")
        if options.get("timeout") is not None and not options["wait"]:
            raise click.UsageError("--timeout says how long to --wait: give both", ctx)
        debug = bool(ctx.parent and ctx.parent.params.get("debug"))
        with error_boundary(debug=debug, events=self.name == "sweep"):
            colour = not (ctx.obj.no_color or os.environ.get("NO_COLOR"))
            printer = Printer(form=form, colour=colour, saga=_called(ctx))
            assert self.callback is not None  # a verb has a function
            return ctx.invoke(self.callback, Terminal(ctx.obj.app, printer), **options)


def _called(ctx: click.Context) -> str:
    """How this command line was called, for commands that are to be copied."""
    app = ctx.find_root().params.get("app")
    return f"celery -A {shlex.quote(app if isinstance(app, str) else ctx.obj.app.main)} saga"


# --- celery -A app saga … ----------------------------------------------------------------------


@click.group(epilog=_EPILOG)
@click.option("--debug", is_flag=True, envvar="CELERIAC_DEBUG", help="Show where errors come from.")
def saga(**_: Any) -> None:
    """Start runs of sagas, look at them, and steer them."""


@saga.command(cls=Verb)
@SAGA
@click.option(
    "--input",
    "text",
    callback=document,
    metavar="JSON|@FILE|-",
    help="The value of the saga's parameter; if there are several, an object by name.",
)
@click.option("--id", "run_id", help="Makes the start repeatable.  [default: a new UUID]")
@tagged("A label to find the run by; may be repeated.")
@click.option(
    "--if-exists",
    type=click.Choice(["join", "fail", "restart"]),
    default="join",
    show_default=True,
    help="What to do if there is a run with this id.",
)
@WAIT
@OUTPUT
def start(terminal: Terminal, name: str, text: str | None, **options: Any) -> None:
    """Start a run of SAGA."""
    terminal.start(name, text, **options)


@saga.command("list", cls=Verb)
@FILTERS
@click.option(
    "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Most runs to list."
)
@click.option("--cursor", help="Where the page before ended, as it said.")
@OUTPUT
def list_(terminal: Terminal, **filters: Any) -> None:
    """List runs, newest first."""
    terminal.list(**filters)


@saga.command(cls=Verb)
@RUN
@click.option("--traceback", is_flag=True, help="Show where in the steps the errors were raised.")
@OUTPUT
def show(terminal: Terminal, run_id: str, *, traceback: bool) -> None:
    """Show a run: its steps, what is owed, and what can be done about it."""
    terminal.show(run_id, traceback=traceback)


@saga.command(cls=Verb)
@RUN
@OUTPUT
def history(terminal: Terminal, run_id: str) -> None:
    """Show everything that happened to a run."""
    terminal.history(run_id)


@saga.command(cls=Verb)
@RUN
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
def watch(terminal: Terminal, run_id: str, every: float) -> None:
    """Watch a run until it has ended; the exit code is that of --wait.

    On a terminal, a tree that is kept up to date; elsewhere, a line for each event.
    """
    terminal.watch(run_id, every)


@saga.command(cls=Verb)
@click.argument("name", metavar="ID|SAGA", shell_complete=complete("run or saga"))
@click.option(
    "-o",
    "--output",
    "drawing",
    type=click.Choice(["ascii", "mermaid", "svg"]),
    default="ascii",
    show_default=True,
    help="How to draw it.",
)
def graph(terminal: Terminal, name: str, drawing: Drawing) -> None:
    """Draw a run or a saga: forward lane above, undo lane below; done solid, planned dashed."""
    terminal.graph(name, drawing)


@saga.command("undo-plan", cls=Verb)
@RUN
@output("table", "json")
def undo_plan(terminal: Terminal, run_id: str) -> None:
    """Show what a cancel would undo, in which order and with which inputs, and what it could not.

    The inputs are payloads: mind who looks over your shoulder.
    """
    terminal.undo_plan(run_id)


@saga.command(cls=Verb)
@RUN
@click.option(
    "--payloads", is_flag=True, help="With input, outputs and failures in full: may hold secrets."
)
@output("json", "jsonl")
def export(terminal: Terminal, run_id: str, *, payloads: bool) -> None:
    """Print all that is known of a run as one JSON document: state, history and plan."""
    terminal.export(run_id, payloads=payloads)


@saga.command(cls=Verb)
@targets
@reason(required=False)
@STEERING
def cancel(terminal: Terminal, reason: str | None, by: str, **rest: Any) -> None:
    """Stop a run and undo what it did, also if it has completed."""
    terminal.steer("cancel", lambda run: run.cancel(reason or "", by=by), by, **rest)


@saga.command(cls=Verb)
@targets
@reason(required=True)
@STEERING
def terminate(terminal: Terminal, reason: str, by: str, **rest: Any) -> None:
    """Abandon a run, without undoing anything."""
    terminal.steer("terminate", lambda run: run.terminate(reason, by=by), by, **rest)


@saga.command(cls=Verb)
@targets
@step(required=False)
@reason(required=False)
@STEERING
def retry(
    terminal: Terminal,
    step: str | None,
    step_option: str | None,
    reason: str | None,
    by: str,
    **rest: Any,
) -> None:
    """Try again what a failed run owes: one STEP, or all of them."""
    name = the_step(step, step_option, required=False)
    terminal.steer("retry", lambda run: run.retry(name, reason or "", by=by), by, **rest)


@saga.command(cls=Verb)
@targets
@step(required=True)
@reason(required=True)
@STEERING
def waive(
    terminal: Terminal,
    step: str | None,
    step_option: str | None,
    reason: str,
    by: str,
    **rest: Any,
) -> None:
    """Declare a STEP settled whose compensation is owed."""
    name = the_step(step, step_option, required=True) or ""
    terminal.steer("waive", lambda run: run.waive(name, reason, by=by), by, **rest)


@saga.command(cls=Verb)
@targets
@reason(required=False)
@STEERING
def pause(terminal: Terminal, reason: str | None, by: str, **rest: Any) -> None:
    """Hold a run: no further attempt is taken up, forward or back, until it is resumed."""
    terminal.steer("pause", lambda run: run.pause(reason or "", by=by), by, **rest)


@saga.command(cls=Verb)
@targets
@reason(required=False)
@STEERING
def resume(terminal: Terminal, reason: str | None, by: str, **rest: Any) -> None:
    """Let a run go on that was paused."""
    terminal.steer("resume", lambda run: run.resume(reason or "", by=by), by, **rest)


@saga.command(cls=Verb)
@targets
@step(required=True)
@click.option(
    "--result",
    "text",
    callback=document,
    default="null",
    metavar="JSON|@FILE|-",
    help="What the step is to have returned.  [default: null]",
)
@reason(required=True)
@STEERING
def skip(
    terminal: Terminal,
    step: str | None,
    step_option: str | None,
    text: str,
    reason: str,
    by: str,
    **rest: Any,
) -> None:
    """Go on as if a STEP had completed: it was seen to by hand, or is not needed."""
    name = the_step(step, step_option, required=True) or ""
    result = terminal.read_json("--result", text)
    terminal.steer("skip", lambda run: run.skip(name, result, reason, by=by), by, **rest)


@saga.command(cls=Verb)
@output("table", "json", "jsonl")
def stats(terminal: Terminal) -> None:
    """Show how the runs stand as a whole: how many, what is owed, how late sweeps are."""
    terminal.stats()


@saga.command(cls=Verb)
@click.option("--older-than", required=True, metavar="AGE", help="Ended so long ago: 12h, 30d.")
@click.option(
    "--status",
    multiple=True,
    help="completed, compensated or terminated; may be repeated.  [default: all three]",
)
@click.option("--saga", help="Runs of this saga only.")
@click.option("--dry-run", is_flag=True, help="Only find the runs; with -o ids, name them.")
@click.option("--reason", default="", help="Why; it goes to the archive, and into the log.")
@click.option("--by", default=user, help="Who asks; as --reason.  [default: your login name]")
@click.option("-y", "--yes", is_flag=True, help="Do not ask, however many runs it is about.")
@click.option(
    "--rps",
    type=click.FloatRange(min=0, min_open=True),
    default=1000.0,
    show_default=True,
    metavar="N",
    help="Runs a second at most.",
)
@OUTPUT
def purge(terminal: Terminal, **options: Any) -> None:
    """Remove runs at rest before their retention is over; saga_archive gets them first.

    What is live is never removed, nor what is owed: retry, waive or terminate that.
    """
    terminal.purge(**options)


@saga.command(cls=Verb)
@click.option("--dry-run", is_flag=True, help="Only look.")
@output("table", "json", "jsonl")
def repair(terminal: Terminal, *, dry_run: bool) -> None:
    """Prove that all that is stored of runs fits together, and mend what does not.

    To be done after a backup was restored, or a hand was at work in Redis.
    """
    terminal.repair(dry_run=dry_run)


@saga.command(cls=Verb)
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Sweep again and again until SIGINT or SIGTERM, in the place of beat.",
)
@output("table", "json", "jsonl")
def sweep(terminal: Terminal, every: float | None) -> None:
    """See to every run whose time has come: deadlines, retries, lost messages."""
    terminal.sweep(every)


@saga.command(cls=Verb)
@click.option("--port", type=click.IntRange(1, 65_535), required=True, help="TCP port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@output("table")
def metrics(terminal: Terminal, host: str, port: int) -> None:
    """Serve what the store says of all runs to Prometheus, until SIGINT or SIGTERM."""
    terminal.metrics(host, port)


@saga.command(cls=Verb)
@click.option(
    "--only",
    multiple=True,
    metavar="ID",
    shell_complete=complete("check"),
    help="Make this check; may be repeated.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="ID",
    shell_complete=complete("check"),
    help="Leave out this check; may be repeated.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show also what is well.")
@output("table", "json", "jsonl")
def doctor(terminal: Terminal, **options: Any) -> None:
    """Look for what endangers runs, in the app, Redis, broker, workers and sweep.

    Says what to do about each finding, and changes nothing.  Ends with 1 if there are errors.
    """
    terminal.doctor(**options)


# --- celeriac … --------------------------------------------------------------------------------


@click.group()
def main() -> None:
    """Durable sagas on Celery and Redis; an app's runs are under `celery -A app saga`."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"celeriac {metadata.version('celeriac')}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--within",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How old the file may be.",
)
def alive(file: Path, within: float) -> None:
    """Say whether the worker that touches FILE is alive; ends with 1 if not.

    Workers touch what --saga-heartbeat-file names, or the setting saga_heartbeat_file.
    """
    from celeriac.workers import age  # noqa: PLC0415 -- as above: only when it is needed

    seconds = age(file)
    if seconds is None:
        raise click.ClickException(f"{file} is not there: the worker is not ready, or has ended")
    if seconds > within:
        raise click.ClickException(f"{file} was touched {seconds:.0f} s ago: the worker hangs")
    click.echo(f"alive {seconds:.0f} s ago")


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: Sequence[str]) -> None:
    """Run the reference demo, in a checkout of Celeriac's repository."""
    sys.path.insert(
        0, str(Path.cwd())
    )  # as `celery -A` does: a script finds only what is installed
    try:
        reference = import_module("workflows.demo")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("workflows"):
            raise
        raise click.ClickException(
            "the demo is not part of the installed package: clone Celeriac's repository and type "
            "`make demo` there"
        ) from None
    sys.exit(reference.main(list(arguments)))
