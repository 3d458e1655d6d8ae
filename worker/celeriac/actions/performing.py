"""What every action does around its own work: under which key, and how its errors are told.

Owns: the key of an undo, and that no error carries a secret or its past.  Refuses to know: what is
sent or run.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from pydantic import ValidationError

from celeriac.authoring import complaints
from celeriac.errors import Abort, ActionFailed, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.actions.secrets import Secrets
    from celeriac.context import StepContext


def key_of(ctx: StepContext, undo: Any) -> str:
    """The idempotency key of what is done, or (*undo* is not None) of what undoes it."""
    return ctx.idempotency_key if undo is None else f"{ctx.idempotency_key}:undo"


@contextmanager
def told_without(secrets: Secrets) -> Iterator[None]:
    """Tell whatever is raised inside without any secret."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- whatever it is
        raise _as_told(error, secrets) from None


def _as_told(error: Exception, secrets: Secrets) -> Exception:
    """The error to raise in place of *error*, without any secret and without its past."""
    text = secrets.masked(str(error))
    if isinstance(error, Abort):
        return Abort(text, code=error.code, effect=error.effect)
    if isinstance(error, ActionFailed):
        return ActionFailed(text, code=error.code, effect=error.effect, unknown=error.unknown)
    if isinstance(error, ConfigurationError):
        return Abort(text, code=error.code, effect=False)
    if isinstance(error, ValidationError):
        told = secrets.masked(complaints(error))
        return Abort(f"it cannot be asked so: {told}", code="value_refused", effect=False)
    if isinstance(error, SoftTimeLimitExceeded):  # the attempt is ended from outside
        found: Exception = error
        return found
    return Abort(f"{type(error).__name__}: {text}", code="action_failed")
