"""From a file to a plan: the same plan that Python would have made.

Owns: saying each step of a file with the words of authoring, which checks it as if it had been
written in Python, and going on behind what is wrong.  Refuses to know: what may be wrong with a
step (`authoring`), which fields there are (`documents`), and where tasks are registered.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from celeriac.authoring import (
    UNSAID,
    Placeholder,
    Step,
    StepOptions,
    annotation_of,
    check_same,
    shape_of,
    source_of,
)
from celeriac.definitions.actions import Actions
from celeriac.definitions.arguments import inputs_of, seconds, takes_element_by_name
from celeriac.definitions.documents import ACTIONS, read_document, references
from celeriac.definitions.ordering import in_order, unknown_step
from celeriac.definitions.problems import Problems
from celeriac.definitions.trees import Scalar, read_tree
from celeriac.errors import DefinitionError
from celeriac.machine import EVERY, Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.authoring import Planned
    from celeriac.definitions.arguments import World
    from celeriac.definitions.documents import Document, StepText
    from celeriac.definitions.gates import GateText
    from celeriac.definitions.problems import Mark
    from celeriac.machine import Expression, Guard, Rule


def plan_file(content: bytes | str, file: str, world: World) -> Planned:
    """The plan of the saga that a file defines; raises FileInvalid with all that is wrong."""
    problems = Problems(file)
    tree = read_tree(content, problems)
    document = read_document(tree, problems) if tree is not None else None
    if document is None:
        problems.raise_any()
        raise AssertionError("what cannot be read was told")
    return _Compiler(document, problems, world).planned()


class _Compiler(Actions):
    """A file on its way to a plan."""

    def planned(self) -> Planned:
        """The plan; raises FileInvalid."""
        document = self._document
        shape = inputs_of(document.name, document.variables, self._problems, document.mark)
        try:
            self._world.check_name(document.name)
        except DefinitionError as error:
            self._problems.add(document.fields.mark_of("saga"), error.problem)
        self._check_two_phase(document)
        self._add_groups(document) if document.groups else self._add_all(document.steps)
        result = self._result(document)
        gates = tuple(
            Gate(name=each.name, rule=each.rule, key=self._key_of_run(each))
            for each in document.gates
        )
        self._check_numbers()
        self._problems.raise_any()
        head = {"saga": document.name, "params": tuple(document.variables), **document.head}
        head["gates"] = gates
        try:
            made = self._builder.close(head, shape, result)
        except DefinitionError as error:
            step = document.steps.get(error.step or "")
            self._tell(error, step.mark if step else document.mark)
            self._problems.raise_any()
            raise
        for task in made.steps.values():
            if isinstance(task, Step):
                task.planned_in.append(document.name)
        return made

    def _key_of_run(self, gate: GateText) -> Expression | None:
        """Whose value a gate of the whole saga counts apart: before its first step."""
        for reference, mark in references(gate.key) if gate.key else ():
            if reference.kind == "steps":
                text = f"{reference}: a run passes its own gates before its steps: key by vars"
                self._problems.add(mark, text)
                return None
        return self._key(gate)

    def _check_numbers(self) -> None:
        """Tell of gates of one name that have different numbers, here or in the code."""
        known: dict[str, Rule] = {}
        outer = self._document.steps.values()
        steps = (*outer, *(each for step in outer for each in step.inner.values()))
        for each in (*self._document.gates, *(gate for step in steps for gate in step.gates)):
            try:
                self._world.check_gate(each.name, each.rule)
                check_same(known, each.name, each.rule)
            except DefinitionError as error:
                self._problems.add(each.mark, error.problem)
            known.setdefault(each.name, each.rule)

    def _result(self, document: Document) -> Any:
        tree = document.result
        if tree is None:
            return None
        for reference, mark in references(tree):
            if reference.kind == "steps" and reference.name not in document.steps:
                self._problems.add(mark, unknown_step(reference.name, document.steps))
        found = self._values.of(tree, UNSAID, self)
        try:
            if isinstance(found, Placeholder) and found is not self._values.anything:
                self._builder.check_there(source_of(found), ())
        except DefinitionError as error:
            self._tell(error, tree.mark)
        # What is put together here has no type: nothing in a file says one.
        return found if isinstance(found, Placeholder) else self._values.as_json(found)

    # --- steps ---------------------------------------------------------------------------------

    def _add_groups(self, document: Document) -> None:
        """Add the groups, each of which may use what those before it gave."""
        behind = {step: name for name, group in document.groups.items() for step in group.steps}
        for name, group in document.groups.items():
            behind = {step: home for step, home in behind.items() if home != name}
            try:
                with self._builder.group(name):
                    self._add_all(group.steps, behind)
            except DefinitionError as error:  # also that it has no steps, if all of them are wrong
                self._tell(error, group.mark) if not len(self._problems) else None

    def _add_all(
        self, steps: Mapping[str, StepText], behind: Mapping[str, str] | None = None
    ) -> None:
        """Add steps; *behind* them are those of later groups."""
        two_phase = [each.text for each in self._document.two_phase if each.text in steps]
        together = [
            [step.name, *self._known_names(step.undoes, steps)]
            for step in steps.values()
            if step.undoes
        ]
        both = [*together, two_phase] if two_phase else together
        for unit in in_order(steps, both, self._problems, self._made, behind):
            with ExitStack() as scope:
                if unit[0].name in two_phase:
                    self._enter_cases(scope, self._in_common(unit))
                    self._enter(scope, self._builder.two_phase, unit[0].mark)
                for step in sorted(unit, key=lambda each: not each.undoes):
                    self._undone_by(scope, step) if step.undoes else self._add(step)

    def _enter(self, scope: ExitStack, open_: Callable[[], Any], mark: Mark) -> None:
        try:
            scope.enter_context(open_())
        except DefinitionError as error:
            self._tell(error, mark)

    def _check_two_phase(self, document: Document) -> None:
        """Tell of steps of two phases that are not there, or are in several groups."""
        names = self._known_names(document.two_phase, document.steps)
        homes = [name for name, each in document.groups.items() if set(names) & each.steps.keys()]
        if homes[1:]:
            text = f"two_phase is one block, and its steps are in groups {' and '.join(homes)}"
            self._problems.add(document.fields.mark_of("two_phase"), text)

    def _known_names(self, names: list[Scalar], steps: Mapping[str, StepText]) -> list[str]:
        for each in names:
            if each.text not in steps:
                self._problems.add(each.mark, f"there is no step {each.text!r}")
        return [each.text for each in names if each.text in steps]

    def _in_common(self, unit: list[StepText]) -> list[Guard]:
        """What all of these steps depend on, as far as it is decided before them."""
        names = {step.name for step in unit}
        asked = [condition.step for step in unit for condition in step.when]
        if names & set(asked):
            return []
        found = [self._guards(step) for step in unit]
        return [guard for guard in found[0] if all(guard in each for each in found)]

    def _enter_cases(self, scope: ExitStack, guards: list[Guard]) -> None:
        for guard in guards:
            if guard not in self._builder.blocks.guards:
                scope.enter_context(self._builder.blocks.case("when", guard))

    def _undone_by(self, scope: ExitStack, step: StepText) -> None:
        self._enter_cases(scope, self._guards(step))
        task = self._task(step)
        if task is None:
            return
        args, kwargs = self._arguments(step, shape_of(task))

        def call() -> Any:
            return self._builder.undone_by(task, args, kwargs, step.name)

        region = self._tried(step, call, task, args, kwargs)
        if region is not None:
            scope.enter_context(region)

    def _add(self, step: StepText) -> None:
        """Add a step, or what stands in for it."""
        name = self._prefix + step.name
        with ExitStack() as blocks:
            self._enter_cases(blocks, self._guards(step))
            made = self._made_of(step, name)
            if made is None:
                self._broken.add(name)
                made = self._builder.stand_in(name)
            self._made[name] = made
            if step.choice is not None and name not in self._broken:
                self._declare(step, name, annotation_of(made))

    def _declare(self, step: StepText, name: str, returns: Any) -> None:
        assert step.choice is not None
        try:
            self._builder.declare(name, returns, step.choice)
        except DefinitionError as error:
            self._tell(error, step.fields.mark_of("choice"))

    def _made_of(self, step: StepText, name: str) -> Placeholder | None:
        if step.work in ("wait", "sleep", "sleep_until"):
            return self._wait(step, name, self._options(step, None))
        others = {"child": self._child, **dict.fromkeys(ACTIONS, self._act)}
        make = self._map if "foreach" in step.fields else others.get(step.work)
        if make is not None:
            return make(step, name)
        if step.work != "task":
            return None
        task = self._task(step)
        if task is None:
            self._look_at_arguments(step)
            return None
        args, kwargs = self._arguments(step, shape_of(task))
        given = self._options(step, task)

        def call() -> Any:
            return self._builder.step(task, args, kwargs, given, name)

        found: Placeholder | None = self._tried(step, call, task, args, kwargs)
        return found

    def _act(self, step: StepText, name: str) -> Placeholder | None:
        task, kwargs, given = self._action(step, self._options(step, None))
        if task is None:
            return None

        def call() -> Any:
            return self._builder.step(task, (), kwargs, given, name)

        found: Placeholder | None = self._tried(step, call, task, [], kwargs)
        return found

    def _child(self, step: StepText, name: str) -> Placeholder | None:
        scalar = step.fields.of_kind("child", Scalar, "book_trip")
        try:
            saga = None if scalar is None else self._world.saga(scalar.text)
        except DefinitionError as error:
            self._problems.add(step.fields.mark_of("child"), error.problem)
            saga = None
        if saga is None:
            self._look_at_arguments(step)
            return None
        args, kwargs = self._arguments(step, saga.planned.shape)
        given = self._options(step, None)

        def call() -> Any:
            return self._builder.child(saga, tuple(args), kwargs, given, name)

        found: Placeholder | None = self._tried(step, call, saga.planned, args, kwargs)
        return found

    def _task(self, step: StepText) -> Any:
        scalar = step.fields.of_kind("task", Scalar, "shop.reserve")
        if scalar is None:
            return None
        try:
            return self._world.task(scalar.text)
        except DefinitionError as error:
            self._problems.add(scalar.mark, error.problem)
            return None

    def _options(self, step: StepText, task: Any) -> StepOptions:
        fields = step.fields
        after = [self._full(each.text) for each in step.depends_on]
        try:
            return StepOptions(
                after=[each for each in after if each in self._builder.steps],
                timeout=seconds(fields.duration("timeout")),
                retry=step.retry,
                queue=fields.read("queue", str, "orders"),
                priority=fields.whole("priority", least=0),
                give_up_after=seconds(fields.duration("give_up_after")),
                expires=seconds(fields.duration("expires")),
                undo=self._compensation(step, task),
            ).checked()
        except DefinitionError as error:
            self._tell(error, step.mark)
            return StepOptions()

    def _full(self, name: str) -> str:
        """The whole name of a step, which may be one of those that are mapped."""
        inner = self._prefix + name
        return inner if inner in self._builder.steps else name

    # --- conditions ----------------------------------------------------------------------------

    def _guards(self, step: StepText) -> list[Guard]:
        found: dict[Guard, None] = {}
        for each in step.when:
            name = self._prefix + each.step
            value = self._made.get(name)
            if value is None or name in self._broken:
                if self._prefix and each.step in self._made:
                    text = f"{each.step} is not asked for each element: ask it in steps:"
                    self._problems.add(each.mark, text)
                continue  # it is wrong itself, or is not there, which was told
            try:
                kind = annotation_of(value)
                guard = self._builder.answered(name, kind, each.labels, but=each.but)
            except DefinitionError as error:
                self._tell(error, each.mark)
                continue
            if not step.exactly_when:  # what the question itself depends on
                found.update(dict.fromkeys(self._builder.blocks.guards_of(name)))
            found[guard] = None
        return list(found)

    # --- maps ----------------------------------------------------------------------------------

    def _map(self, step: StepText, name: str) -> Placeholder | None:
        foreach = step.fields.tree("foreach")
        assert foreach is not None
        items = self._values.of(foreach, UNSAID, self)
        concurrency = step.fields.whole("concurrency") or 10
        task = self._task(step) if step.work == "task" else None
        given = self._options(step, task)
        if step.work in ACTIONS:
            with self._with_element(step, self._values.anything):
                task, _, given = self._action(step, given)
        if items is self._values.anything or (task is None and step.work != "steps"):
            self._look_at_arguments(step)
            return None
        args: list[Any] = []
        kwargs: dict[str, Any] = {}

        def give(item: Placeholder) -> tuple[tuple[Any, ...], dict[str, Any]]:
            with self._with_element(step, item):
                if task is None:
                    return (item,), {}
                if step.work in ACTIONS:
                    action, kwargs_of_each, _ = self._action(step, given)
                    task.gates = action.gates  # which may be for each element
                    return (), kwargs_of_each
                if not (args or kwargs):
                    found = self._arguments(step, shape_of(task))
                    args.extend(found[0])
                    kwargs.update(found[1])
            named = takes_element_by_name(step, shape_of(task))
            return (tuple(args) if named else (item, *args)), kwargs

        def fragment(flow: Any, item: Placeholder) -> Any:
            del flow
            with self._with_element(step, item):
                return self._fragment(step, name)

        def call() -> Any:
            each = fragment if task is None else task
            return self._builder.each(each, items, give, concurrency, given, None, name)

        if task is None:
            return self._once(step, call)
        made: Placeholder | None = self._tried(step, call, task, args, kwargs)
        return made

    def _with_element(self, step: StepText, item: Placeholder) -> ExitStack:
        """For the length of a `with`, the name of the element stands for *item*."""
        stack = ExitStack()
        before = self._element
        self._element = (step.element, item) if step.element else None
        stack.callback(setattr, self, "_element", before)
        return stack

    def _fragment(self, step: StepText, name: str) -> Any:
        """Add the steps of one element, and return what it gives."""
        before, self._prefix = self._prefix, f"{name}{EVERY}."
        try:
            for unit in in_order(step.inner, (), self._problems, self._made):
                for each in unit:
                    self._add(each)
            tree = step.fields.tree("result")
            return None if tree is None else self._values.of(tree, UNSAID, self)
        finally:
            self._prefix = before
