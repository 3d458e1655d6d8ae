"""What the options of a Celery task may be: Celery itself takes anything, and fails in a worker.

Owns: the kind of value of each option, and the words that refuse another.  Refuses to know: which
options there are (`options`), who sets them, and what they do.
"""

from __future__ import annotations

import math
from datetime import datetime
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_PRIORITY = 255  # as AMQP has it

_PERIODS = ("", "s", "m", "h")


def is_priority(value: Any) -> bool:
    """True for a whole number that every broker takes for a priority."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_PRIORITY


def misfits(options: Mapping[str, Any]) -> list[str]:
    """Return a sentence about each of *options* that Celery could not use; None is left out."""
    found = []
    for name, value in options.items():
        fits, words = _KINDS.get(name, (None, ""))
        if fits is not None and value is not None and not fits(value):
            found.append(f"{name} is {words}, not {value!r}")
    return found


def misfits_of(task: Any) -> list[str]:
    """Return the same about a task, whatever its options come from: its code or the settings."""
    return misfits({name: getattr(task, name, None) for name in _KINDS if name not in _NOT_KEPT})


def _is_number(value: Any) -> bool:
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


def _is_rate(value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return value in ("", False) or _is_number(value)
    many, _, period = value.partition("/")
    try:
        return period in _PERIODS and _is_number(float(many))
    except ValueError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_place(value: Any) -> bool:
    """The name of a queue or an exchange, or kombu's object."""
    return isinstance(getattr(value, "name", value), str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, int) and value in (0, 1)


def _is_moment(value: Any) -> bool:
    if isinstance(value, str):  # as Celery reads what was written as JSON
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
        return True
    return isinstance(value, datetime) or _is_number(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_errors(value: Any) -> bool:
    each = value if isinstance(value, tuple | list | set | frozenset) else (value,)
    return all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in each)


_SECONDS = (_is_number, "a number of seconds")
_PLACE = (_is_place, "a name")
_FLAG = (_is_flag, "True or False")
_TEXT = (_is_text, "text")
_ERRORS = (_are_errors, "a class of errors, or a tuple of them")

_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "rate_limit": (_is_rate, 'how many a second, or text such as "10/m" (s, m or h)'),
    "time_limit": _SECONDS,
    "soft_time_limit": _SECONDS,
    "default_retry_delay": _SECONDS,
    "max_retries": (_is_count, "a whole number"),
    "priority": (is_priority, f"a whole number from 0 to {MOST_PRIORITY}"),
    "expires": (_is_moment, "a number of seconds, or a datetime"),
    "queue": _PLACE,
    "exchange": _PLACE,
    "routing_key": _TEXT,
    "serializer": _TEXT,
    "compression": _TEXT,
    "throws": _ERRORS,
    "autoretry_for": _ERRORS,
    "acks_late": _FLAG,
    "acks_on_failure": _FLAG,
    "acks_on_failure_or_timeout": _FLAG,
    "acks_on_timeout": _FLAG,
    "bind": _FLAG,
    "ignore_result": _FLAG,
    "pydantic": _FLAG,
    "reject_on_worker_lost": _FLAG,
    "send_events": _FLAG,
    "shared": _FLAG,
    "store_errors_even_if_ignored": _FLAG,
    "track_started": _FLAG,
    "typing": _FLAG,
}
# What says how a task is made; the task itself has something else of that name.
_NOT_KEPT = ("bind", "pydantic", "shared")
