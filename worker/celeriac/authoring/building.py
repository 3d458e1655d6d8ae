"""Building a plan: steps are added one by one, each checked against those before it.

Owns: all checks between the steps of a saga, their names, and the plan that comes of them.  Refuses
to know: Celery beyond a task's name and signature, which step waits for which (`blocks`), the words
of an author (`flow`), and the saga's function (`planning`).  This file is long because each check
needs the steps before it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac.authoring.annotations import UNSAID, accepts_none, described
from celeriac.authoring.blocks import Blocks
from celeriac.authoring.compensations import Compensation
from celeriac.authoring.conditions import covers
from celeriac.authoring.gates import planned_gates
from celeriac.authoring.names import checked_name
from celeriac.authoring.options import StepOptions
from celeriac.authoring.placeholders import (
    Placeholder,
    annotation_of,
    express,
    is_json,
    owner_of,
    parts_of,
    source_of,
    steps_used,
)
from celeriac.authoring.planned import Planned
from celeriac.authoring.signatures import Shape
from celeriac.authoring.step_checks import after_loss, not_a_step, policy_of
from celeriac.authoring.steps import Step
from celeriac.errors import DefinitionError
from celeriac.machine import (
    MAX_STEPS,
    Choice,
    Constant,
    DictOf,
    Expression,
    FirstOf,
    FromItem,
    FromMap,
    FromStep,
    Gate,
    ListOf,
    Node,
    Plan,
    TextOf,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from celeriac.authoring.blocks import Kind
    from celeriac.authoring.conditions import Guards


class Builder:
    """A plan in the making."""

    def __init__(
        self,
        saga: str,
        undos: Mapping[str, Compensation[..., Any]],
        look: Callable[[Any], Any] = lambda task: task,
        define: Callable[[Any], Any] = lambda function: function,
        root: Kind = "sequence",
    ) -> None:
        """*look* returns the Celery task that something stands for, or what is known of it.

        *define* makes a step of the plain function of a condition; *root* says which step waits for
        which outside of all blocks.
        """
        self.blocks = Blocks(root=root)
        self.saga, self.look, self.define = saga, look, define
        self._undos = undos
        self.choices: dict[str, Choice] = {}  # of the steps whose answers guard others
        self.nodes: list[Node] = []
        self.steps: dict[str, Any] = {}  # the task of each; None: no worker runs it
        self.undos_said: list[Compensation[..., Any]] = []  # by the saga, not by a step
        self.prefix = ""
        self._open = True

    def step(
        self,
        task: Any,
        args: Any,
        kwargs: Mapping[str, Any],
        given: StepOptions | None = None,
        exactly: str | None = None,
    ) -> Placeholder:
        """Add a step, and return the placeholder of its result; raise DefinitionError.

        *exactly* is the whole name, where that is not for the author to say.
        """
        given = given or StepOptions()
        task = self.look(task)
        self._check_usable(task)
        own = isinstance(task, Step)
        shape = task.shape if own else Shape.of(task.run, strict=False)
        undo = self._own_undo(task, given)
        name = exactly or self.name_of(task.name, given)
        self._check_shapes(name, shape, undo, as_json=not own)
        values = self._express(name, shape, args, kwargs, as_json=not own)
        for each in (undo, task.confirmation if own else None):
            values |= self._wanted_defaults(name, shape, each, values, as_json=not own)
        if not own:
            values = {key: self.as_written(value) for key, value in values.items()}
        policy = policy_of(task) | given.policy(name, after_loss=after_loss(task))
        self._check_scope(name, task, pivot=policy.get("pivot", False))
        self.nodes.append(
            Node(
                name=name,
                task=task.name,
                after=self.placed(name, values, given.after),
                args=values,
                keywords=() if own else shape.given_by_name(kwargs),
                undo=undo and undo.undo(),
                guards=self.blocks.guards,
                gates=self._gates(name, task, values),
                **policy,
            )
        )
        self.steps[name] = task
        return Placeholder(FromStep(step=name), shape.returns, self, as_json=not own)

    def _gates(self, name: str, task: Any, values: Mapping[str, Expression]) -> tuple[Gate, ...]:
        """What each attempt of a step has to pass."""
        try:
            if not isinstance(task, Step):
                return ()
            kinds = {key: each.annotation for key, each in task.shape.parameters.items()}
            return planned_gates(task.gates, kinds, values.get)
        except DefinitionError as error:
            raise self.at(name, error.parameter, error) from None

    def stand_in(self, name: str) -> Placeholder:
        """Take the place of a step that is wrong, so that what is behind it can be looked at.

        For whoever tells all that is wrong with a saga: no plan comes of it any more.
        """
        self.blocks.add(name)
        self.steps[name] = None
        return Placeholder(FromStep(step=name), Any, self, as_json=True)

    def _own_undo(self, task: Any, given: StepOptions) -> Compensation[..., Any] | None:
        """The compensation of a step; none where one covers it together with others."""
        if self.blocks.within == "undone_by":
            return None
        if given.undo is not None:
            self.undos_said.append(given.undo)
            said: Compensation[..., Any] = given.undo
            return said
        return task.undo if isinstance(task, Step) else self._undos.get(task.name)

    def _check_scope(self, name: str, task: Any, *, pivot: bool) -> None:
        problem, within = None, self.blocks.within
        confirm = task.confirmation if isinstance(task, Step) else None
        if pivot and within:
            problem = f"is a pivot inside of flow.{within}: write it outside of the block"
        elif confirm and within != "two_phase":
            problem = (
                f"has a confirm ({confirm.name}), which nothing calls here: write the step inside "
                "of `with flow.two_phase():`"
            )
        if problem:
            raise DefinitionError(problem, saga=self.saga, step=name)

    def name_of(self, task: str, given: StepOptions) -> str:
        """The name of a step in its saga: the author's, or one that is free."""
        return self._free_name(task) if given.name is None else self._own_name(given.name)

    def as_used(self, value: Any) -> Any:
        """The value as it is where it is used, which may be elsewhere than where it was made."""
        return value

    def hinted(self, error: DefinitionError, value: Any) -> DefinitionError:
        """What is wrong with a value that is used here, with why it may not fit."""
        del value
        return error

    def as_written(self, value: Expression) -> Expression:
        """The value, for a task that needs to know how it was written."""
        return value

    def placed(
        self, name: str, values: Mapping[str, Expression], after: Iterable[Any]
    ) -> tuple[str, ...]:
        """What the step waits for: by where it stands, by what it uses, and by what is said."""
        for key, value in values.items():
            try:
                self.check_there(value, self.blocks.guards)
                self.blocks.check(steps_used(value))
            except DefinitionError as error:
                raise self.at(name, key, error) from None
        try:
            said = [step for each in after for step in self._named_steps(each)]
            uses = [step for value in values.values() for step in steps_used(value)]
            return self.blocks.add(name, [*uses, *said])
        except DefinitionError as error:
            raise self.at(name, "after", error) from None

    def _named_steps(self, each: Any) -> Iterator[str]:
        """The steps that *each* of `after` stands for: a result, or a name."""
        if isinstance(each, Placeholder) and owner_of(each) is self:
            yield from steps_used(source_of(each))
        elif isinstance(each, str) and each in self.steps:
            yield each
        else:
            raise DefinitionError(
                f"takes results of steps and names of steps before this one, not {each!r}; there "
                f"are {', '.join(self.steps) or 'none yet'}"
            )

    def check_there(self, value: Expression, given: Guards) -> None:
        """Raise DefinitionError unless a value exists wherever all that is *given* holds."""
        if isinstance(value, FromStep | FromItem | FromMap):
            self.check_inside(value)
        if isinstance(value, FromStep | FromMap):
            step = value.step if isinstance(value, FromStep) else value.map
            if not set(self.blocks.guards_of(step)) <= set(given):
                raise DefinitionError(
                    f"the result of {step} is made inside of a condition and leaves it, so "
                    "it may not be there: write flow.either(…) of the values that there may be, "
                    "or flow.either(value, None)"
                )
        elif isinstance(value, FirstOf):
            if not covers([self._needs(each) for each in value.first], given, self.choices):
                raise DefinitionError(
                    f"none of {', '.join(steps_used(value))} may be there: add another value to "
                    "flow.either(…), such as None"
                )
        elif isinstance(value, ListOf | DictOf | TextOf):
            inside = value.entries.values() if isinstance(value, DictOf) else parts_of(value)
            for each in inside:
                self.check_there(each, given)

    def _needs(self, value: Expression) -> Guards:
        if isinstance(value, FromMap):
            return self.blocks.guards_of(value.map)
        return self.blocks.guards_of(value.step) if isinstance(value, FromStep) else ()

    def check_inside(self, value: FromStep | FromItem | FromMap) -> None:
        """Raise DefinitionError for what belongs to one element of a map, used outside of it."""

    def named(self, prefix: str) -> AbstractContextManager[None]:
        """Put a prefix before the names of the steps inside of a `with`."""
        try:
            checked_name(prefix)
        except DefinitionError as error:
            raise self.at(None, None, error) from None
        return self._named(prefix, self.blocks.promised("flow.named"))

    @contextmanager
    def _named(self, prefix: str, begin: Callable[[], None]) -> Iterator[None]:
        begin()
        before = self.prefix
        self.prefix = f"{before}{prefix}."
        try:
            with self.blocks.part():
                yield
        finally:
            self.prefix = before

    def _check_open(self) -> None:
        if not self._open:
            raise DefinitionError(
                "the flow is used after the saga was planned; it belongs to the saga's function "
                "and ends with it",
                saga=self.saga,
            )

    def _check_usable(self, task: Any, word: str = "flow.step") -> None:
        self._check_open()
        problem = None if isinstance(task, Step) else not_a_step(task, self.saga, word)
        if problem:
            raise DefinitionError(problem, saga=self.saga)

    def _free_name(self, task: str, *, whole: bool = False) -> str:
        """A name that no step has yet: *task*'s last part, or the *whole* of it."""
        # No ":" in it: keys and task ids put one between the run's id and the step, and keys of
        # `pay:card` in the run `order-1` would be those of `card` in the run `order-1:pay`.
        last = re.split("[.:]", task.rstrip(".:"))[-1] or "step"
        base = name = task if whole else self.prefix + last
        count = 1
        while name in self.steps:
            count += 1
            name = f"{base}-{count}"
        return name

    def _own_name(self, given: str) -> str:
        """The name that an author gave to a step, checked."""
        try:
            name = self.prefix + checked_name(given)
        except DefinitionError as error:
            raise self.at(None, None, error) from None
        if name in self.steps:
            raise DefinitionError(
                "the name is taken by another step of the saga: give another name, or leave it out",
                saga=self.saga,
                step=name,
            )
        return name

    def _express(
        self, step: str, shape: Shape, args: Any, kwargs: Any, *, as_json: bool
    ) -> dict[str, Expression]:
        try:
            values = shape.bind(args, kwargs)
        except DefinitionError as error:
            raise self.at(step, error.parameter, error) from None
        found = {}
        for key, value in values.items():
            try:
                said = shape.parameters[key].said
                found[key] = express(self.as_used(value), said, self, as_json=as_json)
            except DefinitionError as error:
                raise self.at(step, key, self.hinted(error, value)) from error.__cause__
        return found

    def _wanted_defaults(
        self,
        step: str,
        shape: Shape,
        undo: Compensation[..., Any] | None,
        given: Mapping[str, Expression],
        *,
        as_json: bool,
    ) -> dict[str, Expression]:
        """Write down defaults that the compensation asks for: it has to get what the step got."""
        found: dict[str, Expression] = {}
        for key in undo.wants if undo else ():
            each = shape.parameters.get(key)
            if each is None or key in given:
                continue
            if key.startswith("*"):
                found[key] = Constant(value={} if key.startswith("**") else [])
                continue
            try:
                found[key] = express(each.default, each.said, self, as_json=as_json)
            except DefinitionError as error:
                raise self.at(step, key, error) from error.__cause__
        return found

    def _check_shapes(
        self, step: str, shape: Shape, undo: Compensation[..., Any] | None, *, as_json: bool
    ) -> None:
        if as_json:
            if shape.context:
                raise DefinitionError(
                    "is the Celery task behind a step: pass the step itself, which knows its "
                    "context and its policy",
                    saga=self.saga,
                    step=step,
                )
            return
        try:
            shape.prepare()
            if undo:
                undo.shape.prepare()
        except DefinitionError as error:
            raise self.at(step, error.parameter, error) from error.__cause__

    def at(
        self, step: str | None, parameter: str | None, error: DefinitionError
    ) -> DefinitionError:
        """The same mistake, with the place it is in."""
        return DefinitionError(error.problem, saga=self.saga, step=step, parameter=parameter)

    def close(self, plan: Mapping[str, Any], shape: Shape, returned: Any) -> Planned:
        """Take no more steps, and put the plan together."""
        self._open = False
        if all(node.wait for node in self.nodes):
            raise DefinitionError(
                "has no steps: call flow.step(task, …) in its function", saga=self.saga
            )
        try:
            self.blocks.close()
        except DefinitionError as error:
            raise self.at(None, None, error) from None
        self._check_pivot()
        used = self.as_used(returned)
        if shape.said is UNSAID and isinstance(used, Placeholder) and not is_json(used):
            shape = shape.returning(annotation_of(used))
        if len(self.nodes) > MAX_STEPS and plan.get("max_steps") is None:
            plan = {**plan, "max_steps": MAX_STEPS}
        several = self.steps.items()
        tasks = {name: task for name, task in several if not isinstance(task, Wait | None)}
        made = Plan(nodes=self._final_nodes(), result=self._result(shape, returned), **plan)
        return Planned(made, shape, tasks, self._adopted())

    def _final_nodes(self) -> tuple[Node, ...]:
        """The nodes, with what each answer may be, now that all cases are there."""
        return tuple(self.with_choice(node) for node in self.nodes)

    def with_choice(self, node: Node) -> Node:
        """The node, with what its answer may be, if others are guarded by that."""
        choice = self.choices.get(node.name)
        return node if choice is None else node.model_copy(update={"choice": choice})

    def _check_pivot(self) -> None:
        pivots = [node.name for node in self.nodes if node.pivot]
        if len(pivots) > 1:
            raise DefinitionError(
                f"has {len(pivots)} pivots ({', '.join(pivots)}); there is one point after which a "
                "run only goes forward",
                saga=self.saga,
            )
        beside = self.blocks.beside(pivots[0]) if pivots else []
        if beside:
            raise DefinitionError(
                f"is the pivot, and {', '.join(beside)} may still be at work when it ends: nothing "
                "stands beside a pivot; move it before or behind the block",
                saga=self.saga,
                step=pivots[0],
            )

    def _result(self, shape: Shape, returned: Any) -> Expression:
        if returned is None and not accepts_none(shape.returns):
            raise DefinitionError(
                f"returns nothing, and promises {described(shape.returns)}: return the result of "
                "a step",
                saga=self.saga,
            )
        try:
            result = express(self.as_used(returned), shape.said, self, as_json=False)
            self.check_there(result, ())
        except DefinitionError as error:
            problem = f"its result {self.hinted(error, returned).problem}"
            raise DefinitionError(problem, saga=self.saga) from error.__cause__
        return result

    def _adopted(self) -> tuple[Any, ...]:
        found = {}
        for task in self.steps.values():
            if task is not None and not isinstance(task, Step | Compensation | Wait):
                found[task.name] = task
                if task.name in self._undos:
                    undo = self._undos[task.name]
                    found[undo.name] = undo.task
        for undo in self.undos_said:
            if undo.adopted:
                found[undo.name] = undo.task
        return tuple(found.values())
