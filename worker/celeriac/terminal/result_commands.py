"""`celery -A app saga complete`: the result of a step, from outside.

Owns: what can be typed after it, and its help.  Refuses to know: what a token is, and what follows
from a result.  Nothing slow is imported before a verb is called (`command`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from celeriac.terminal.command import Verb
from celeriac.terminal.options import BY, document, output

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.printing import Printer
    from celeriac.terminal.results import Results


class ResultVerb(Verb):
    """A verb of those who hold a token."""

    def called_on(self, app: Celery, printer: Printer) -> Results:
        """Return what does it."""
        from celeriac.terminal.results import Results  # noqa: PLC0415 -- slow to load

        return Results(app, printer)


@click.command(cls=ResultVerb)
@click.argument("token", metavar="TOKEN|@FILE|-", callback=document)
@click.option(
    "--result",
    "text",
    callback=document,
    metavar="JSON|@FILE|-",
    help="What the step returns.  [default: null]",
)
@click.option("--fail", "message", metavar="TEXT", help="The step has failed, and this is why.")
@click.option("--code", help="With --fail: what programs know the failure by.")
@click.option(
    "--no-effect",
    is_flag=True,
    help="With --fail: it is proven to have had no effect, so it is not undone.",
)
@click.option("--retry", is_flag=True, help="With --fail: the step may be tried again.")
@BY
@output("table", "json")
def complete(terminal: Results, token: str, text: str | None, **options: Any) -> None:
    """Bring the result of a step that waits for one from outside.

    Others on this machine may see what is typed: give the TOKEN in a file, or on stdin.
    """
    terminal.complete(token.strip(), text, **options)


COMMANDS = (complete,)
