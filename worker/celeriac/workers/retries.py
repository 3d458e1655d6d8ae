"""What a task asks for with `self.retry`, taken without anything being sent.

Owns: Celery's own `retry` in an attempt of a saga, up to the point where it would send a message,
and what Celery's exceptions mean for an attempt.  Refuses to know: whether there will be another
attempt; the run decides that.
"""

from __future__ import annotations

import json
import math
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery.canvas import Signature
from celery.exceptions import Ignore, Reject, Retry

from celeriac.authoring import misfits
from celeriac.engine import Again, AttemptFailure, classify_error
from celeriac.errors import DefinitionError
from celeriac.observing import clean, log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LONGEST_COUNTDOWN = 10 * 366 * 86_400.0
# What the engine decides by itself, whatever was asked for.
_DECIDED = (
    *("countdown", "eta", "retries", "task_id", "ignore_result", "link_error"),
    "serializer",  # arguments are no part of the message
)
# What the run keeps until the message is sent.
_KEPT = (
    *("queue", "exchange", "routing_key", "priority", "time_limit", "soft_time_limit"),
    *("shadow", "compression", "delivery_mode"),
)
_LONGEST_KEPT = 1_000  # characters of all of them

_asking: ContextVar[bool] = ContextVar("celeriac_asking", default=False)


class Asked(Signature):  # type: ignore[misc]  # Celery has no types
    """The message that `self.retry` would send; the run sends another one, if it agrees."""

    again = Again()

    def apply_async(self, *_: Any, **__: Any) -> None:
        """Send nothing."""


def ask(retry: Callable[[], Any]) -> Any:
    """Call Celery's *retry* such that it sends nothing; what it raises holds what was asked for."""
    token = _asking.set(True)
    try:
        return retry()
    finally:
        _asking.reset(token)


def is_asking() -> bool:
    """Return whether a message is made for a retry that is only asked for."""
    return _asking.get()


def asked(message: Signature, given: bool, options: dict[str, Any]) -> Asked:
    """Return *message* as what is asked for; *given*: its arguments are other than before.

    Raises DefinitionError for an option that no message could have.
    """
    found = Asked(message, app=message.app)
    wishes = {
        name: value
        for name, value in options.items()
        if name not in _DECIDED and value is not None and value not in ("", {})
    }
    for misfit in misfits(wishes):
        raise DefinitionError(f"retry: {misfit}")
    args = tuple(message.args or ()) if given else None
    kwargs = dict(message.kwargs or {}) if given else None
    found.again = Again(args, kwargs, wishes, _kept(wishes))
    return found


def _kept(wishes: Mapping[str, Any]) -> str:
    """Return as JSON what the run can keep of the options that were asked for."""
    names = {name: getattr(value, "name", value) for name, value in wishes.items() if name in _KEPT}
    found = json.dumps({name: value for name, value in names.items() if _is_plain(value)})
    return found if names and len(found) <= _LONGEST_KEPT else ""


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def seconds(eta: datetime | None, countdown: float | None, default: float | None) -> float:
    """Return the delay that a retry asks for; ValueError for one that never ends."""
    if eta is not None:
        aware = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    found = float(countdown if countdown is not None else default or 0)
    if math.isnan(found) or found > _LONGEST_COUNTDOWN:
        raise ValueError(f"countdown={countdown!r}: give seconds, at most ten years of them")
    return max(0.0, found)


def tell_unheeded(name: str, again: Again | None, *, waits: bool) -> None:
    """Log what *name* asks of its retry and does not get; *waits*: it has no message meanwhile."""
    if again is None:
        return
    kept = json.loads(again.via) if again.via else {}
    left = [each for each in again.options if waits and each not in kept]
    if "expires" in again.options:  # what expired would only be sent again
        left = sorted({*left, "expires"})
    if left:
        log.warning(
            "%s asks for a retry with %s, which is left out: no message of a run expires, and one "
            "that waits for long keeps %s of a retry, if they are short",
            name,
            clean(", ".join(left)),
            ", ".join(_KEPT),
        )


def classify_celery_error(error: Exception) -> AttemptFailure:
    """Return how an attempt ended that raised *error*; Celery's own exceptions have a meaning."""
    if isinstance(error, Retry) and isinstance(error.sig, Asked):
        when = error.when
        late = seconds(when, None, None) if isinstance(when, datetime) else seconds(None, when, 0)
        cause = error.exc if isinstance(error.exc, BaseException) else error
        return AttemptFailure(cause, retry=True, delay=int(late * 1000), again=error.sig.again)
    if isinstance(error, Ignore | Reject):
        # There is no "neither done nor failed" in a saga.
        return AttemptFailure(error, "abort")
    if isinstance(error, SoftTimeLimitExceeded):
        return AttemptFailure(error, "timeout", retry=True)
    return classify_error(error)


def retrying(
    cause: BaseException | None, when: Any, text: str | None = None, sig: Any = None
) -> Exception:
    """Return Celery's `Retry`: another attempt is coming, and *sig* is its message, if it has one.

    *when* is a delay in seconds, or a date.
    """
    exc = cause if isinstance(cause, Exception) else None
    made: Exception = Retry(text, exc=exc, when=when, sig=sig)  # Celery has no types
    return made


def rejected(error: Exception) -> Exception:
    """Return Celery's `Reject`: the message that could not be sent again is done with."""
    made: Exception = Reject(error, requeue=False)
    return made


def timed_out(error: BaseException, limit: float | None) -> AttemptFailure | None:
    """Return how an attempt ended whose body gevent's pool stopped at *limit*, in seconds.

    None for anything else.  That pool enforces a task's time limit with a `gevent.Timeout` around
    it, which comes out of the body like one of the body's own; only its length tells them apart.
    """
    library = sys.modules.get("gevent.timeout")  # nobody imports it for this
    if limit is None or library is None or not isinstance(error, library.Timeout):
        return None
    if error.seconds != limit:
        return None
    told = TimeLimitExceeded(limit).with_traceback(error.__traceback__)
    return AttemptFailure(told, "timeout", retry=True)
