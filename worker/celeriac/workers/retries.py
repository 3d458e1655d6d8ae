"""What a task asks for with `self.retry`, taken without anything being sent.

Owns: Celery's own `retry` in an attempt of a saga, up to the point where it would send a message,
and what Celery's exceptions mean for an attempt.  Refuses to know: whether there will be another
attempt; the run decides that.
"""

from __future__ import annotations

import math
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery.canvas import Signature
from celery.exceptions import Ignore, Reject, Retry

from celeriac.engine import Again, AttemptFailure, classify_error
from celeriac.observing import clean, log

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_COUNTDOWN = 10 * 366 * 86_400.0
# What the engine decides by itself, whatever was asked for.
_DECIDED = ("countdown", "eta", "retries", "task_id", "ignore_result", "link_error")

_ELSEWHERE = ("queue", "exchange", "routing_key")

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
    """Return *message* as what is asked for; *given*: its arguments are other than before."""
    found = Asked(message, app=message.app)
    wishes = {name: value for name, value in options.items() if name not in _DECIDED and value}
    args = tuple(message.args or ()) if given else None
    kwargs = dict(message.kwargs or {}) if given else None
    found.again = Again(args, kwargs, wishes)
    return found


def seconds(eta: datetime | None, countdown: float | None, default: float | None) -> float:
    """Return the delay that a retry asks for; ValueError for one that never ends."""
    if eta is not None:
        aware = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    found = float(countdown if countdown is not None else default or 0)
    if math.isnan(found) or found > _LONGEST_COUNTDOWN:
        raise ValueError(f"countdown={countdown!r}: give seconds, at most ten years of them")
    return max(0.0, found)


def tell_unheeded(name: str, again: Again | None, delay: float, longest_eta: int) -> None:
    """Log that a retry of *name* asks for another queue, and waits too long for that: seconds.

    *longest_eta* is for how many ms a message may be held back.

    The run keeps when an attempt is due, not through which queue; the sweep sends it as ever.
    """
    wishes = again.options if again else {}
    found = [f"{each}={wishes[each]}" for each in _ELSEWHERE if each in wishes]
    if wishes.get("headers"):
        found.append("headers")
    if found:
        log.warning(
            "%s asks for a retry with %s, in %g s: what waits for longer than %g s has no message "
            "meanwhile, and then goes to its task's own queue",
            name,
            clean(", ".join(found)),
            delay,
            longest_eta / 1000,
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
