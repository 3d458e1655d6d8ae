"""What the verbs of `celery -A app saga bulk` do.

Owns: which method of a command for many runs is called.  Refuses to know: how it is typed
(`bulk_commands`) and how it is printed (`bulk_printing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.terminal.invocation import Invocation, tell_unknown
from celeriac.terminal.times import bounded

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.bulk_printing import BulkPrinter


class Bulks(Invocation):
    """Verbs for commands for many runs."""

    def __init__(self, app: Celery, printer: BulkPrinter) -> None:
        super().__init__(app, printer)
        self._printer = printer

    def list(self, limit: int) -> None:
        """List those that were looked at last."""
        self._printer.bulks(self._sagas().bulks(limit))

    def show(self, bulk_id: str, limit: int, first: int) -> None:
        """Show one, and some of its runs."""
        bulk = self._sagas().bulk_named(bulk_id)
        state = bulk.state()
        more = state.matched > first + limit
        self._printer.bulk(state, bulk.runs(first, limit), first + limit if more else None)

    def look(self, verb: Any, *, reason: str | None, rps: float, by: str, **filters: Any) -> None:
        """Keep which runs a command would be for."""
        sagas = self._sagas()
        found = sagas.bulk(verb, **bounded(filters), reason=reason or "", rps=rps, by=by).state()
        if not found.matched:
            tell_unknown(sagas, filters["saga"])
        self._printer.looked(found)

    def start(self, bulk_id: str, expected: int, by: str) -> None:
        """Let the sweep give it."""
        begun = self._sagas().bulk_named(bulk_id).start(expected, by=by)
        self._printer.deed(bulk_id, "begun" if begun else "it was going on")

    def stop(self, bulk_id: str, by: str) -> None:
        """Let those without a turn be as they are."""
        stopped = self._sagas().bulk_named(bulk_id).stop(by=by)
        self._printer.deed(bulk_id, "stopped" if stopped else "it was over")
