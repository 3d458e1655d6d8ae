"""What the steps of a file are given, and telling of each argument that is wrong.

Owns: where values come from, and going on behind a wrong argument.  Refuses to know: what kinds of
steps there are (`compiling`).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

from celeriac.authoring import (
    UNSAID,
    Mapper,
    Parameter,
    Placeholder,
    Planned,
    Shape,
    element_type,
    entry_type,
    shape_of,
)
from celeriac.definitions.kinds import planned_kind
from celeriac.definitions.trees import Listed, Mapped
from celeriac.definitions.values import Values
from celeriac.errors import DefinitionError, InputInvalid
from celeriac.machine import FromInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from celeriac.authoring import Compensation, Signal
    from celeriac.definitions.documents import Document, StepText
    from celeriac.definitions.problems import Mark, Problems
    from celeriac.definitions.templates import Reference
    from celeriac.definitions.variables import Variable
    from celeriac.machine import Rule

_TRIES = 50  # mistakes in the arguments of one step that are told


class World(Protocol):
    """What a file may name: the tasks, compensations and signals of an app."""

    @property
    def undos(self) -> Mapping[str, Compensation[..., Any]]:
        """The compensations of existing Celery tasks, by the task's name."""

    @property
    def signals(self) -> Mapping[str, Signal[Any]]:
        """The signals that its sagas wait for, by name."""

    def task(self, name: str) -> Any:
        """The step or Celery task of this name; DefinitionError if there is none."""

    def saga(self, name: str) -> Any:
        """A saga of the app, which has a plan; DefinitionError if there is none."""

    def action(self, kind: str, *, keyed: bool, undone: bool) -> Any:
        """A built-in action as a step, which can be sent again if it is *keyed*."""

    def check_name(self, saga: str) -> None:
        """Raise DefinitionError if the name of a saga is taken."""

    def check_gate(self, name: str, rule: Rule) -> None:
        """Raise DefinitionError if a gate of the app's code has other numbers."""

    def check_url(self, url: str) -> None:
        """Raise DefinitionError for a URL that no action may ask."""

    def compensation(self, task: Any, name: str) -> Compensation[..., Any] | None:
        """What undoes a task, by its name; None: its own already does.  DefinitionError."""


