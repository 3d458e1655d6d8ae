"""The options of steps, compensations and sagas: a misspelt one is an error, never swallowed.

Owns: which options there are, and what to write in place of one that there is not.  Refuses to
know: what the options do.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from celeriac.authoring.task_options import MOST_PRIORITY, is_priority, misfits
from celeriac.errors import DefinitionError
from celeriac.machine import Retry, RetryRule, duration_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from celeriac.machine import Duration

STEP = (
    *("name", "timeout", "retry", "effect", "on_unknown", "pivot", "ahead", "give_up_after"),
    *("expires", "limit", "breaker", "routes"),
)
COMPENSATION = ("name", "timeout", "retry", "ahead")
SAGA = (
    "name",
    "version",
    "deadline",
    "on_deadline",
    "compensation_order",
    "retention",
    "answers",
    "max_steps",
    "retries",
    "retry_delay",
    "limit",
)

# What Celery's `task` takes; a test compares it with the Celery that is installed.
_CELERY = frozenset({
    "abstract", "acks_late", "acks_on_failure", "acks_on_failure_or_timeout", "acks_on_timeout",
    "add_around", "add_trail", "after_return", "backend", "base", "before_start", "bind",
    "compression", "delivery_mode", "exchange", "expires", "filter", "from_config",
    "ignore_result", "immediate", "lazy", "mandatory", "on_bound", "on_failure", "on_replace",
    "on_retry", "on_success", "priority", "pydantic", "pydantic_context", "pydantic_dump_kwargs",
    "pydantic_strict", "queue", "rate_limit", "reject_on_worker_lost", "Request",
    "resultrepr_maxsize", "retry_on_worker_lost", "routing_key", "send_events", "serializer",
    "shadow_name", "shared", "soft_time_limit", "store_errors_even_if_ignored", "Strategy",
    "start_strategy", "throws", "time_limit", "track_started", "trail", "typing",
})  # fmt: skip
# Celery's own way to retry: the run decides when a step is tried again, not the task.
_RETRYING = frozenset({
    "autoretry_for", "default_retry_delay", "dont_autoretry_for", "max_retries", "retry_backoff",
    "retry_backoff_max", "retry_jitter", "retry_kwargs", "retry_policy",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What a saga says of one of its steps (`flow.options`)."""

    name: str | None = None
    after: Sequence[Any] = ()
    timeout: Duration | None = None
    retry: Retry | RetryRule | None = None
    queue: str | None = None
    priority: int | None = None
    give_up_after: Duration | None = None
    expires: Duration | None = None
    undo: Any = None  # its compensation, if the saga says one

    @property
    def of_attempts(self) -> list[str]:
        """The names of those that are about attempts and messages, for who has none of these."""
        names = ("timeout", "retry", "queue", "priority", "give_up_after", "expires")
        return [name for name in names if getattr(self, name) is not None]

    def checked(self) -> StepOptions:
        """Return the same; raise DefinitionError for what cannot be."""
        if isinstance(self.after, str) or not hasattr(self.after, "__iter__"):
            raise DefinitionError(f"after is a list of steps, not {self.after!r}: after=[…]")
        if self.queue is not None and not (isinstance(self.queue, str) and self.queue):
            raise DefinitionError(f"queue is the name of a queue, not {self.queue!r}")
        if self.priority is not None and not is_priority(self.priority):
            raise DefinitionError(
                f"priority is a whole number from 0 to {MOST_PRIORITY}, not {self.priority!r}"
            )
        self.policy(self.name or "", after_loss=True)
        return self

    def policy(self, step: str, *, after_loss: bool) -> dict[str, Any]:
        """What a node has of it, as far as it was said; *after_loss* is the step's own."""
        found: dict[str, Any] = {"queue": self.queue, "priority": self.priority}
        found["timeout"] = optional_ms("timeout", self.timeout, step or None)
        found["give_up_after"] = optional_ms("give_up_after", self.give_up_after, step or None)
        found["expires"] = optional_ms("expires", self.expires, step or None)
        if self.retry is not None:
            rule = retry_rule(self.retry, step)
            found["retry"] = rule.model_copy(update={"after_loss": after_loss})
        return {name: value for name, value in found.items() if value is not None}


