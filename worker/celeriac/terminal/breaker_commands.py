"""`celery -A app saga breakers list`, `show`, `open`, `close`: verbs for gates.

Owns: what can be typed after them, and its help.  Refuses to know: what the verbs do (`breakers`).
Nothing slow is imported before a verb is called (`command`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from celeriac.terminal.command import Verb
from celeriac.terminal.options import BY, OUTPUT, complete

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.breakers import Breakers
    from celeriac.terminal.printing import Printer

BREAKER = click.argument("name", metavar="NAME", shell_complete=complete("breaker"))


class BreakerVerb(Verb):
    """A verb for breakers, and for the other gates."""

    def called_on(self, app: Celery, printer: Printer) -> Breakers:
        """Return what does it."""
        from celeriac.terminal.breaker_printing import BreakerPrinter  # noqa: PLC0415 -- slow
        from celeriac.terminal.breakers import Breakers  # noqa: PLC0415 -- slow to load

        return Breakers(app, BreakerPrinter(printer.form, printer.colour, printer.saga))


@click.group()
def breakers() -> None:
    """Look at gates (limits, rates, breakers), open and close breakers."""


@breakers.command("list", cls=BreakerVerb)
@OUTPUT
def list_(terminal: Breakers) -> None:
    """List all gates: how breakers stand, who is inside, and how many wait."""
    terminal.list()


@breakers.command(cls=BreakerVerb)
@BREAKER
@OUTPUT
def show(terminal: Breakers, name: str) -> None:
    """Show a gate: how it stands, who has a place, and who waits."""
    terminal.show(name)


@breakers.command("open", cls=BreakerVerb)
@BREAKER
@BY
@OUTPUT
def open_(terminal: Breakers, name: str, by: str) -> None:
    """Let nothing through a breaker until it is closed, whatever happens."""
    terminal.open(name, by)


@breakers.command(cls=BreakerVerb)
@BREAKER
@BY
@OUTPUT
def close(terminal: Breakers, name: str, by: str) -> None:
    """Let everything through a breaker again, and those who wait first."""
    terminal.close(name, by)


COMMANDS = (breakers,)
