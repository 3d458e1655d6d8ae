"""When a step is tried again, as a file says it.

Owns: the fields of `retry`.  Refuses to know: steps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from celeriac.definitions.fields import Fields
from celeriac.definitions.trees import Mapped
from celeriac.machine import RetryRule

if TYPE_CHECKING:
    from celeriac.definitions.problems import Problems

_RETRY = tuple(name for name in RetryRule.model_fields if name != "after_loss")


def read_retry(fields: Fields, problems: Problems) -> RetryRule | None:
    """The policy of a step, if it says one."""
    mapped = fields.of_kind("retry", Mapped, "{max_attempts: 5}")
    return None if mapped is None else _rule(mapped, problems)


def _rule(mapped: Mapped, problems: Problems) -> RetryRule:
    """A policy as it stands in a file."""
    said, usual = Fields(mapped, problems, _RETRY, "retry"), RetryRule()
    there, attempts = said.limit("max_attempts")
    kinds = re.compile(r"[A-Za-z_][\w.]*\Z")
    lists = {}
    for name in ("give_up_on", "retry_on"):
        classes = said.names(name)
        for each in classes:
            if not kinds.match(each.text):
                text = f"{name} is a list of classes, such as builtins.ValueError"
                problems.add(each.mark, text)
        lists[name] = tuple(each.text for each in classes)
    return RetryRule(
        max_attempts=attempts if there else usual.max_attempts,
        backoff=said.one_of("backoff", ("none", "linear", "exponential"), usual.backoff),
        initial_delay=said.delay("initial_delay", usual.initial_delay),
        max_delay=said.delay("max_delay", usual.max_delay),
        jitter=said.read("jitter", bool, "true", usual.jitter),
        give_up_on=lists["give_up_on"],
        retry_on=lists["retry_on"] if "retry_on" in said else usual.retry_on,
    )
