"""What is typed on a terminal: `celery -A app saga …`, and the script `celeriac`.

Owns: the two groups of commands, and the script's own.  Refuses to know: the verbs, which stand in
`inspection_commands`, `control_commands`, `schedule_commands`, `breaker_commands`,
`bulk_commands` and `maintenance_commands`.

Celery loads this file for each of its own commands, whatever the application: so nothing slow is
imported here before a verb is really called.
"""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from celeriac.terminal import (
    breaker_commands,
    bulk_commands,
    control_commands,
    defining_commands,
    inspection_commands,
    maintenance_commands,
    result_commands,
    schedule_commands,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPILOG = """\b
Exit codes: 0 done, 1 an error, 2 wrong usage or input, 3 not found, 4 refused
in the run's present state, 5 Redis or the broker is out of reach; and with
--wait, how the run ended: 0 completed, 10 compensated, 11 failed (something
is still owed), 13 terminated."""


# --- celery -A app saga … ----------------------------------------------------------------------


@click.group(epilog=_EPILOG)
@click.option("--debug", is_flag=True, envvar="CELERIAC_DEBUG", help="Show where errors come from.")
def saga(**_: Any) -> None:
    """Start runs of sagas, look at them, and steer them."""


for verb in (
    *inspection_commands.COMMANDS,
    *control_commands.COMMANDS,
    *defining_commands.COMMANDS,
    *schedule_commands.COMMANDS,
    *breaker_commands.COMMANDS,
    *bulk_commands.COMMANDS,
    *result_commands.COMMANDS,
    *maintenance_commands.COMMANDS,
):
    saga.add_command(verb)


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
    """Run the demo: 200 orders, and a worker that is killed on the way.

    Needs no app and no server: it brings a Redis of its own, a worker and beat, and ends them.
    """
    sys.path.insert(0, str(_demo_folder()))
    sys.exit(import_module("workflows.demo").main(list(arguments)))


def _demo_folder() -> Path:
    """Where `workflows` is: inside the package that was installed, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_demo"
    return installed if installed.exists() else package.parents[1]


@main.command()
def flowerconfig() -> None:
    """Print the path of a configuration for Flower that shows steps as steps.

    Use it as in: celery -A shop flower --conf=$(celeriac flowerconfig)
    """
    click.echo(Path(__file__).parents[1] / "flowerconfig.py")
