"""The client's verbs on a terminal: `celery -A app saga …`, and the script `celeriac`.

Owns: what can be typed: verbs, arguments, options and their help.  Refuses to know: what the
verbs do (`terminal`), how it is printed (`printing`) and with which exit code it ends (`exits`).

Celery loads this file for each of its own commands, whatever the application: so nothing slow is
imported here before a verb is really called.
"""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.terminal import Terminal

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
        from celeriac.exits import told  # noqa: PLC0415
        from celeriac.printing import Printer  # noqa: PLC0415
        from celeriac.terminal import Terminal  # noqa: PLC0415

        options = dict(ctx.params)
        form = options.pop("form")
        if options.get("timeout") is not None and not options["wait"]:
            raise click.UsageError("--timeout says how long to --wait: give both", ctx)
        debug = bool(ctx.parent and ctx.parent.params.get("debug"))
        with told(debug=debug, events=self.name == "sweep"):
            colour = not (ctx.obj.no_color or os.environ.get("NO_COLOR"))
            printer = Printer(form=form, colour=colour, saga=_called(ctx))
            assert self.callback is not None  # a verb has a function
            return ctx.invoke(self.callback, Terminal(ctx.obj.app, printer), **options)


def _called(ctx: click.Context) -> str:
    """How this command line was called, for commands that are to be copied."""
    app = ctx.find_root().params.get("app")
    return f"celery -A {shlex.quote(app if isinstance(app, str) else ctx.obj.app.main)} saga"


# --- what several verbs take -------------------------------------------------------------------


def _pairs(_: click.Context, __: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"give name=value, not {pair!r}")
        if found.setdefault(key, value) != value:
            raise click.BadParameter(f"{key!r} is given twice: a tag has one value")
    return found


