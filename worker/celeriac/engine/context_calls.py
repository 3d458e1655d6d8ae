"""What the context of a step does when its body calls it: heartbeats, and the token.

Owns: what these cost and raise.  Refuses to know: how a body is called (`bodies`), and what a
command leads to.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac.authoring import ANYTHING
from celeriac.engine.answers import later_misplaced
from celeriac.errors import CommandRefused, LeaseLost, OutputInvalid, Stopping
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.engine.attempts import Attempt
    from celeriac.engine.engine import Engine


def heartbeat(engine: Engine, attempt: Attempt, name: str, details: Any) -> None:
    """Ask whether an attempt still counts, and keep *details* for the next; it is called *name*."""
    text = None
    if details is not None:
        text = ANYTHING.dump(details, f"what a heartbeat of {name} says", OutputInvalid)
        text = payloads.checked(f"a heartbeat of {name}", text, engine.terms.max_payload)
    with _counting():
        engine.heartbeat(attempt, text)


class Token:
    """Gives out the token of an attempt: the same, however often it is asked for."""

    def __init__(self, engine: Engine, attempt: Attempt, name: str) -> None:
        self._engine, self._attempt, self._name = engine, attempt, name
        self._token = ""

    def __call__(self) -> str:
        """Return the token; the first time, keep its digest with the run."""
        attempt = self._attempt
        problem = later_misplaced(attempt.node, attempt.delivery.phase)
        if problem:
            raise CommandRefused("wrong_direction", f"{self._name} has no token: {problem}")
        if not self._token:
            with _counting():
                self._token = self._engine.give_token(attempt)
        return self._token


@contextmanager
def _counting() -> Iterator[None]:
    """Tell a body, as an error that ends it, that its attempt no longer counts."""
    try:
        yield
    except CommandRefused as refused:
        if refused.reason == "stopping":
            raise Stopping(str(refused)) from None
        raise LeaseLost(refused.reason, str(refused)) from None
