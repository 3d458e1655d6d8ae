"""What is recorded of an exception: its kind, its text, where it was raised, and its worth.

Owns: reading them off an exception that is not trusted, and what is left out.  Refuses to know:
what was called, and what a failure leads to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import Abort, SagaError
from celeriac.failure import Failure, class_name, safe_text, safe_traceback
from celeriac.machine import RetryRule, retryable
from celeriac.observing import too_slow

if TYPE_CHECKING:
    from types import TracebackType

_LONGEST_MESSAGE = 2_000
_LONGEST_CODE = 200
_LONGEST_TRACEBACK = 4_000


def worth_retrying(rule: RetryRule, error: BaseException) -> bool:
    """True if another attempt is worth it; the default, `Exception`, means whatever was raised."""
    usual = retryable(rule, Exception())
    if usual and not isinstance(error, Exception):
        rule = rule.model_copy(update={"retry_on": ("builtins.object",)})
    try:
        return retryable(rule, error)
    except Exception:  # noqa: BLE001 -- a class without a readable name is in nobody's list
        return usual


def failure_of(
    error: BaseException, effect: object, *, timed_out: bool, limit: int | None
) -> Failure:
    """Return what is recorded of *error*; *limit* is how long the attempt may take, in ms."""
    # Celery's own words, `SoftTimeLimitExceeded()`, say nothing of the limit.
    late = timed_out and isinstance(error, Exception) and not isinstance(error, SagaError)
    return Failure(
        type=class_name(error),
        message=too_slow(limit) if late else safe_text(error)[:_LONGEST_MESSAGE],
        code="timeout" if late else _code(error),
        effect=effect if isinstance(effect, bool) else None,
        traceback=safe_traceback(error, _own_frames(error))[-_LONGEST_TRACEBACK:],
    )


def _code(error: BaseException) -> str | None:
    if not issubclass(type(error), SagaError):
        return None
    try:
        code: object = error.code  # type: ignore[attr-defined]  # any object: theirs may set it
    except Exception:  # noqa: BLE001 -- a property of a class of theirs
        return None
    return None if code is None else safe_text(code)[:_LONGEST_CODE]


def _own_frames(error: BaseException) -> TracebackType | None:
    """The traceback from where the body begins: how it was called helps nobody."""
    if not isinstance(error, BaseException):
        return None  # `self.retry(exc=…)` takes anything
    # Their class may have an attribute of that name, which may raise.
    found: TracebackType | None = vars(BaseException)["__traceback__"].__get__(error)
    while found is not None and _is_plumbing(found.tb_frame.f_globals.get("__name__")):
        found = found.tb_next
    return found


def _is_plumbing(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in ("celeriac", "celery")


def is_final(error: BaseException) -> bool:
    """True if a step has said that its saga is not to begin anew."""
    try:
        return isinstance(error, Abort) and bool(error.final)
    except Exception:  # noqa: BLE001 -- a property of a class of theirs, or one without ours
        return False
