"""One call of the command line: the app that it is for, its sagas, and a printer.

Owns: finding the app's sagas, and telling of a name that is none.  Refuses to know: the
verbs, and how anything is printed.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import click

from celeriac.errors import ConfigurationError, DefinitionNotFound
from celeriac.observing import clean
from celeriac.terminal.exit_codes import NotFound

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.sagas import Saga, Sagas
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


def find_saga(sagas: Sagas, name: str) -> Saga[Any, Any]:
    """Return the saga of this name: the app's, or the one that is kept under `NAME@VERSION`."""
    if name in sagas.defined:
        return sagas.defined[name]
    saga, at, version = name.rpartition("@")
    try:
        if at and version.isdecimal():
            return sagas.definition(saga, int(version))
        return sagas.definition(name)
    except DefinitionNotFound as error:
        raise NotFound(str(error) if at else unknown(sagas, name)) from None
    except ConfigurationError:  # it has no state at all, so nothing is kept there
        raise NotFound(unknown(sagas, name)) from None


def is_file(name: str) -> bool:
    """True for what is the path of a definition, and no name."""
    return name.endswith((".yaml", ".yml"))


def unknown(sagas: Sagas, name: str) -> str:
    """Return what is wrong with *name*, which is no saga of this app, and which may be meant."""
    near = difflib.get_close_matches(name, sagas.defined, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    known, sagas_are = sorted(sagas.defined), "the saga" if len(sagas.defined) == 1 else "the sagas"
    has = f"{sagas_are} {', '.join(known)}" if known else "none"
    return f"no saga {name!r}{hint}: this app has {has}"


def tell_unknown(sagas: Sagas, name: str | None) -> None:
    """Where a filter found nothing, say that it names no saga of this app."""
    if name and name not in sagas.defined:
        click.echo(clean(unknown(sagas, name)), err=True)
