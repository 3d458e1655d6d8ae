"""Choosing: predicates, routers and their cases, and values that leave a condition.

Owns: the checks of all of them.  Refuses to know: how steps are added (`building`), and which guard
implies which (`conditions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.authoring.annotations import described, plain
from celeriac.authoring.conditions import NO, YES, in_common, is_list, kind_of, label, labels_of
from celeriac.authoring.placeholders import (
    Placeholder,
    annotation_of,
    express,
    is_json,
    source_of,
    steps_used,
)
from celeriac.authoring.scopes import Scoper
from celeriac.authoring.steps import Step, check_plain, is_celery_task
from celeriac.errors import DefinitionError
from celeriac.machine import Choice, Expression, FirstOf, Guard, excludes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from celeriac.authoring.blocks import Region
    from celeriac.authoring.planned import Planned
    from celeriac.authoring.signatures import Shape


class Chooser(Scoper):
    """A plan in the making, in which some steps depend on the answers of others."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._routed: dict[str, tuple[str, ...] | None] = {}  # routers, and what they may answer
        self._answered_no = set[str]()  # predicates that have their otherwise

    def when(self, predicate: Any, args: Any, kwargs: Mapping[str, Any]) -> Region:
        """Add a predicate; return the block of what is done if it says yes."""
        name = self._decider("when", predicate, args, kwargs, _check_bool)
        self.choices[name] = Choice(labels=(YES, NO))
        return self.blocks.case("flow.when", Guard(step=name, among=(YES,)))

    def otherwise(self) -> Region:
        """Return the block of what is done if the predicate just before says no."""
        name = self.blocks.just_ended
        if name is None or name in self._routed or name in self._answered_no:
            raise DefinitionError(
                "flow.otherwise() belongs directly behind the block of its flow.when(…)",
                saga=self.saga,
            )
        self._answered_no.add(name)
        return self.blocks.case("flow.otherwise", Guard(step=name, among=(NO,)))

    def choose(self, router: Any, args: Any, kwargs: Mapping[str, Any]) -> str:
        """Add a router, and return its name."""
        labels: list[tuple[str, ...] | None] = []
        name = self._decider(
            "choose", router, args, kwargs, lambda returns: labels.append(labels_of(returns))
        )
        self._routed[name] = labels[0]
        self.choices[name] = Choice(labels=())
        return name

    def case(self, router: str, given: Iterable[Any]) -> Region:
        """Return the block of what is done if a router answers one of these labels."""
        try:
            choice, labels = self.choices[router], tuple(label(each) for each in given)
            self.check_asked(router)
            self._check_case(router, choice, labels)
        except DefinitionError as error:
            raise self.at(router, None, error) from None
        self.choices[router] = choice.model_copy(update={"labels": (*choice.labels, *labels)})
        return self._reached(f"{router}.case", Guard(step=router, among=labels))

    def _check_case(self, router: str, choice: Choice, labels: tuple[str, ...]) -> None:
        possible = self._routed[router]
        if not labels:
            raise DefinitionError('a case is for one label or more: case("small")')
        if choice.default:
            raise DefinitionError("has a default already, which comes last")
        for each in labels:
            if each in choice.labels:
                raise DefinitionError(f"has two cases for {each!r}")
            if possible is not None and each not in possible:
                raise DefinitionError(
                    f"never answers {each!r}, only {', '.join(map(repr, possible))}"
                )

    def default(self, router: str) -> Region:
        """Return the block of what is done if a router answers what there is no case for."""
        choice, possible = self.choices[router], self._routed[router]
        problem = None
        if choice.default:
            problem = "has two defaults"
        elif possible is not None and not set(possible) - set(choice.labels):
            problem = "has a case for each answer, so there is nothing left for a default"
        if problem:
            raise DefinitionError(problem, saga=self.saga, step=router)
        self.check_asked(router)
        self.choices[router] = choice.model_copy(update={"default": True})
        guard = Guard(step=router, among=choice.labels, but=True)
        return self._reached(f"{router}.default", guard)

    def _reached(self, word: str, guard: Guard) -> Region:
        """Return a case as a block; DefinitionError inside of another case of the same answer."""
        if excludes((guard,), self.blocks.guards):
            raise DefinitionError(
                "has a case inside of another case of it, which is never done: write one behind "
                "the other",
                saga=self.saga,
                step=guard.step,
            )
        return self.blocks.case(word, guard)

    def _decider(
        self,
        word: str,
        function: Any,
        args: Any,
        kwargs: Mapping[str, Any],
        check: Callable[[Any], None],
    ) -> str:
        """Add the step of a predicate or a router, which must have nothing to undo."""
        made = self.step(self._asked(word, function), args, kwargs)
        (name,) = steps_used(source_of(made))
        try:
            check(annotation_of(made))
        except DefinitionError as error:
            raise self.at(name, None, error) from None
        self._check_only_looks(name)
        return name

    def _check_only_looks(self, name: str) -> None:
        """Raise DefinitionError for a step that does more than to answer."""
        node = next(each for each in self.nodes if each.name == name)
        if node.undo is not None or node.pivot:
            raise DefinitionError(
                "is what a condition asks, so it only looks: it has nothing to undo, and is no "
                "pivot",
                saga=self.saga,
                step=name,
            )

    def _asked(self, word: str, function: Any) -> Any:
        """The step or task that a condition asks; a plain function becomes a step."""
        looked = self.look(function)
        if isinstance(looked, Step) or is_celery_task(looked):
            return looked
        try:
            check_plain(function, f"what flow.{word} asks")
            return self.define(function)
        except DefinitionError as error:
            raise self.at(error.step, error.parameter, error) from None

    def answered(
        self, name: str, returns: Any, labels: Sequence[str] | None, *, but: bool
    ) -> Guard:
        """Return the guard of what is done if a step that is there has answered so.

        *labels* are text, or None for the yes of a bool (*but*: for its no).  *but* is for any
        other answer than these.  Raises DefinitionError.
        """
        try:
            self.check_asked(name)
            self._check_only_looks(name)
            if labels is None:
                _check_bool(returns)
                self.choices[name] = Choice(labels=(YES, NO))
                return Guard(step=name, among=(NO if but else YES,))
            self._routed.setdefault(name, labels_of(returns))
            choice = self.choices.get(name, Choice(labels=()))
            new = tuple(each for each in dict.fromkeys(labels) if each not in choice.labels)
            if new:
                self._check_case(name, choice.model_copy(update={"default": False}), new)
        except DefinitionError as error:
            raise self.at(name, None, error) from None
        known = {"labels": (*choice.labels, *new), "default": choice.default or but}
        self.choices[name] = choice.model_copy(update=known)
        return Guard(step=name, among=tuple(labels), but=but)

    def declare(self, name: str, returns: Any, choice: Choice) -> None:
        """Note all answers of a step, also those that nothing follows; raise DefinitionError."""
        try:
            self._check_only_looks(name)
            if choice.labels != (YES, NO):
                self._routed.setdefault(name, labels_of(returns))
        except DefinitionError as error:
            raise self.at(name, None, error) from None
        self.choices[name] = choice

    def either(self, values: tuple[Any, ...]) -> Placeholder:
        """Return a placeholder of the first of these values that exists; DefinitionError."""
        try:
            return self._either(values)
        except DefinitionError as error:
            problem = f"flow.either: {error.problem}"
            raise DefinitionError(problem, saga=self.saga) from error.__cause__

    def _either(self, values: tuple[Any, ...]) -> Placeholder:
        if not values[1:] or not isinstance(values[0], Placeholder):
            raise DefinitionError("takes results of steps, and at most one constant, at the end")
        found: list[Expression] = []
        for number, each in enumerate(values, start=1):
            if not isinstance(each, Placeholder) and number < len(values):
                raise DefinitionError(f"{each!r} always exists, so what follows it never counts")
            kind = annotation_of(each) if isinstance(each, Placeholder) else type(each)
            kind = None if each is None else kind
            as_json = isinstance(each, Placeholder) and is_json(each)
            expression = express(each, kind, self, as_json=as_json)
            inner = isinstance(expression, FirstOf) and not expression.path
            found += expression.first if inner else [expression]  # type: ignore[union-attr]
        kinds = [annotation_of(e) if isinstance(e, Placeholder) else kind_of(e) for e in values]
        if type(values[-1]) in (list, tuple) and not values[-1] and is_list(kinds[0]):
            kinds = kinds[:-1]  # a list of nothing is one of whatever the others hold
        as_json = any(isinstance(each, Placeholder) and is_json(each) for each in values)
        source = FirstOf(first=tuple(found))
        self.check_there(source, self.blocks.guards)
        return Placeholder(source, in_common(kinds), self, as_json=as_json)

    def close(self, plan: Mapping[str, Any], shape: Shape, returned: Any) -> Planned:
        """Take no more steps, and put the plan together."""
        self._check_routers()
        return super().close(plan, shape, returned)

    def _check_routers(self) -> None:
        """Raise DefinitionError for an answer that there is neither case nor default for."""
        for name, possible in self._routed.items():
            choice = self.choices[name]
            missing = [each for each in possible or () if each not in choice.labels]
            problem = None
            if not choice.labels:
                problem = "is a router without a case: `with route.case(…):`"
            elif missing and not choice.default:
                problem = (
                    f"may answer {', '.join(map(repr, missing))}, for which there is neither case "
                    "nor default"
                )
            if problem:
                raise DefinitionError(problem, saga=self.saga, step=name)


def _check_bool(returns: Any) -> None:
    if plain(returns) is not bool:
        raise DefinitionError(
            f"returns {described(returns)}, and a predicate returns bool: annotate it, -> bool"
        )
