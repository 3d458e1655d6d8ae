"""`celery -A app saga start`, `cancel`, `retry` …: verbs that start runs and steer them.

Owns: what can be typed after them, and its help.  Refuses to know: what the verbs do (`control`).
Nothing slow is imported before a verb is called (`command`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from celeriac.terminal.command import Verb
from celeriac.terminal.options import (
    BY,
    OUTPUT,
    RUN,
    STEERING,
    WAIT,
    complete,
    document,
    pairs,
    reason,
    step,
    tagged,
    targets,
    the_step,
)

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.control import Control
    from celeriac.terminal.printing import Printer


class ControlVerb(Verb):
    """A verb that starts or steers runs."""

    def called_on(self, app: Celery, printer: Printer) -> Control:
        """Return what does it."""
        from celeriac.terminal.control import Control  # noqa: PLC0415 -- slow to load

        return Control(app, printer)


@click.command(cls=ControlVerb)
@click.argument("name", metavar="[SAGA]", required=False, shell_complete=complete("saga"))
@click.option(
    "--file", type=click.Path(), help="Start the saga that this YAML file describes, as it is now."
)
@click.option(
    "--var",
    "variables",
    multiple=True,
    callback=pairs,
    metavar="NAME=VALUE",
    help="The value of one parameter, read by its type; may be repeated.",
)
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
    help="What to do if the id is taken.",
)
@BY
@WAIT
@OUTPUT
def start(terminal: Control, name: str | None, text: str | None, **options: Any) -> None:
    """Start a run of SAGA: one of the app's, or NAME@VERSION of those kept with `define`."""
    if (name is None) is (options["file"] is None):
        raise click.UsageError("which SAGA? Give its name, or a file with --file")
    if text is not None and options["variables"]:
        raise click.UsageError("give --input or --var, not both")
    terminal.start(name, text, **options)


@click.command(cls=ControlVerb)
@targets
@reason(required=False)
@STEERING
def cancel(terminal: Control, reason: str | None, by: str, **rest: Any) -> None:
    """Stop a run and undo what it did, even if it has completed."""
    terminal.steer("cancel", lambda run: run.cancel(reason or "", by=by), by, **rest)


@click.command(cls=ControlVerb)
@targets
@step(required=True)
@reason(required=False)
@STEERING
def rewind(
    terminal: Control,
    step: str | None,
    step_option: str | None,
    reason: str | None,
    by: str,
    **rest: Any,
) -> None:
    """Undo a STEP and what came after it, then go forward again from there."""
    to = the_step(step, step_option, required=True) or ""
    terminal.steer("rewind", lambda run: run.rewind(to, reason or "", by=by), by, **rest)


@click.command(cls=ControlVerb)
@targets
@reason(required=True)
@STEERING
def terminate(terminal: Control, reason: str, by: str, **rest: Any) -> None:
    """Abandon a run without undoing anything."""
    terminal.steer("terminate", lambda run: run.terminate(reason, by=by), by, **rest)


@click.command(cls=ControlVerb)
@targets
@step(required=False)
@reason(required=False)
@STEERING
def retry(
    terminal: Control,
    step: str | None,
    step_option: str | None,
    reason: str | None,
    by: str,
    **rest: Any,
) -> None:
    """Retry what a failed run owes: one STEP, or all of them."""
    name = the_step(step, step_option, required=False)
    terminal.steer("retry", lambda run: run.retry(name, reason or "", by=by), by, **rest)


@click.command(cls=ControlVerb)
@targets
@step(required=True)
@reason(required=True)
@STEERING
def waive(
    terminal: Control,
    step: str | None,
    step_option: str | None,
    reason: str,
    by: str,
    **rest: Any,
) -> None:
    """Declare the owed compensation of a STEP settled."""
    name = the_step(step, step_option, required=True) or ""
    terminal.steer("waive", lambda run: run.waive(name, reason, by=by), by, **rest)


@click.command(cls=ControlVerb)
@targets
@reason(required=False)
@STEERING
def pause(terminal: Control, reason: str | None, by: str, **rest: Any) -> None:
    """Pause a run: no further attempt starts, forward or back, until it is resumed."""
    terminal.steer("pause", lambda run: run.pause(reason or "", by=by), by, **rest)


@click.command(cls=ControlVerb)
@targets
@reason(required=False)
@STEERING
def resume(terminal: Control, reason: str | None, by: str, **rest: Any) -> None:
    """Continue a run that was paused."""
    terminal.steer("resume", lambda run: run.resume(reason or "", by=by), by, **rest)


@click.command(cls=ControlVerb)
@targets
@step(required=True)
@click.option(
    "--result",
    "text",
    callback=document,
    default="null",
    metavar="JSON|@FILE|-",
    help="The result of the step.  [default: null]",
)
@reason(required=True)
@STEERING
def skip(
    terminal: Control,
    step: str | None,
    step_option: str | None,
    text: str,
    reason: str,
    by: str,
    **rest: Any,
) -> None:
    """Go on as if a STEP had completed: it was done by hand, or is not needed."""
    name = the_step(step, step_option, required=True) or ""
    result = terminal.read_json("--result", text)
    terminal.steer("skip", lambda run: run.skip(name, result, reason, by=by), by, **rest)


@click.command(cls=ControlVerb)
@RUN
@click.option("--at", required=True, metavar="STEP", help="The first step that is done anew.")
@click.option("--id", "given", help="Makes it repeatable.  [default: a new UUID]")
@reason(required=False)
@STEERING
def fork(terminal: Control, run_id: str, **options: Any) -> None:
    """Start a new run with what another one did before a step; that one must be at rest."""
    terminal.fork(run_id, **options)


@click.command(cls=ControlVerb)
@RUN
@click.argument("name", metavar="SIGNAL")
@click.option(
    "--payload",
    "text",
    callback=document,
    default="null",
    metavar="JSON|@FILE|-",
    help="What is sent along.  [default: null]",
)
@click.option("--id", "given", help="The same id counts once.  [default: a new UUID]")
@click.option("--step", help="The wait that this answers, which must be open.")
@click.option("--asked", metavar="TIME", help="Since when: not what that wait asks later.")
@STEERING
def signal(terminal: Control, run_id: str, name: str, text: str, **options: Any) -> None:
    """Send a SIGNAL to a run, such as an approval that it waits for."""
    terminal.signal(run_id, name, terminal.read_json("--payload", text), **options)


COMMANDS = (start, cancel, rewind, terminate, retry, waive, pause, resume, skip, fork, signal)
