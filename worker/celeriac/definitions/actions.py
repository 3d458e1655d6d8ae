"""Steps of a file that are built-in actions: `http`, `poll`, `shell`.

Owns: what may be said of one, and where its texts are put together: those with a secret, with what
the step itself gave, or in a URL, only where they are used.  Refuses to know: what an action does.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.authoring import UNSAID, Placeholder, StepOptions, entry_type, source_of
from celeriac.authoring import element_type as type_of_element
from celeriac.definitions.documents import ACTIONS
from celeriac.definitions.fields import Fields
from celeriac.definitions.templates import Reference, parts_of
from celeriac.definitions.trees import Listed, Mapped, Scalar
from celeriac.definitions.values import inside, plain_keys
from celeriac.definitions.waits import Waits
from celeriac.errors import DefinitionError

if TYPE_CHECKING:
    from celeriac.definitions.documents import StepText
    from celeriac.definitions.gates import GateText
    from celeriac.definitions.trees import Tree
    from celeriac.machine import Expression

_LATER = 5_000  # ms that an attempt gets behind the time of the action, to tell how it ended
_USUAL = {"http": 30_000, "poll": 30_000, "shell": 60_000}  # ms
_LONGEST = 3_600_000  # ms
_HOST = re.compile(r"[^/?#]*//[^/?#]*[/?#]")  # and something behind it
_SAFE = ("GET", "HEAD")
_NOT_SAID = ("seconds",)  # fields of a request that the step says


class Actions(Waits):
    """A plan in the making, in which some steps are built-in actions."""

    def _action(
        self, step: StepText, options: StepOptions
    ) -> tuple[Any, dict[str, Any], StepOptions]:
        """The action of a step, what it is given, and its options."""
        fields, kind = step.fields, step.work
        asked = self._request(step, kind, fields.tree(kind))
        if asked is None:
            return None, {}, options
        if {"json", "text"} <= asked.entries.keys():
            self._problems.add(asked.marks["text"], "a request has json or text, and not both")
        method = asked.entries.get("method")
        safe = kind == "poll" or (
            kind == "http" and (not isinstance(method, Scalar) or method.text in _SAFE)
        )
        effect = fields.one_of("effect", ("none", "keyed"), "none") if kind == "http" else "none"
        if "effect" in fields and kind != "http":
            self._problems.add(fields.mark_of("effect"), f"the effect of {kind} is not for a file")
        undo = self._undo_request(step, kind)
        try:
            task = self._world.action(
                kind, keyed=safe or effect == "keyed", undone=undo is not None
            )
        except DefinitionError as error:
            self._problems.add(fields.mark_of(kind), error.problem)
            return None, {}, options
        task.gates = tuple((each.name, each.rule, self._key(each)) for each in step.gates)
        if kind == "poll" and not (options.give_up_after or self._document.head["deadline"]):
            text = f"{step.name} may ask for ever: say give_up_after, or a deadline of the saga"
            self._problems.add(fields.mark_of(kind), text)
        length = fields.duration("timeout") or _USUAL[kind]
        if length > _LONGEST:
            text = f"an attempt at {kind} takes {_LONGEST // 60_000} minutes at most"
            self._problems.add(fields.mark_of("timeout"), text)
            length = _LONGEST
        kwargs: dict[str, Any] = {}
        for name, tree in (("request", asked), ("undo", undo)):
            if tree is not None:
                self._fill(kwargs, step, task, name, tree, length)
        seconds = (length + _LATER) / 1000
        undone_by = self._compensation(step, task)
        return task, kwargs, replace(options, timeout=seconds, undo=undone_by)

    def _key(self, gate: GateText) -> Expression | None:
        """Whose value a gate counts apart."""
        if gate.key is None:
            return None
        found = self._values.of(gate.key, UNSAID, self)
        if isinstance(found, Placeholder) and found is not self._values.anything:
            return source_of(found)
        if not isinstance(found, Placeholder):
            text = "key is a value of the run, such as ${vars.card}"
            self._problems.add(gate.key.mark, text)
        return None

    def _compensation(self, step: StepText, task: Any) -> Any:
        tree = step.fields.tree("compensate")
        if task is None or (isinstance(tree, Mapped) and step.work in ACTIONS):
            return None  # it is an action itself
        scalar = step.fields.of_kind("compensate", Scalar, "shop.release")
        if scalar is None:
            return None
        try:
            return self._world.compensation(task, scalar.text)
        except DefinitionError as error:
            self._problems.add(scalar.mark, str(error))
            return None

    def _request(self, step: StepText, kind: str, tree: Tree | None) -> Mapped | None:
        """What an action is asked for, as a mapping."""
        if kind == "shell" and isinstance(tree, Listed):
            return Mapped(tree.mark, {"command": tree}, {"command": tree.mark})
        if not isinstance(tree, Mapped):
            example = "[git, push]" if kind == "shell" else "{url: https://example.com}"
            self._problems.add(step.fields.mark_of(kind), f"{kind} is such as {example}")
            return None
        return tree

    def _undo_request(self, step: StepText, kind: str) -> Mapped | None:
        tree = step.fields.tree("compensate")
        if not isinstance(tree, Mapped):
            return None
        if kind == "poll" or set(tree.entries) != {kind}:
            text = "nothing undoes a question" if kind == "poll" else f"it is {{{kind}: …}}"
            self._problems.add(tree.mark, f"the compensation of {kind} in a file: {text}")
            return None
        return self._request(step, kind, tree.entries[kind])

    def _fill(
        self,
        kwargs: dict[str, Any],
        step: StepText,
        task: Any,
        name: str,
        tree: Mapped,
        length: int,
    ) -> None:
        model = task.shape.parameters["request"].annotation
        known = {each.alias or key: each for key, each in model.model_fields.items()}
        Fields(tree, self._problems, [key for key in known if key not in _NOT_SAID], step.work)
        for key, each in known.items():
            if each.is_required() and key not in tree.entries:
                self._problems.add(tree.mark, f"{step.work} has no {key}")
        walk = _Walk(self, step.name if name == "undo" else None)
        found = {
            key: walk.of(_as_list(key, each), entry_type(model, key), (key,))
            for key, each in tree.entries.items()
            if key in known
        }
        kwargs[name] = {**found, "seconds": length / 1000}
        if walk.holes:
            kwargs["holes" if name == "request" else "undo_holes"] = walk.holes


def _as_list(key: str, tree: Tree) -> Tree:
    """One value where a list of them may stand."""
    single = key in ("until", "fail") and not isinstance(tree, Listed)
    return Listed(tree.mark, [tree]) if single else tree


class _Walk:
    """Goes through what an action is asked for, and notes which texts are put together later."""

    def __init__(self, plan: Actions, own: str | None) -> None:
        """*own* is the step whose result there will be, in its compensation."""
        self._plan, self._own = plan, own
        self.holes: list[dict[str, Any]] = []

    def of(self, tree: Tree, annotation: Any, at: tuple[str | int, ...]) -> Any:
        """The value of a tree; texts that are put together later are left empty."""
        if isinstance(tree, Listed):
            return [
                self.of(each, type_of_element(annotation, n), (*at, n))
                for n, each in enumerate(tree.items)
            ]
        if isinstance(tree, Mapped):
            return {
                key: self.of(each, entry_type(annotation, key), (*at, key))
                for key, each in plain_keys(tree, self._plan._problems).items()  # noqa: SLF001
            }
        try:
            return self._text(tree, annotation, at)
        except (DefinitionError, ValueError) as error:
            self._plan._problems.add(tree.mark, getattr(error, "problem", str(error)))  # noqa: SLF001
            return ""

    def _text(self, scalar: Scalar, annotation: Any, at: tuple[str | int, ...]) -> Any:
        parts = parts_of(scalar.text)
        if at == ("url",):
            self._check_url(parts)
        if not self._comes_later(parts, at):
            return self._plan._values.of(scalar, annotation, self._plan)  # noqa: SLF001
        if at[0] in ("command", "cwd") and any(self._is(each, "secrets") for each in parts):
            text = "arguments and the folder of a command can be seen: put secrets into env"
            raise DefinitionError(text)
        self.holes.append({"at": list(at), "parts": [self._part(each, scalar) for each in parts]})
        return None if len(parts) == 1 and at[0] == "json" else ""

    def _check_url(self, parts: list[Any]) -> None:
        """Raise DefinitionError for a URL that is refused, as far as the file says where it is."""
        begins = parts[0] if parts else ""
        if isinstance(begins, str) and (not parts[1:] or _HOST.match(begins)):
            self._plan._world.check_url(begins)  # noqa: SLF001

    def _comes_later(self, parts: list[Any], at: tuple[str | int, ...]) -> bool:
        in_url = at == ("url",) and len(parts) > 1
        return in_url or any(self._is(each, "secrets") or self._is_own(each) for each in parts)

    def _is(self, part: Any, kind: str) -> bool:
        return isinstance(part, Reference) and part.kind == kind

    def _is_own(self, part: Any) -> bool:
        return self._is(part, "steps") and part.name == self._own

    def _part(self, part: str | Reference, scalar: Scalar) -> dict[str, Any]:
        if isinstance(part, str):
            return {"kind": "text", "value": part}
        if part.kind == "secrets":
            return {"kind": "secret", "value": part.name}
        if self._is_own(part):
            return {"kind": "result", "value": list(part.path)}
        found: Placeholder | None = self._plan.value(part, scalar.mark)
        anything = self._plan._values.anything  # noqa: SLF001
        return {"kind": "value", "value": anything if found is None else inside(found, part.path)}
