"""One call of the command line: the app that it is for, its sagas, and a printer.

Owns: finding the app's sagas.  Refuses to know: the verbs, and how anything is printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

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
