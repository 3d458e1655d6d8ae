"""How the small parts of a plan are spelled in a file: expressions, durations, constants, policies.

Owns: one spelling for each.  Refuses to know: where in a file they stand (`writing`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from celeriac.definitions.emitting import Text
from celeriac.definitions.kinds import name_of
from celeriac.definitions.templates import Reference, written
from celeriac.definitions.values import escaped
from celeriac.machine import (
    EVERY,
    DictOf,
    Expression,
    FirstOf,
    FromInput,
    FromItem,
    FromMap,
    FromStep,
    ListOf,
    RetryRule,
    TextOf,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from celeriac.authoring import Shape
    from celeriac.machine import Gate, Rule

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
ELEMENT = "item"


def filler_text(part: Mapping[str, Any], step: str) -> str:
    """A part of a text that is put together later."""
    kind, value = part["kind"], part["value"]
    if kind == "secret":
        return str(Reference("secrets", value))
    if kind == "result":
        return str(Reference("steps", step.rpartition(f"{EVERY}.")[2], tuple(value)))
    return str(value)  # it is written as it is read: an expression, or a text with `$${`


def reference_to(value: Expression, prefix: str) -> Reference:
    """How a place that a value comes from is called."""
    match value:
        case FromInput():
            return Reference("vars", value.input, value.path)
        case FromItem():
            return Reference("vars", ELEMENT, value.path)
        case FromStep():
            return Reference("steps", value.step.removeprefix(prefix), value.path)
        case FromMap():
            return Reference("steps", value.map, value.path)
    raise AssertionError(f"{value!r} is no reference")


def all_inside(value: Expression) -> Iterator[Expression]:
    """An expression, and all inside of it."""
    yield value
    inside: Iterable[Expression] = ()
    if isinstance(value, ListOf):
        inside = value.items
    elif isinstance(value, DictOf):
        inside = value.entries.values()
    elif isinstance(value, FirstOf):
        inside = value.first
    elif isinstance(value, TextOf):
        inside = value.parts
    for each in inside:
        yield from all_inside(each)


def spelled_retry(rule: RetryRule) -> dict[str, Any]:
    """A policy, as far as it is another than the usual one."""
    usual = RetryRule()
    found: dict[str, Any] = {}
    for name in ("max_attempts", "backoff", "initial_delay", "max_delay", "jitter"):
        value = getattr(rule, name)
        if value != getattr(usual, name):
            found[name] = spelled_duration(value) if name.endswith("_delay") else value
    for name in ("give_up_on", "retry_on"):
        if getattr(rule, name) != getattr(usual, name):
            found[name] = list(getattr(rule, name))
    return found


def spelled_variable(name: str, shape: Shape | None) -> Any:
    """A variable: its type, and its default."""
    parameter = shape.parameters.get(name) if shape else None
    if parameter is None or shape is None:
        return None
    found: dict[str, Any] = {"type": name_of(parameter.annotation)}
    if parameter.required:
        return found if found["type"] != "any" else None
    return {
        **found,
        "default": spelled_constant(json.loads(shape.dump_argument(name, parameter.default))),
    }


def spelled_duration(ms: int | None) -> Any:
    """Milliseconds in the largest unit in which they are whole."""
    if ms is None:
        return None
    unit, size = next((unit, size) for unit, size in _UNITS if ms % size == 0)
    return Text(f"{ms // size}{unit}") if ms else 0


def spelled_constant(value: Any) -> Any:
    """A value of JSON, in which no text can be taken for an expression."""
    if isinstance(value, str):
        return written([value])
    if isinstance(value, list):
        return [spelled_constant(each) for each in value]
    if isinstance(value, dict):
        return {escaped(key): spelled_constant(each) for key, each in value.items()}
    return value


def spelled_gates(
    gates: Sequence[Gate], owner: str, spelled: Callable[[Expression], Any]
) -> dict[str, Any]:
    """The fields that say these gates; *spelled* writes a key."""
    found: dict[str, list[dict[str, Any]]] = {"limit": [], "breaker": []}
    for gate in gates:
        kind = "breaker" if gate.rule.kind == "breaker" else "limit"
        said = dict(_numbers(gate.rule))
        if gate.rule.kind == "breaker" or gate.name != owner:
            said["name"] = gate.name
        if gate.key is not None:
            said["key"] = spelled(gate.key)
        found[kind].append(said)
    return {kind: each if each[1:] else each[0] for kind, each in found.items() if each}


def _numbers(rule: Rule) -> Iterator[tuple[str, Any]]:
    yield ("failures" if rule.kind == "breaker" else "most"), rule.most
    if rule.kind == "rate":
        yield "per", spelled_duration(rule.per)
    elif rule.kind == "breaker":
        yield "within", spelled_duration(rule.per)
        yield "open_for", spelled_duration(rule.open_for)
