"""What the verbs of `celery -A app saga breakers` do.

Owns: which method is called.  Refuses to know: how it is typed (`breaker_commands`) and how it is
printed (`breaker_printing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.terminal.invocation import Invocation

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.terminal.breaker_printing import BreakerPrinter


class Breakers(Invocation):
    """Verbs for gates."""

    def __init__(self, app: Celery, printer: BreakerPrinter) -> None:
        super().__init__(app, printer)
        self._printer = printer

    def list(self) -> None:
        """List all that the code or the store knows."""
        self._printer.gates(self._sagas().gates())

    def show(self, name: str) -> None:
        """Show one."""
        self._printer.gate(self._sagas().gate(name))

    def open(self, name: str, by: str) -> None:
        """Let nothing through."""
        self._sagas().open_breaker(name, by=by)
        self._printer.deed(name, "opened")

    def close(self, name: str, by: str) -> None:
        """Let everything through."""
        self._sagas().close_breaker(name, by=by)
        self._printer.deed(name, "closed")
