"""What `list`, `show`, `history`, `watch` and the other verbs do that look at runs.

Owns: asking the client, and looking again and again.  Refuses to know: how it is typed
(`inspection_commands`) and how it is printed (`printing`).
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import click

from celeriac.app import find_hindrances
from celeriac.errors import RunNotFound
from celeriac.terminal.exit_codes import NotFound, exit_of_outcome
from celeriac.terminal.interrupts import interrupts
from celeriac.terminal.invocation import Invocation, find_saga, is_file, tell_unknown
from celeriac.terminal.times import bounded
from celeriac.views import Look, graph_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.app import RunHandle
    from celeriac.sagas import Saga, Sagas
    from celeriac.views import Drawing


class Inspect(Invocation):
    """Verbs that look at runs and change nothing."""

    def list(self, *, since: str | None, until: str | None, **filters: Any) -> None:
        """Print a page of runs."""
        bounds = bounded({"since": since, "until": until})
        sagas = self._sagas()
        page = sagas.runs(**filters, **bounds)
        if not page.runs and page.cursor is None:
            tell_unknown(sagas, filters["saga"])
        self._print.page(page.states(failures=self._print.tells_failures), page.cursor)

    def show(self, run_id: str, *, traceback: bool) -> None:
        """Print one run."""
        sagas = self._sagas()
        run = sagas.run(run_id)
        found = find_hindrances(sagas.runtime, *run.look())
        self._print.run(run.state(), found, traceback=traceback)

    def history(self, run_id: str, step: str) -> None:
        """Print what happened to a run, or to one step of it."""
        self._print.history(run_id, self._sagas().run(run_id).history(), step)

    def watch(self, run_id: str, every: float) -> None:
        """Show a run until it has ended; end with the code of its outcome."""
        run = self._sagas().run(run_id)
        with interrupts() as asked:
            status = self._print.watch(_looks(run, every, asked), run.history)
        if status is None:
            raise click.Abort
        if exit_of_outcome(status):
            raise click.exceptions.Exit(exit_of_outcome(status))

    def graph(self, name: str, drawing: Drawing) -> None:
        """Draw the saga in this file, the run of this id, or the saga of this name."""
        sagas = self._sagas()
        if is_file(name):
            self._print.graph(graph_of(sagas.from_file(name).planned.plan), drawing)
            return
        try:
            found = sagas.run(name).graph()
        except RunNotFound as error:
            saga = _saga(sagas, name, error)
            found = graph_of(saga.planned.plan)
        self._print.graph(found, drawing)

    def undo_plan(self, run_id: str, to: str | None) -> None:
        """Print what would be undone of a run; with *to*, if it were rewound to that step."""
        self._print.undo_plan(self._sagas().run(run_id).undo_plan(to))

    def export(self, run_id: str, *, payloads: bool) -> None:
        """Print all that is known of a run."""
        self._print.document(self._sagas().run(run_id).export(payloads=payloads))

    def stats(self) -> None:
        """Print how the runs stand as a whole."""
        self._print.stats(self._sagas().stats())


def _saga(sagas: Sagas, name: str, error: RunNotFound) -> Saga[Any, Any]:
    """The saga of a name that is no run's."""
    try:
        return find_saga(sagas, name)
    except NotFound:
        raise error from None


def _looks(run: RunHandle[Any], every: float, asked: SimpleQueue[int]) -> Iterator[Look]:
    """Look at a run again and again, until it is at rest or a signal ends it."""
    while True:
        look = Look(*run.look(), run.progress())
        yield look
        if look[1].status.at_rest:
            return
        with suppress(Empty):
            asked.get(timeout=every)
            return