def _words(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    if given is not None and not given.strip():
        raise click.BadParameter("it is empty, and stays in the run's history: say something")
    return given


def _document(_: click.Context, __: click.Parameter, given: str | None) -> str | None:
    """The JSON itself, or what is in the file that `@file` names, or on stdin for `-`."""
    if given is None or not (given == "-" or given.startswith("@")):
        return given
    try:
        with click.open_file(given.removeprefix("@"), encoding="utf-8-sig") as file:
            return str(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{given} cannot be read: {error}") from None


def _user() -> str:
    """Who is at the terminal; in a container, there may be no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


def _together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order in which help shows them."""

    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def _output(*forms: str) -> Callable[[Any], Any]:
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="Form of what is printed.",
    )


def _tags(what: str) -> Callable[[Any], Any]:
    return click.option(
        "--tag", "tags", multiple=True, callback=_pairs, metavar="NAME=VALUE", help=what
    )


def _reason(*, required: bool) -> Callable[[Any], Any]:
    return click.option(
        "--reason",
        required=required,
        callback=_words,
        help="Why; it stays in the run's history.",
    )


_OUTPUT = _output("table", "json", "jsonl", "ids")
_RUN = click.argument("run_id", metavar="ID")
_BY = click.option(
    "--by",
    default=_user,
    callback=_words,
    help="Who asks; it stays in the run's history.  [default: your login name]",
)
_WAIT = _together(
    click.option("--wait", is_flag=True, help="Wait until the run has ended."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Wait no longer than this; the run goes on by itself.",
    ),
)
_STEERING = _together(_BY, _WAIT, _OUTPUT)


# --- celery -A app saga … ----------------------------------------------------------------------


@click.group(epilog=_EPILOG)
@click.option("--debug", is_flag=True, envvar="CELERIAC_DEBUG", help="Show where errors come from.")
def saga(**_: Any) -> None:
    """Start runs of sagas, look at them, and steer them."""


@saga.command(cls=Verb)
@click.argument("name", metavar="SAGA")
@click.option(
    "--input",
    "text",
    callback=_document,
    metavar="JSON|@FILE|-",
    help="The value of the saga's parameter; if there are several, an object by name.",
)
@click.option("--id", "run_id", help="Makes the start repeatable.  [default: a new UUID]")
@_tags("A label to find the run by; may be repeated.")
@click.option(
    "--if-exists",
    type=click.Choice(["join", "fail", "restart"]),
    default="join",
    show_default=True,
    help="What to do if there is a run with this id.",
)
@_WAIT
@_OUTPUT
def start(terminal: Terminal, name: str, text: str | None, **options: Any) -> None:
    """Start a run of SAGA."""
    terminal.start(name, text, **options)


@saga.command("list", cls=Verb)
@click.option(
    "--status",
    multiple=True,
    help="running, waiting, paused, compensating, completed, compensated, failed or terminated; "
    "may be repeated.",
)
@click.option("--saga", help="Runs of this saga only.")
@_tags("Runs with this label only; may be repeated.")
@click.option(
    "--since", metavar="TIME", help="Started after this: 30m, 2h, 7d ago, or an ISO time."
)
@click.option("--until", metavar="TIME", help="Started before this.")
@click.option(
    "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Most runs to list."
)
@click.option("--cursor", help="Where the page before ended, as it said.")
@_OUTPUT
def list_(terminal: Terminal, **filters: Any) -> None:
    """List runs, newest first."""
    terminal.list(**filters)


@saga.command(cls=Verb)
@_RUN
@click.option("--traceback", is_flag=True, help="Show where in the steps the errors were raised.")
@_OUTPUT
def show(terminal: Terminal, run_id: str, *, traceback: bool) -> None:
    """Show a run: its steps, what is owed, and what can be done about it."""
    terminal.show(run_id, traceback=traceback)


@saga.command(cls=Verb)
@_RUN
@_OUTPUT
def history(terminal: Terminal, run_id: str) -> None:
    """Show everything that happened to a run."""
    terminal.history(run_id)


@saga.command(cls=Verb)
@_RUN
@_reason(required=False)
@_STEERING
def cancel(terminal: Terminal, run_id: str, reason: str | None, by: str, **waiting: Any) -> None:
    """Stop a run and undo what it did, also if it has completed."""
    terminal.steer(run_id, lambda run: run.cancel(reason or "", by=by), by, **waiting)


@saga.command(cls=Verb)
@_RUN
@_reason(required=True)
@_STEERING
def terminate(terminal: Terminal, run_id: str, reason: str, by: str, **waiting: Any) -> None:
    """Abandon a run, without undoing anything."""
    terminal.steer(run_id, lambda run: run.terminate(reason, by=by), by, **waiting)


@saga.command(cls=Verb)
@_RUN
@click.argument("step", required=False)
@_reason(required=False)
@_STEERING
def retry(
    terminal: Terminal, run_id: str, step: str | None, reason: str | None, by: str, **waiting: Any
) -> None:
    """Try again what a failed run owes: one STEP, or all of them."""
    terminal.steer(run_id, lambda run: run.retry(step, reason or "", by=by), by, **waiting)


@saga.command(cls=Verb)
@_RUN
@click.argument("step")
@_reason(required=True)
@_STEERING
def waive(terminal: Terminal, run_id: str, step: str, reason: str, by: str, **waiting: Any) -> None:
    """Declare a STEP settled whose compensation is owed."""
    terminal.steer(run_id, lambda run: run.waive(step, reason, by=by), by, **waiting)


@saga.command(cls=Verb)
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Sweep again and again until SIGINT or SIGTERM, in the place of beat.",
)
@_output("table", "json", "jsonl")
def sweep(terminal: Terminal, every: float | None) -> None:
    """See to every run whose time has come: deadlines, retries, lost messages."""
    terminal.sweep(every)


# --- celeriac … --------------------------------------------------------------------------------


@click.group()
def main() -> None:
    """Durable sagas on Celery and Redis; an app's runs are under `celery -A app saga`."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"celeriac {metadata.version('celeriac')}")


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
