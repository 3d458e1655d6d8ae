"""The gates of steps and sagas, as they are written: limits, rates and breakers.

Owns: the three words, and what each may say.  Refuses to know: who passes (`gating`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.authoring.annotations import attribute_of, item_of, without_none
from celeriac.authoring.options import optional_ms
from celeriac.errors import DefinitionError
from celeriac.machine import (
    APART,
    Constant,
    Expression,
    FromInput,
    FromItem,
    FromMap,
    FromStep,
    Gate,
    Rule,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from celeriac.machine import Duration

_MOST = 1_000_000
_MOST_FAILURES = 1_000  # of a breaker: each is kept while it counts
_LONGEST = 200  # characters of a name: it is part of keys and a label of metrics
_KEY = re.compile(r"[^\W\d]\w*(\.\w+)*")


@dataclass(frozen=True, slots=True)
class Limit:
    """No more than so many attempts at a time, over all workers.

    With `key`, for each value of a parameter apart, or of something inside of it: `"order.card"`.
    All limits of a `name` are one; left out, it is the name of the step or saga.
    """

    most: int
    key: str | None = None
    name: str | None = None

    def rule(self) -> Rule:
        """The numbers of it; raise DefinitionError for what cannot be."""
        return Rule(kind="limit", most=_whole("Limit", self.most))


@dataclass(frozen=True, slots=True)
class Rate:
    """No more than so many attempts in any span of time, over all workers.

    `key` and `name` are as of `Limit`.
    """

    most: int
    per: Duration
    key: str | None = None
    name: str | None = None

    def rule(self) -> Rule:
        """The numbers of it; raise DefinitionError for what cannot be."""
        return Rule(kind="rate", most=_whole("Rate", self.most), per=_ms("per", self.per))


@dataclass(frozen=True, slots=True)
class Breaker:
    """Lets nothing through for a while after so many failures that are not an `Abort`.

    It opens after `failures` in `within`, lets one attempt try after `open_for`, and closes when
    that gets an answer.  All steps with a breaker of this name share it.
    """

    name: str
    failures: int = 5
    within: Duration = "1m"
    open_for: Duration = "30s"
    key: str | None = None

    def rule(self) -> Rule:
        """The numbers of it; raise DefinitionError for what cannot be."""
        return Rule(
            kind="breaker",
            most=_whole("failures", self.failures, _MOST_FAILURES),
            per=_ms("within", self.within),
            open_for=_ms("open_for", self.open_for),
        )


def gates_of(
    limit: Any, breaker: Any, owner: str, parameters: Sequence[str]
) -> tuple[tuple[str, Rule, str | None], ...]:
    """The gates that are written at a step or saga: name, numbers and key of each.

    *owner* is what a limit is called that has no name.  Raises DefinitionError.
    """
    found = [*_several("limit", limit, Limit | Rate), *_several("breaker", breaker, Breaker)]
    made = []
    for each in found:
        name = owner if each.name is None and not isinstance(each, Breaker) else each.name
        if not (isinstance(name, str) and name and name.isprintable() and APART not in name):
            raise DefinitionError(
                f"a gate is called by printable text without {APART!r}, not {name!r}: give name="
            )
        if len(name) > _LONGEST:
            raise DefinitionError(
                f"the name of a gate has {_LONGEST} characters at most, not {len(name)}: give name="
            )
        _check_key(each.key, parameters)
        made.append((name, each.rule(), each.key))
    names = [name for name, _, _ in made]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise DefinitionError(f"has two gates called {double!r}: give one of them another name=")
    return tuple(made)


def gates_of_step(
    limit: Any, breaker: Any, step: str, parameters: Iterable[str]
) -> tuple[tuple[str, Rule, str | None], ...]:
    """The same, of a step: what is wrong is said with its name."""
    try:
        return gates_of(limit, breaker, step, list(parameters))
    except DefinitionError as error:
        raise DefinitionError(error.problem, step=step) from None


def planned_gates(
    gates: Sequence[tuple[str, Rule, str | Expression | None]],
    kinds: Mapping[str, Any],
    value_of: Callable[[str], Expression | None],
) -> tuple[Gate, ...]:
    """The same, as they are in a plan.

    *kinds* are the types of parameters, and *value_of* says where one comes from.
    """
    found = []
    for name, rule, key in gates:
        value = _inside(key, kinds, value_of) if isinstance(key, str) else key
        found.append(Gate(name=name, rule=rule, key=value))
    return tuple(found)


def check_same(known: Mapping[str, Rule], name: str, rule: Rule) -> None:
    """Raise DefinitionError if a gate of that name has other numbers."""
    if known.get(name, rule) != rule:
        raise DefinitionError(
            f"there is another gate called {name!r} with other numbers: share one, or give one of "
            "them another name="
        )


def _inside(
    key: str, kinds: Mapping[str, Any], value_of: Callable[[str], Expression | None]
) -> Expression:
    parameter, *names = key.split(".")
    path = _path(key, kinds[parameter], names)
    value = value_of(parameter)
    if value is None:
        return Constant(value=None)
    if not path:
        return value
    if not isinstance(value, FromInput | FromStep | FromItem | FromMap):
        raise DefinitionError(
            f"key {key!r} goes inside of an argument that is put together in the saga: give the "
            "value itself to a parameter, and name that",
            parameter=parameter,
        )
    return value.model_copy(update={"path": (*value.path, *path)})


def _path(key: str, kind: Any, names: Iterable[str]) -> list[str | int]:
    """Where in the JSON of a value of this type a key is; raise DefinitionError if nowhere.

    What may be None on the way is no mistake: those without a value count as one.
    """
    found: list[str | int] = []
    for name in names:
        kind = without_none(kind)
        try:
            path, kind = attribute_of(kind, name)
        except DefinitionError as error:
            try:
                path, kind = item_of(kind, int(name) if name.isdecimal() else name)
            except DefinitionError:
                raise DefinitionError(
                    f"key {key!r}: what stands before .{name} {error.problem}",
                    parameter=key.partition(".")[0],
                ) from None
        found += path
    return found


def _check_key(key: Any, parameters: Sequence[str]) -> None:
    if key is None:
        return
    if not (isinstance(key, str) and _KEY.fullmatch(key)):
        raise DefinitionError(
            f'key is a parameter, or a path inside of one such as "order.card", not {key!r}'
        )
    parameter = key.partition(".")[0]
    if parameter not in parameters:
        known = ", ".join(parameters) or "none"
        raise DefinitionError(f"key {key!r} names no parameter; there are: {known}")


def _several(option: str, given: Any, kind: Any) -> list[Any]:
    found = [] if given is None else list(given) if isinstance(given, list | tuple) else [given]
    for each in found:
        if not isinstance(each, kind):
            words = 'Limit(5) or Rate(100, per="1s")' if option == "limit" else 'Breaker("bank")'
            raise DefinitionError(f"{option} takes {words}, or a list of them, not {each!r}")
    return found


def _whole(what: str, value: Any, most: int = _MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise DefinitionError(f"{what} takes a whole number from 1 to {most:,}, not {value!r}")
    return value


def _ms(option: str, value: Duration) -> int:
    found = optional_ms(option, value)
    if found is None:
        raise DefinitionError(f'{option} is how long, such as "1m", not None')
    return found
