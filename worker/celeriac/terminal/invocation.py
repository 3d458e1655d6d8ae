"""One call of the command line: the app that it is for, its sagas, and a printer.

Owns: finding the app's sagas, and telling of a name that is none.  Refuses to know: the
verbs, and how anything is printed.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click

from celeriac.observing import clean

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.sagas import Sagas
    from celeriac.terminal.printing import Printer


class Invocation:
    """One call of the command line: an app, and a printer of what comes out."""

    def __init__(self, app: Celery, printer: Printer) -> None:
        self._app, self._print = app, printer

    def _sagas(self) -> Sagas:
        """The app's Sagas, once all its modules are imported."""
        self._app.loader.import_default_modules()
        found: Sagas | None = getattr(self._app, "celeriac", None)
        if found is None:
            raise click.ClickException(
                f"the app {self._app.main or 'default'!r} has no sagas: name yours with "
                "`celery -A module saga …`, and write `sagas = Sagas(app)` in that module"
            )
        return found


def unknown(sagas: Sagas, name: str) -> str:
    """Return what is wrong with *name*, which is no saga of this app, and which may be meant."""
    near = difflib.get_close_matches(name, sagas.defined, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"no saga {name!r}{hint}: this app has {', '.join(sorted(sagas.defined)) or 'none'}"


def tell_unknown(sagas: Sagas, name: str | None) -> None:
    """Where a filter found nothing, say that it names no saga of this app."""
    if name and name not in sagas.defined:
        click.echo(clean(unknown(sagas, name)), err=True)