def check_flags(step: str, **flags: Any) -> None:
    """Raise DefinitionError for what is neither True nor False: "no" would count as yes."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise DefinitionError(f"{name} must be True or False, not {value!r}", step=step)


def checked_routes(routes: Any, step: str) -> tuple[str, ...]:
    """The groups that a step may go on with, as a tuple; DefinitionError for what are no names."""
    if isinstance(routes, str) or not all(isinstance(each, str) for each in routes):
        raise DefinitionError(
            f'routes are names of groups, such as routes=("manual",), not {routes!r}', step=step
        )
    return tuple(routes)


def check_named(name: Any, *, step: str | None = None) -> None:
    """Raise DefinitionError for a name that nobody could print or look for."""
    if name is not None and not (isinstance(name, str) and name.isprintable()):
        raise DefinitionError(f"name is printable text, not {name!r}", step=step)


def check_task_options(options: Mapping[str, Any], own: Collection[str], step: str) -> None:
    """Raise DefinitionError for what is not an option of a Celery task, or not a value of it.

    *own* are the options that were taken out before; a `base` class may have attributes of its own.
    """
    base = options.get("base")
    for name in options:
        if name in _RETRYING:
            raise DefinitionError(
                f"{name} is for tasks that retry themselves, and a step is tried again by its run: "
                "write retry=Retry(max_attempts=5), see Retry for its other fields",
                step=step,
            )
        of_steps = name in STEP and name not in own  # an undo has no time to be taken up in
        if of_steps or not (name in _CELERY or name.startswith("__") or _declares(base, name)):
            refuse_option(name, own, _CELERY, step=step)
    for misfit in misfits(options):
        raise DefinitionError(misfit, step=step)


def refuse_option(
    name: str,
    own: Collection[str],
    celerys: Collection[str] = (),
    *,
    step: str | None = None,
    saga: str | None = None,
) -> NoReturn:
    """Raise DefinitionError about the unknown option *name*, with the nearest that there is."""
    if step is not None and name in STEP:
        problem = f"{name} is an option of the step, and not of its compensation: write it there"
        raise DefinitionError(problem, step=step)
    near = (
        difflib.get_close_matches(name, celerys, n=1, cutoff=0.9)
        or difflib.get_close_matches(name, own, n=1)
        or difflib.get_close_matches(name, celerys, n=1, cutoff=0.75)
    )
    if near:
        example = "retry=Retry(max_attempts=5)" if near[0] == "retry" else near[0]
        advice = f"did you mean {example}?"
    else:
        more = ", and the options of a Celery task" if celerys else ""
        advice = f"there are {', '.join(own)}{more}"
    raise DefinitionError(f"unknown option {name!r}: {advice}", step=step, saga=saga)


def retry_rule(retry: Any, step: str) -> RetryRule:
    """The rule that *retry* stands for; left out, the default.  DefinitionError otherwise."""
    if retry is None:
        return Retry().rule()
    if isinstance(retry, Retry):
        return retry.rule()
    if isinstance(retry, RetryRule):
        return retry
    whole = isinstance(retry, int) and not isinstance(retry, bool) and retry > 0
    attempts = retry if whole else (1 if retry is False or retry == 0 else 5)
    raise DefinitionError(
        f"retry must be a Retry, not {retry!r}: write retry=Retry(max_attempts={attempts})",
        step=step,
    )


def optional_ms(option: str, value: Duration | None, step: str | None = None) -> int | None:
    """Return a duration that may be left out as milliseconds; DefinitionError names *option*."""
    return None if value is None else required_ms(option, value, step)


def required_ms(option: str, value: Duration, step: str | None = None) -> int:
    """Return a duration as milliseconds; DefinitionError names *option*, also where it is None."""
    try:
        return duration_ms(value)
    except DefinitionError as error:
        raise DefinitionError(f"{option}: {error.problem}", step=step) from None


def delay_of(option: str, value: Duration) -> int:
    """Return a duration that may be 0 as milliseconds; DefinitionError names *option*."""
    if value == 0 and not isinstance(value, bool):
        return 0
    return optional_ms(option, value) or 0


def one_of(option: str, value: Any, allowed: Any) -> Any:
    """Return *value* if the Literal *allowed* has it; DefinitionError names *option*."""
    if value not in get_args(allowed):
        raise DefinitionError(f"{option} must be one of {get_args(allowed)}, not {value!r}")
    return value


def _declares(base: Any, name: str) -> bool:
    if not isinstance(base, type):
        return False
    return hasattr(base, name) or any(
        name in vars(each).get("__annotations__", ()) for each in base.__mro__
    )