class Arguments:
    """A plan in the making, and what its steps are given."""

    def __init__(self, document: Document, problems: Problems, world: World) -> None:
        self._document, self._problems, self._world = document, problems, world
        self._builder = Mapper(document.name, world.undos, root="graph")
        anything = Placeholder(FromInput(input="?"), Any, self._builder, as_json=True)
        self._values = Values(self._builder, problems, anything)
        self._made: dict[str, Placeholder] = {}  # results, by the names of their steps
        self._inputs = self._placeholders(document.variables.values())
        self._broken = set[str]()  # steps that something is wrong with
        self._prefix = ""  # before the names of what is mapped
        self._element: tuple[str, Placeholder] | None = None

    def value(self, reference: Reference, mark: Mark) -> Placeholder | None:
        """What a reference stands for; None if there is no such thing, which is told."""
        if reference.kind == "secrets":
            self._problems.add(mark, f"{reference}: only actions (http, poll, shell) take secrets")
            return None
        if reference.kind == "steps":
            inner = self._made.get(self._prefix + reference.name)
            # That there is no such step was told when they were put in order.
            return self._made.get(reference.name) if inner is None else inner
        if self._element and self._element[0] == reference.name:
            return self._element[1]
        if reference.name not in self._inputs:
            known = ", ".join(self._inputs) or "none"
            self._problems.add(mark, f"there is no variable {reference.name!r}: vars has {known}")
            return None
        return self._inputs[reference.name]

    def _arguments(self, step: StepText, shape: Shape) -> tuple[list[Any], dict[str, Any]]:
        """What a step gives its task, by position and by name."""
        listed = step.fields.of_kind("args", Listed, "[${vars.order}]")
        mapped = step.fields.of_kind("kwargs", Mapped, "{order: ${vars.order}}")
        places = _places(step, shape)
        args = [
            self._values.of(tree, _said(shape, places[n] if n < len(places) else "*"), self)
            for n, tree in enumerate(listed.items if listed else ())
        ]
        kwargs = {
            key: self._values.of(tree, _said(shape, key), self)
            for key, tree in (mapped.entries.items() if mapped else ())
        }
        return args, kwargs

    def _look_at_arguments(self, step: StepText) -> None:
        """Tell what is wrong with the arguments of a task that is not there."""
        for name in ("args", "kwargs"):
            tree = step.fields.tree(name)
            if tree is not None:
                self._values.of(tree, Any, self)

    def _tried(
        self,
        step: StepText,
        call: Callable[[], Any],
        task: Any,
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> Any:
        """Add a step, and tell of each argument that is wrong; None if any is."""
        shape = task.shape if isinstance(task, Planned) else shape_of(task)
        places = _places(step, shape)
        for _ in range(_TRIES):
            try:
                return call()
            except DefinitionError as error:
                self._tell(error, self._mark_of(step, error.parameter, places))
                if not self._without(error.parameter, shape, places, args, kwargs):
                    return None
        return None

    def _without(
        self,
        parameter: str | None,
        shape: Shape,
        places: list[str],
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> bool:
        """Take a wrong argument out, so that the others are looked at; False if it is none."""
        anything = self._values.anything
        if parameter is None:
            return False
        if parameter in kwargs:
            if kwargs[parameter] is anything or parameter not in shape.parameters:
                return kwargs.pop(parameter) is not anything
            kwargs[parameter] = anything
            return True
        place = places.index(parameter) if parameter in places else len(args)
        if place < len(args):
            given = args[place] is not anything
            args[place] = anything
            return given
        if parameter in shape.parameters and not parameter.startswith("*"):
            kwargs[parameter] = anything  # it is missing
            return True
        return False

    def _mark_of(self, step: StepText, parameter: str | None, places: list[str]) -> Mark:
        """Where an argument stands in the file, or what is nearest to it."""
        args, kwargs = step.fields.tree("args"), step.fields.tree("kwargs")
        if parameter == "after":
            return step.fields.mark_of("depends_on")
        if isinstance(kwargs, Mapped) and parameter in kwargs.entries:
            return kwargs.marks[parameter]
        if isinstance(args, Listed) and parameter in places:
            place = places.index(parameter)
            if place < len(args.items):
                return args.items[place].mark
        return step.fields.mark_of(step.work) if step.work in step.fields else step.mark

    def _once(self, step: StepText, call: Callable[[], Placeholder]) -> Placeholder | None:
        try:
            return call()
        except DefinitionError as error:
            self._tell(error, step.mark)
            return None

    def _tell(self, error: DefinitionError, mark: Mark) -> None:
        known = DefinitionError(error.problem, step=error.step, parameter=error.parameter)
        self._problems.add(mark, str(known))

    def _placeholders(self, variables: Iterable[Variable]) -> dict[str, Placeholder]:
        return {
            each.name: Placeholder(
                FromInput(input=each.name),
                planned_kind(each.annotation),
                self._builder,
                as_json=False,
            )
            for each in variables
        }


# --- signatures --------------------------------------------------------------------------------


def inputs_of(
    name: str, variables: Mapping[str, Variable], problems: Problems, mark: Mark
) -> Shape:
    """The inputs of a saga, as if a function had asked for them."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = {
        each.name: Parameter(
            each.name, each.annotation, each.annotation, each.required, kind, each.default
        )
        for each in variables.values()
    }
    shape = Shape(name, None, parameters, Any, UNSAID)
    for each in variables.values():
        try:
            if not each.required:
                shape.dump_argument(each.name, each.default)
        except InputInvalid as error:
            problems.add(mark, f"vars: the default of {each.name}: {error}")
    return shape


def _positional(shape: Shape) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [key for key, each in shape.parameters.items() if each.kind in kinds]


def takes_element_by_name(step: StepText, shape: Shape) -> bool:
    """True if a step that is mapped says itself where its element goes."""
    kwargs = step.fields.tree("kwargs")
    first = next(iter(_positional(shape)), None)
    return isinstance(kwargs, Mapped) and first in kwargs.entries


def _places(step: StepText, shape: Shape) -> list[str]:
    """The parameters that `args` of a step are for."""
    mapped = "foreach" in step.fields and not takes_element_by_name(step, shape)
    return _positional(shape)[1 if mapped else 0 :]


def _said(shape: Shape, key: str) -> Any:
    """The type of the argument under a key; that of one of many behind the others for `*`."""
    if key in shape.parameters:
        return shape.parameters[key].said
    stars = "*" if key == "*" else "**"
    each = next((each for name, each in shape.parameters.items() if name.startswith(stars)), None)
    if each is None or each.said is UNSAID:
        return UNSAID
    return element_type(each.said, 0) if stars == "*" else entry_type(each.said, key)


def seconds(ms: int | None) -> float | None:
    """Milliseconds as seconds."""
    return None if ms is None else ms / 1000
