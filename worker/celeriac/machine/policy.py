"""Retry, backoff and durations: arithmetic without a clock.

Owns: how a policy is written and stored, how long to wait before which attempt, and which
exceptions are worth one.  Refuses to know: what time it is, and what is being retried.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field

from celeriac.errors import DefinitionError
from celeriac.machine.expressions import Frozen

Duration = int | float | str | timedelta
Backoff = Literal["none", "linear", "exponential"]

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
# Far beyond any wait, and every time that comes of it can still be shown.
_LONGEST_DAYS = 365_000
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|[smhdw])\s*")


def duration_ms(value: Duration) -> int:
    """Return *value* as whole milliseconds.

    Seconds as a number, a `timedelta`, or text such as `"30s"`, `"10m"`, `"1h30m"`, `"2d"`.
    Raises DefinitionError for anything else, for what is not positive, and for what nobody lives
    to see.
    """
    if isinstance(value, bool):
        raise _not_a_duration(value)
    if isinstance(value, timedelta):
        found = value.total_seconds() * 1000
    elif isinstance(value, int | float):
        found = value * 1000
    elif isinstance(value, str):
        found = _text_ms(value)
    else:
        raise _not_a_duration(value)
    if not 0 < found < float("inf"):
        raise DefinitionError(f"a duration must be positive and finite, not {value!r}")
    if found > _LONGEST_DAYS * _UNITS["d"]:
        raise DefinitionError(f"a duration is at most {_LONGEST_DAYS} days, not {value!r}")
    return max(1, round(found))


def _text_ms(text: str) -> float:
    total, end = 0.0, 0
    for part in _PART.finditer(text.strip()):
        if part.start() != end:
            raise _not_a_duration(text)
        total += float(part[1]) * _UNITS[part[2]]
        end = part.end()
    if not end or end != len(text.strip()):
        raise _not_a_duration(text)
    return total


def _not_a_duration(value: object) -> DefinitionError:
    return DefinitionError(
        f"{value!r} is not a duration: give seconds, a timedelta or text such as '30s', '10m', '2d'"
    )


class RetryRule(Frozen):
    """A retry policy as it is stored: numbers and names of exception classes only."""

    max_attempts: int | None = Field(default=3, description="counts the first; None is for ever")
    backoff: Literal["none", "linear", "exponential"] = "exponential"
    initial_delay: int = Field(default=5_000, description="milliseconds before the second attempt")
    max_delay: int = Field(default=60_000, description="milliseconds, the longest delay")
    jitter: bool = True
    give_up_on: tuple[str, ...] = Field(default=(), description="qualified names, not retried")
    retry_on: tuple[str, ...] = Field(
        default=("builtins.Exception",), description="qualified names that are retried"
    )
    after_loss: bool = Field(
        default=True, description="try again after an attempt whose outcome is unknown"
    )


@dataclass(frozen=True)
class Retry:
    """When to try a step again, and how long to wait before.

    `max_attempts` counts the first attempt; None is for ever.  Delays are durations.  Jitter
    shortens each delay by up to half, so that steps that failed together are not retried together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    max_attempts: int | None = 3
    backoff: Backoff = "exponential"
    initial_delay: Duration = 5.0
    max_delay: Duration = 60.0
    jitter: bool = True
    give_up_on: tuple[type[BaseException], ...] = ()
    retry_on: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        if self.max_attempts is not None and (
            isinstance(self.max_attempts, bool)
            or not isinstance(self.max_attempts, int)
            or self.max_attempts < 1
        ):
            raise DefinitionError(
                "max_attempts counts the first attempt: 1 or more, or None for ever, "
                f"not {self.max_attempts!r}"
            )
        if self.backoff not in ("none", "linear", "exponential"):
            raise DefinitionError(
                f"backoff must be 'none', 'linear' or 'exponential', not {self.backoff!r}"
            )
        if not isinstance(self.jitter, bool):
            raise DefinitionError(f"jitter must be True or False, not {self.jitter!r}")
        self.rule()

    def rule(self) -> RetryRule:
        """The policy as it is stored in a plan."""
        return RetryRule(
            max_attempts=self.max_attempts,
            backoff=self.backoff,
            initial_delay=_delay_ms(self.initial_delay),
            max_delay=_delay_ms(self.max_delay),
            jitter=self.jitter,
            give_up_on=_names(self.give_up_on, "give_up_on"),
            retry_on=_names(self.retry_on, "retry_on"),
        )


def _delay_ms(value: Duration) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else duration_ms(value)


def _names(classes: object, parameter: str) -> tuple[str, ...]:
    found = classes if isinstance(classes, tuple | list) else (classes,)
    for each in found:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise DefinitionError(f"{parameter} takes classes of exceptions, not {each!r}")
    return tuple(qualified(each) for each in found)


def qualified(kind: type) -> str:
    """The name under which a class of exceptions is stored in a plan."""
    return f"{kind.__module__}.{kind.__qualname__}"


def retryable(rule: RetryRule, error: BaseException) -> bool:
    """True if *rule* says that *error* is worth another attempt, as far as its class goes."""
    names = {qualified(kind) for kind in type(error).__mro__}
    return names.isdisjoint(rule.give_up_on) and not names.isdisjoint(rule.retry_on)


def attempts_left(rule: RetryRule, made: int) -> bool:
    """True if another attempt is allowed after *made* attempts."""
    return rule.max_attempts is None or made < rule.max_attempts


def delay_ms(rule: RetryRule, made: int, seed: str) -> int:
    """Milliseconds to wait after the *made*-th attempt.

    Jitter is drawn from *seed*, not from a generator: the same run waits the same time when it is
    replayed, other runs wait another.
    """
    if rule.backoff == "none":
        delay = rule.initial_delay
    elif rule.backoff == "linear":
        delay = rule.initial_delay * made
    else:
        delay = rule.initial_delay * 2 ** min(made - 1, 40)
    delay = min(delay, rule.max_delay)
    if not rule.jitter:
        return delay
    draw = int.from_bytes(hashlib.blake2b(f"{seed}/{made}".encode(), digest_size=4).digest())
    return delay - delay * draw // (2 * 2**32)
