"""Writing a plan as a file, which is read as the same plan again.

Owns: how each part of a plan is said in YAML.  Refuses to know: how it is read (`compiling`), and
how YAML is spelled (`emitting`).

What a task says of itself, and what follows from the arguments of a step, is left out: the file is
for people.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celeriac.authoring import policy_of, shape_of, steps_used
from celeriac.definitions.documents import ACTIONS
from celeriac.definitions.emitting import Text, emitted
from celeriac.definitions.spelling import (
    ELEMENT,
    all_inside,
    filler_text,
    reference_to,
    spelled_constant,
    spelled_duration,
    spelled_gates,
    spelled_retry,
    spelled_variable,
)
from celeriac.definitions.templates import Reference, written, written_path
from celeriac.definitions.values import EITHER, escaped
from celeriac.machine import (
    EVERY,
    UNTIL,
    Choice,
    Constant,
    DictOf,
    Expression,
    FirstOf,
    FromMap,
    ListOf,
    RetryRule,
    TextOf,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from celeriac.authoring import Shape
    from celeriac.machine import Guard, Map, Node, Plan

OURS = "celeriac."
ACTION_TASKS = tuple(OURS + kind for kind in ACTIONS)
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
            "deadline": spelled_duration(plan.deadline),
            "on_deadline": None if plan.on_deadline == "compensate" else plan.on_deadline,
            "compensation_order": (
                None if plan.compensation_order == "reverse" else plan.compensation_order
            ),
            "retention": spelled_duration(plan.retention),
            "max_steps": plan.max_steps,
            "retries": plan.retries or None,
            "retry_delay": (
                None
                if plan.retry_delay == type(plan).model_fields["retry_delay"].default
                else spelled_duration(plan.retry_delay)
            ),
            **spelled_gates(plan.gates, plan.saga, self._value),
            "vars": {name: spelled_variable(name, shape) for name in plan.params} or None,
        }
        signals = [node.wait.signal for node in plan.nodes if node.wait and node.wait.signal]
        head["signals"] = dict.fromkeys(signals, "any") or None
        steps = [node for node in plan.nodes if not node.confirms]
        if plan.groups:
            head["groups"] = {
                group: {node.name: self._step(node) for node in steps if node.group == group}
                for group in plan.groups
            }
        else:
            head["steps"] = {node.name: self._step(node) for node in steps}
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
        elif node.child:
            found |= self._child(node, node.child.plan.saga, prefix)
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
        if node.task in ACTION_TASKS:
            return self._action(node, node.task.removeprefix(OURS), prefix)
        found |= self._arguments(node, task, prefix)
        usual = policy_of(task) if task is not None else {}
        if node.covers:
            return found
        if node.timeout is not None and node.timeout != usual.get("timeout"):
            found["timeout"] = spelled_duration(node.timeout)
        found |= self._policy(node, usual)
        if node.undo is not None:
            found["compensate"] = node.undo.task
        return found

    def _child(self, node: Node, saga: str, prefix: str) -> dict[str, Any]:
        kwargs = {key: self._value(each, prefix) for key, each in node.args.items()}
        found = {"child": saga} | ({"kwargs": kwargs} if kwargs else {})
        if node.timeout is not None:
            found["timeout"] = spelled_duration(node.timeout)
        return found | self._policy(node, {"retry": RetryRule(max_attempts=1)})

    def _policy(self, node: Node, usual: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in ("give_up_after", "expires"):
            limit = getattr(node, name)
            if limit is not None and limit != usual.get(name):
                found[name] = spelled_duration(limit)
        if node.retry != usual.get("retry", RetryRule()):
            found["retry"] = spelled_retry(node.retry)
        found |= {
            name: getattr(node, name)
            for name in ("queue", "priority")
            if getattr(node, name) is not None
        }
        return found

    def _action(self, node: Node, kind: str, prefix: str) -> dict[str, Any]:
        """A built-in action, with the texts that are put together later."""
        asked = self._asked(node, "request", "holes", prefix)
        seconds = asked.pop("seconds")
        found: dict[str, Any] = {kind: asked, "timeout": spelled_duration(round(seconds * 1000))}
        if kind == "http" and asked.get("method", "GET") not in ("GET", "HEAD"):
            found |= {"effect": "keyed"} if node.effect == "keyed" else {}
        owner = f"{self._plan.saga}.{node.name.removeprefix(prefix).removesuffix(EVERY)}"
        found |= spelled_gates(node.gates, owner, lambda key: self._value(key, prefix))
        once = {"max_attempts": 1} if kind == "shell" else {}
        usual = RetryRule(after_loss=node.effect == "keyed", **once)
        found |= self._policy(node, {"retry": usual})
        if node.undo is not None and node.undo.task == f"{OURS}{kind}.undo":
            undo = self._asked(node, "undo", "undo_holes", prefix)
            del undo["seconds"]
            found["compensate"] = {kind: undo}
        elif node.undo is not None:
            found["compensate"] = node.undo.task
        return found

    def _asked(self, node: Node, name: str, holes: str, prefix: str) -> dict[str, Any]:
        """What an action is asked for, as it stood in the file."""
        found: dict[str, Any] = self._value(node.args[name], prefix)
        model = self._look(node.task)
        if model is not None:
            fields = model.shape.parameters["request"].annotation.model_fields
            usual = {each.alias or key: each.get_default(call_default_factory=True)
                     for key, each in fields.items()
                     if not each.is_required() and key != "seconds"}  # fmt: skip
            found = {
                key: each for key, each in found.items() if key not in usual or each != usual[key]
            }
        later = node.args.get(holes)
        for hole in self._value(later, prefix) if later is not None else ():
            place: Any = found
            *outer, last = [escaped(key) if isinstance(key, str) else key for key in hole["at"]]
            for key in outer:
                place = place[key]
            place[last] = "".join(filler_text(each, node.name) for each in hole["parts"])
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
        found: dict[str, Any] = {"foreach": self._value(made.items), "as": ELEMENT}
        if made.concurrency != 10:  # noqa: PLR2004 -- the default
            found["concurrency"] = made.concurrency
        if node.task:
            (each,) = made.nodes
            work = self._task(each, "")
            args = work.pop("args", [])[1:]  # given by place, the element comes first by itself
            return work | ({"args": args} if args else {}) | found
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
            for found in all_inside(each):
                if isinstance(found, FromMap) and found.map == name:
                    yield found.each

    def _wait(self, node: Node) -> dict[str, Any]:
        wait = node.wait
        assert wait is not None
        if wait.until is not None:
            moment = datetime.fromtimestamp(wait.until / 1000, UTC)
            return {"sleep_until": Text(moment.isoformat().replace("+00:00", "Z"))}
        if wait.reads:
            return {"sleep_until": self._value(node.args[UNTIL])}
        if wait.signal is None:
            return {"sleep": spelled_duration(wait.timeout)}
        found: dict[str, Any] = {"signal": wait.signal}
        if wait.timeout is not None:
            found["timeout"] = spelled_duration(wait.timeout)
        if wait.on_timeout == "continue":
            found["on_timeout"] = "continue"
        said = {name: getattr(wait, name) for name in ("title", "summary", "not_by_starter")}
        found |= {name: spelled_constant(each) for name, each in said.items() if each}
        if node.args:
            found["about"] = {key: self._value(each) for key, each in node.args.items()}
        if wait.default is not None:
            found["default"] = spelled_constant(wait.default)
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
            return spelled_constant(value.value)
        if isinstance(value, ListOf):
            return [self._value(each, prefix) for each in value.items]
        if isinstance(value, DictOf):
            return {escaped(key): self._value(each, prefix) for key, each in value.entries.items()}
        if isinstance(value, FirstOf):
            found: dict[str, Any] = {EITHER: [self._value(each, prefix) for each in value.first]}
            return found | ({"$at": written_path(value.path)} if value.path else {})
        if isinstance(value, TextOf):
            parts = [
                each.value if isinstance(each, Constant) else reference_to(each, prefix)
                for each in value.parts
            ]
            return written(parts)
        return str(reference_to(value, prefix))


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


def _quoted(label: str) -> str:
    return label
