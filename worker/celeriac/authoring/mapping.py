"""Maps: a task, or a fragment of several steps, done once for each element of a list.

Owns: what can be mapped, the steps of one element, and the list that comes of them.  Refuses to
know: how steps are added (`building`), and how many elements there will be.

The steps of an element are planned once, in a flow of their own inside of the saga's: their names
hold `[]` where an instance has its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from celeriac.authoring.annotations import described, element_of, is_union, plain
from celeriac.authoring.blocks import Blocks
from celeriac.authoring.children import ChildAdder
from celeriac.authoring.conditions import in_common
from celeriac.authoring.placeholders import (
    Placeholder,
    annotation_of,
    express,
    is_json,
    steps_used,
)
from celeriac.authoring.signatures import Shape
from celeriac.authoring.step_checks import not_a_step
from celeriac.authoring.steps import Step, is_celery_task
from celeriac.errors import DefinitionError
from celeriac.machine import (
    EVERY,
    DictOf,
    Expression,
    FirstOf,
    FromItem,
    FromMap,
    FromStep,
    ListOf,
    Map,
    Node,
    TextOf,
    map_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac.authoring.options import StepOptions

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]

_MOST_AT_A_TIME = 1_000


class Mapper(ChildAdder):
    """A plan in the making, in which some steps are done for each element of a list."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._map = ""  # the map whose element is being planned
        self._items: Expression | None = None  # its list

    def map(
        self,
        task: Any,
        items: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        concurrency: Any,
        given: StepOptions,
        flow: Any,
    ) -> Placeholder:
        """Add a map, and return the placeholder of its list of results; raise DefinitionError.

        *flow* is what a fragment is given to add its steps with.
        """

        def give(item: Placeholder) -> Arguments:
            return (item, *args), kwargs

        return self.each(task, items, give, concurrency, given, flow)

    def each(
        self,
        task: Any,
        items: Any,
        give: Callable[[Placeholder], Arguments],
        concurrency: Any,
        given: StepOptions,
        flow: Any = None,
        exactly: str | None = None,
    ) -> Placeholder:
        """Add a map; *give* says what the task is given for an element, *exactly* its name."""
        looked = self.look(task)
        fragment = not (isinstance(looked, Step) or is_celery_task(looked))
        self._check_mapped(looked, fragment=fragment)
        name = exactly or self.name_of(task.__name__ if fragment else looked.name, given)
        items = self.as_used(items)
        try:
            element = self._element_of(items)
            self._check_said(concurrency, given, fragment=fragment)
        except DefinitionError as error:
            raise self.at(name, error.parameter, error) from None
        source = express(items, annotation_of(items), self, as_json=is_json(items))
        item = Placeholder(FromItem(item=name), element, self, as_json=is_json(items))
        with self._each(name, source) as nodes:
            args, kwargs = give(item)
            if fragment:
                result = self.as_used(task(flow, *args, **kwargs))
            else:
                # What belongs to the map as a whole is said of that.
                own = replace(given, name=None, after=())
                result = self.step(looked, args, kwargs, own, name + EVERY)
            each = self._result_of(name, result)
        self._check_nodes(name, nodes)
        uses = [
            step for node in nodes for each_ in node.args.values() for step in steps_used(each_)
        ]
        outside = [step for step in dict.fromkeys(uses) if map_of(step) != name]
        needs: dict[str, Expression] = {"items": source}
        needs |= {f"what its steps use of {step}": FromStep(step=step) for step in outside}
        self.nodes.append(
            Node(
                name=name,
                task="" if fragment else looked.name,
                after=self.placed(name, needs, given.after),
                guards=self.blocks.guards,
                map=Map(
                    items=source,
                    nodes=tuple(self.with_choice(node) for node in nodes),
                    concurrency=concurrency,
                ),
            )
        )
        self.steps[name] = None
        is_value = isinstance(result, Placeholder)
        kind: Any = annotation_of(result) if is_value else Any if result is not None else None
        as_json = is_value and is_json(result)
        return Placeholder(FromMap(map=name, each=each), list[kind], self, as_json=as_json)

    def _check_mapped(self, looked: Any, *, fragment: bool) -> None:
        if self._map:
            raise DefinitionError(
                f"flow.map inside of {self._map}, which is mapped itself: make one list of all in "
                "a step before, and map that once, or let each element have a run of its own with "
                "flow.child(saga, …)",
                saga=self.saga,
            )
        if self.blocks.within:
            raise DefinitionError(
                f"flow.map inside of flow.{self.blocks.within}: each element of a map is undone by "
                "itself; write the map behind the block, and give its step a compensation",
                saga=self.saga,
            )
        if not fragment:
            return
        function = getattr(looked, "__code__", None) is not None
        if not function:
            problem = (not_a_step(looked, self.saga) or "").replace("flow.step", "flow.map")
            raise DefinitionError(problem, saga=self.saga)
        first = next(iter(Shape.of(looked).parameters.values()), None)
        if first is None or first.name != "flow":
            raise DefinitionError(
                f"flow.map takes a step, a Celery task, or a plain function of a flow and an "
                f"element: decorate {looked.__name__} with @sagas.step, or write "
                f"def {looked.__name__}(flow: Flow, item, …)",
                saga=self.saga,
            )

    def _element_of(self, items: Any) -> Any:
        if not isinstance(items, Placeholder):
            raise DefinitionError(
                f"maps an input, the result of a step or a field of one, not {items!r}: of what is "
                "known here, write a flow.step for each",
                parameter="items",
            )
        kind = plain(annotation_of(items))
        kinds = get_args(kind) if is_union(kind) else (kind,)
        try:
            return in_common([element_of(each) for each in kinds])
        except DefinitionError:
            there = ", or write flow.either(…, []) if it may be None" if kinds[1:] else ""
            raise DefinitionError(
                f"{items!r} is {described(kind)}, and a map is over a list or a tuple: make one in "
                f"a step{there}",
                parameter="items",
            ) from None

    def _check_said(self, concurrency: Any, given: StepOptions, *, fragment: bool) -> None:
        whole = isinstance(concurrency, int) and not isinstance(concurrency, bool)
        if not whole or not 1 <= concurrency <= _MOST_AT_A_TIME:
            raise DefinitionError(
                f"concurrency is how many elements are at work at the same time, 1 to "
                f"{_MOST_AT_A_TIME}, not {concurrency!r}"
            )
        wrong = given.of_attempts
        if fragment and wrong:
            raise DefinitionError(
                f"{', '.join(wrong)} is said of a step: write flow.options({wrong[0]}=…) inside of "
                "the function that is mapped"
            )

    @contextmanager
    def _each(self, name: str, items: Expression) -> Iterator[list[Node]]:
        """Plan the steps of one element: yields the list that they are added to."""
        nodes: list[Node] = []
        before = self.nodes, self.blocks, self.prefix
        self.nodes, self.blocks, self.prefix = nodes, Blocks(self.blocks), f"{name}{EVERY}."
        self._map, self._items = name, items
        try:
            yield nodes
            try:
                self.blocks.close()
            except DefinitionError as error:
                raise self.at(name, None, error) from None
        finally:
            self.nodes, self.blocks, self.prefix = before
            self._map, self._items = "", None

    def _result_of(self, name: str, result: Any) -> Expression:
        kind = annotation_of(result) if isinstance(result, Placeholder) else Any
        as_json = isinstance(result, Placeholder) and is_json(result)
        try:
            made = express(result, None if result is None else kind, self, as_json=as_json)
            self.check_there(made, self.blocks.guards)
        except DefinitionError as error:
            raise DefinitionError(
                f"what its function returns {error.problem}", saga=self.saga, step=name
            ) from None
        return made

    def _check_nodes(self, name: str, nodes: list[Node]) -> None:
        problem = next(self._problems(nodes), None)
        if problem:
            raise DefinitionError(problem, saga=self.saga, step=name)

    def _problems(self, nodes: list[Node]) -> Iterator[str]:
        """What is wrong with the steps of an element, and what to write instead."""
        if not nodes:
            yield "maps a function without steps: call flow.step(task, …) in it"
        for node in nodes:
            if node.name in self._scopes:
                yield (
                    f"flow.undone_by inside of a function that is mapped ({node.name}): each step "
                    "of an element has a compensation of its own"
                )
            if node.confirms:
                yield (
                    f"flow.two_phase inside of a function that is mapped ({node.name}): a run "
                    "decides once to confirm; write the block in the saga itself"
                )
            if node.wait:
                yield (
                    f"waits inside of a function that is mapped ({node.name}): write the wait "
                    "before or behind the map"
                )
            if node.pivot:
                yield (
                    f"{node.name} is a pivot, and there would be one for each element: the pivot "
                    "is a step of the saga itself"
                )

    def as_written(self, value: Expression) -> Expression:
        """The value, with where its elements come from, for an existing Celery task."""
        if not self._map:
            return value
        return _with_list(value, self._map, self._items)

    def check_inside(self, value: FromStep | FromItem | FromMap) -> None:
        """Raise DefinitionError for what belongs to one element of a map, used outside of it."""
        if isinstance(value, FromMap):
            return
        of = value.item if isinstance(value, FromItem) else map_of(value.step)
        if of and of != self._map:
            what = "the element" if isinstance(value, FromItem) else f"the result of {value.step}"
            raise DefinitionError(
                f"{what} is there once for each element of {of}: return it from the function that "
                "is mapped, and use the list that flow.map returns"
            )


def _with_list(value: Expression, name: str, items: Expression | None) -> Expression:
    if isinstance(value, FromItem):
        return value.model_copy(update={"of": items}) if value.item == name else value
    change: Callable[[Expression], Expression] = lambda each: _with_list(each, name, items)  # noqa: E731
    if isinstance(value, FirstOf):
        return value.model_copy(update={"first": tuple(map(change, value.first))})
    if isinstance(value, ListOf):
        return ListOf(items=tuple(map(change, value.items)))
    if isinstance(value, TextOf):
        return TextOf(parts=tuple(map(change, value.parts)))
    if isinstance(value, DictOf):
        return DictOf(entries={key: change(each) for key, each in value.entries.items()})
    return value
