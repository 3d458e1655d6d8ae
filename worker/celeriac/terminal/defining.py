"""What `define` and `definitions` do: keeping files that define sagas, and writing them.

Owns: what is said of a file.  Refuses to know: how it is typed (`defining_commands`) and what is in
it (`definitions`).
"""

from __future__ import annotations

import click

from celeriac.errors import FileInvalid
from celeriac.observing import clean
from celeriac.terminal.exit_codes import Exit
from celeriac.terminal.invocation import Invocation, find_saga, is_file


class Define(Invocation):
    """Verbs about definitions in files."""

    def define(self, path: str, *, check: bool) -> None:
        """Keep the saga of a file, or only look at it; say all that is wrong with it."""
        sagas = self._sagas()
        try:
            saga = sagas.from_file(path) if check else sagas.define(path)
        except FileInvalid as error:
            for problem in error.problems:
                click.echo(clean(str(problem)), err=True)
            raise click.exceptions.Exit(Exit.USAGE) from None
        plan = saga.planned.plan
        done = "is right" if check else "is kept"
        steps = f"{len(plan.steps)} steps" if plan.steps[1:] else "1 step"
        self._print.deed(f"{plan.saga}@{plan.version}", f"{done}, {steps} ({plan.fingerprint})")

    def definitions(self, name: str | None) -> None:
        """List the definitions that are kept, or write a saga as a file."""
        sagas = self._sagas()
        if name is not None:
            saga = sagas.from_file(name) if is_file(name) else find_saga(sagas, name)
            click.echo(saga.as_yaml(), nl=False)
            return
        for kept in sagas.definitions():
            if self._print.form == "table":
                click.echo(clean(kept.name))
            else:
                self._print.document(kept._asdict())
