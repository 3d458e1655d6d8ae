"""`celery -A app saga define`, `definitions`: verbs about sagas in YAML files.

Owns: what can be typed after them, and its help.  Refuses to know: what the verbs do (`defining`).
Nothing slow is imported before a verb is called (`command`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from celeriac.terminal.command import Verb
from celeriac.terminal.options import complete, output

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.defining import Define
    from celeriac.terminal.printing import Printer


class DefiningVerb(Verb):
    """A verb about definitions in files."""

    def called_on(self, app: Celery, printer: Printer) -> Define:
        """Return what does it."""
        from celeriac.terminal.defining import Define  # noqa: PLC0415 -- slow to load

        return Define(app, printer)


@click.command(cls=DefiningVerb)
@click.argument("path", metavar="FILE", type=click.Path())
@click.option("--check", is_flag=True, help="Only look at the file: say all that is wrong with it.")
def define(terminal: Define, path: str, *, check: bool) -> None:
    """Keep the saga that a YAML file describes, by name and version, so that it can be started.

    A version never changes.  Start it with `start NAME`, or `start NAME@VERSION`.
    """
    terminal.define(path, check=check)


@click.command(cls=DefiningVerb)
@click.argument("name", metavar="[SAGA]", required=False, shell_complete=complete("saga"))
@output("table", "jsonl")
def definitions(terminal: Define, name: str | None) -> None:
    """List the definitions that are kept; with a SAGA, write that as a YAML file.

    SAGA is one of the app's, one that is kept (NAME@VERSION), or a file.
    """
    terminal.definitions(name)


COMMANDS = (define, definitions)
