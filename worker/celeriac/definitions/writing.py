"""Writing a plan as a file, which is read as the same plan again.

Owns: how each part of a plan is said in YAML.  Refuses to know: how it is read (`compiling`), and
how YAML is spelled (`emitting`).

What a task says of itself, and what follows from the arguments of a step, is left out: the file is
for people.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celeriac.authoring import policy_of, shape_of, steps_used
from celeriac.definitions.emitting import Text, emitted
from celeriac.definitions.kinds import name_of
from celeriac.definitions.templates import Reference, written, written_path
from celeriac.definitions.values import EITHER, escaped
from celeriac.machine import (
    EVERY,
    Choice,
    Constant,
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
    from collections.abc import Callable, Iterable, Iterator

    from celeriac.authoring import Shape
    from celeriac.machine import Guard, Map, Node, Plan

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_ELEMENT = "item"
_YES, _NO = ("true",), ("false",)


def write_plan(
    plan: Plan, look: Callable[[str], Any] = lambda _: None, shape: Shape | None = None
) -> str:
    """A plan as YAML; *look* gives the task of a name, if there is one, *shape* the inputs."""
    return emitted(_Writer(plan, look).document(shape))


class _Writer:
    def __init__(self, plan: Plan, look: Callable[[str], Any]) -> None:
        self._plan, self._look = plan, look
        self._guards = {node.name: node.guards for node in plan.all_nodes}

    def document(self, shape: Shape | None) -> dict[str, Any]:
        plan = self._plan
        head: dict[str, Any] = {
            "saga": plan.saga,
            "version": None if plan.version == 1 else plan.version,
            "deadline": _duration(plan.deadline),
            "on_deadline": None if plan.on_deadline == "compensate" else plan.on_deadline,
            "compensation_order": (
                None if plan.compensation_order == "reverse" else plan.compensation_order
            ),
            "retention": _duration(plan.retention),
            "max_steps": plan.max_steps,
            "vars": {name: _variable(name, shape) for name in plan.params} or None,
        }
        signals = [node.wait.signal for node in plan.nodes if node.wait and node.wait.signal]
        head["signals"] = dict.fromkeys(signals, "any") or None
        head["steps"] = {node.name: self._step(node) for node in plan.nodes if not node.confirms}
        head["two_phase"] = self._two_phase() or None
        found = {key: each for key, each in head.items() if each is not None}
        if plan.result != Constant(value=None):
            found["result"] = self._value(plan.result)
        return found

    def _two_phase(self) -> list[Any]:
        """The steps of the block: those that are confirmed, and those between them."""
        names = [node.name for node in self._plan.nodes]
        first, confirms = next(iter(self._plan.confirmed_by.items()), ("", ""))
        if not first:
            return []
        around = set(self._guards[confirms])
        # A condition that does not hold for the confirms is asked inside of the block.
        inside = [guard.step for guard in self._guards[first] if guard not in around]
        begins = min([first, *inside], key=names.index)
        return self._from_to(begins, names[names.index(confirms) - 1])

    def _from_to(self, first: str, last: str) -> list[str]:
        """The names of nodes that were written one after the other."""
        names = [node.name for node in self._plan.nodes]
        return names[names.index(first) : names.index(last) + 1]

    def _step(self, node: Node, prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        if node.map:
            found |= self._mapped(node, node.map)
        elif node.wait:
            found |= self._wait(node)
        else:
            found |= self._task(node, prefix)
        if node.covers:
            found["undoes"] = self._from_to(node.covers[0], node.covers[-1])
        said = _local([each for each in node.after if each not in set(self._implied(node))], prefix)
        if said:
            found["depends_on"] = said
        if node.guards:
            found["when"] = self._when(node, prefix)
        if (choice := self._choice(node)) is not None:
            found["choice"] = {"labels": list(choice.labels), "default": choice.default}
        return found

    def _task(self, node: Node, prefix: str) -> dict[str, Any]:
        task = self._look(node.task)
        found: dict[str, Any] = {"task": node.task}
        found |= self._arguments(node, task, prefix)
        usual = policy_of(task) if task is not None else {}
        if node.covers:
            return found
        if node.timeout is not None and node.timeout != usual.get("timeout"):
            found["timeout"] = _duration(node.timeout)
        if node.give_up_after is not None and node.give_up_after != usual.get("give_up_after"):
            found["give_up_after"] = _duration(node.give_up_after)
        if node.retry != usual.get("retry", RetryRule()):
            found["retry"] = _retry(node.retry)
        found |= {
            name: getattr(node, name)
            for name in ("queue", "priority")
            if getattr(node, name) is not None
        }
        if node.undo is not None:
            found["compensate"] = node.undo.task
        return found

    def _arguments(self, node: Node, task: Any, prefix: str) -> dict[str, Any]:
        values = {key: self._value(each, prefix) for key, each in node.args.items()}
        args: list[Any] = []
        own = task is None or hasattr(task, "shape")
        if not own or any(map(_is_catcher, values)):  # by position or by name, as it was written
            by_place = _by_place(task, node)
            args = [values.pop(key) for key in by_place]
            args += next((values.pop(key) for key in list(values) if _is_catcher(key)), [])
        kwargs: dict[str, Any] = {}
        for key, value in values.items():
            kwargs |= value if key.startswith("**") else {key: value}
        return {key: each for key, each in (("args", args), ("kwargs", kwargs)) if each}

    def _mapped(self, node: Node, made: Map) -> dict[str, Any]:
        prefix = f"{node.name}{EVERY}."
        found: dict[str, Any] = {"foreach": self._value(made.items), "as": _ELEMENT}
        if made.concurrency != 10:  # noqa: PLR2004 -- the default
            found["concurrency"] = made.concurrency
        if node.task:
            (each,) = made.nodes
            return self._task(each, "") | found
        found["steps"] = {
            each.name.removeprefix(prefix): self._step(each, prefix) for each in made.nodes
        }
        each_of = next(self._results_of(node.name), Constant(value=None))
        if each_of != Constant(value=None):
            found["result"] = self._value(each_of, prefix)
        return found

    def _results_of(self, name: str) -> Iterator[Expression]:
        """What an element of a map gives, as far as anything uses that."""
        several = [self._plan.result]
        several += [each for node in self._plan.all_nodes for each in node.args.values()]
        several += [node.map.items for node in self._plan.nodes if node.map]
        for each in several:
            for found in _all(each):
                if isinstance(found, FromMap) and found.map == name:
                    yield found.each

    def _wait(self, node: Node) -> dict[str, Any]:
        wait = node.wait
        assert wait is not None
        if wait.until is not None:
            moment = datetime.fromtimestamp(wait.until / 1000, UTC)
            return {"sleep_until": Text(moment.isoformat().replace("+00:00", "Z"))}
        if wait.signal is None:
            return {"sleep": _duration(wait.timeout)}
        found: dict[str, Any] = {"signal": wait.signal}
        if wait.timeout is not None:
            found["timeout"] = _duration(wait.timeout)
        if wait.on_timeout == "continue":
            found["on_timeout"] = "continue"
        if wait.title:
            found["title"] = _constant(wait.title)
        if wait.summary:
            found["summary"] = _constant(wait.summary)
        if node.args:
            found["about"] = {key: self._value(each) for key, each in node.args.items()}
        if wait.default is not None:
            found["default"] = _constant(wait.default)
        return {"wait": found}

    # --- order and conditions ------------------------------------------------------------------

    def _implied(self, node: Node) -> Iterator[str]:
        """The steps that it waits for anyway."""
        for each in node.args.values():
            yield from steps_used(each)
        for guard in node.guards:
            yield guard.step
        if node.map:
            yield from steps_used(node.map.items)
            for inner in node.map.nodes:
                for value in inner.args.values():
                    yield from steps_used(value)

    def _when(self, node: Node, prefix: str) -> Any:
        last = node.guards[-1]
        around = self._guards.get(last.step, ())
        if (*around, last) == node.guards:
            return self._condition(last, prefix)
        return [self._condition(guard, prefix) for guard in node.guards]

    def _condition(self, guard: Guard, prefix: str) -> Any:
        of = str(Reference("steps", guard.step.removeprefix(prefix)))
        choice = self._node(guard.step).choice
        if choice is not None and choice.labels == (*_YES, *_NO) and not guard.but:
            return of if guard.among == _YES else {"of": of, "is": False}
        labels = [_quoted(each) for each in guard.among]
        return {"of": of, "is_not" if guard.but else "is": labels if labels[1:] else labels[0]}

    def _node(self, name: str) -> Node:
        return next(each for each in self._plan.all_nodes if each.name == name)

    def _choice(self, node: Node) -> Choice | None:
        """What a step may answer, unless that follows from the conditions that ask it."""
        if node.choice is None:
            return None
        labels: dict[str, None] = {}
        default = False
        for each in self._plan.all_nodes:
            for guard in each.guards:
                if guard.step == node.name:
                    labels |= dict.fromkeys(guard.among)
                    default = default or guard.but
        plain = node.choice.labels == (*_YES, *_NO) and labels and not default
        follows = Choice(labels=tuple(labels), default=default)
        return None if plain or follows == node.choice else node.choice

    # --- values --------------------------------------------------------------------------------

    def _value(self, value: Expression, prefix: str = "") -> Any:
        if isinstance(value, Constant):
            return _constant(value.value)
        if isinstance(value, ListOf):
            return [self._value(each, prefix) for each in value.items]
        if isinstance(value, DictOf):
            return {escaped(key): self._value(each, prefix) for key, each in value.entries.items()}
        if isinstance(value, FirstOf):
            found: dict[str, Any] = {EITHER: [self._value(each, prefix) for each in value.first]}
            return found | ({"$at": written_path(value.path)} if value.path else {})
        if isinstance(value, TextOf):
            parts = [
                each.value if isinstance(each, Constant) else _reference(each, prefix)
                for each in value.parts
            ]
            return written(parts)
        return str(_reference(value, prefix))


def _reference(value: Expression, prefix: str) -> Reference:
    match value:
        case FromInput():
            return Reference("vars", value.input, value.path)
        case FromItem():
            return Reference("vars", _ELEMENT, value.path)
        case FromStep():
            return Reference("steps", value.step.removeprefix(prefix), value.path)
        case FromMap():
            return Reference("steps", value.map, value.path)
    raise AssertionError(f"{value!r} is no reference")


def _all(value: Expression) -> Iterator[Expression]:
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
        yield from _all(each)


def _local(names: Iterable[str], prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in names]


def _is_catcher(key: str) -> bool:
    return key.startswith("*") and not key.startswith("**")


def _by_place(task: Any, node: Node) -> list[str]:
    """The parameters that are given by position."""
    shape = shape_of(task)
    found = []
    for key, each in shape.parameters.items():
        if each.kind.name not in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD"):
            break
        if key not in node.args or key in node.keywords:
            break
        found.append(key)
    return found


def _retry(rule: RetryRule) -> dict[str, Any]:
    usual = RetryRule()
    found: dict[str, Any] = {}
    for name in ("max_attempts", "backoff", "initial_delay", "max_delay", "jitter"):
        value = getattr(rule, name)
        if value != getattr(usual, name):
            found[name] = _duration(value) if name.endswith("_delay") else value
    for name in ("give_up_on", "retry_on"):
        if getattr(rule, name) != getattr(usual, name):
            found[name] = list(getattr(rule, name))
    return found


def _variable(name: str, shape: Shape | None) -> Any:
    parameter = shape.parameters.get(name) if shape else None
    if parameter is None or shape is None:
        return None
    found: dict[str, Any] = {"type": name_of(parameter.annotation)}
    if parameter.required:
        return found if found["type"] != "any" else None
    return {**found, "default": _constant(json.loads(shape.dump_argument(name, parameter.default)))}


def _duration(ms: int | None) -> Any:
    if ms is None:
        return None
    unit, size = next((unit, size) for unit, size in _UNITS if ms % size == 0)
    return Text(f"{ms // size}{unit}") if ms else 0


def _constant(value: Any) -> Any:
    """A value of JSON, in which no text can be taken for an expression."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [_constant(each) for each in value]
    if isinstance(value, dict):
        return {escaped(key): _constant(each) for key, each in value.items()}
    return value


def _quoted(label: str) -> str:
    return label
