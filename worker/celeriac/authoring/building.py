"""Building a plan: steps are added one by one, each checked against those before it.

Owns: all checks between the steps of a saga, their names, and the plan that comes of them.  Refuses
to know: Celery beyond a task's name and signature, which step waits for which (`blocks`), the words
of an author (`flow`), and the saga's function (`planning`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac.authoring.adopted import adopted_retry, settled_plan
from celeriac.authoring.annotations import UNSAID, accepts_none, described
from celeriac.authoring.blocks import Blocks
from celeriac.authoring.compensations import Compensation
from celeriac.authoring.options import StepOptions
from celeriac.authoring.placeholders import (
    Placeholder,
    annotation_of,
    express,
    is_json,
    owner_of,
    source_of,
    steps_used,
)
from celeriac.authoring.signatures import Shape
from celeriac.authoring.steps import Step, is_celery_task
from celeriac.errors import DefinitionError
from celeriac.machine import Constant, Expression, FromStep, Node, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, eq=False)
class Planned:
    """What planning a saga's function gave."""

    draft: Plan  # without the policies of tasks that are only promised so far
    shape: Shape  # the inputs, and the type of the result
    steps: Mapping[str, Any]  # name in the plan -> Step, or the Celery task that was adopted
    adopted: tuple[Any, ...]  # existing Celery tasks, forward and backward, each once

    @property
    def name(self) -> str:
        """The saga's name."""
        return self.draft.saga

    @cached_property
    def plan(self) -> Plan:
        """The plan; asked for the first time, it keeps the promises of tasks."""
        return settled_plan(self.draft, self.adopted)

    def result(self, text: str | bytes) -> Any:
        """The result of a run, from JSON, in the type that the saga says, or else its step."""
        return self.shape.load_result(text)


class Builder:
    """A plan in the making."""

    def __init__(
        self,
        saga: str,
        undos: Mapping[str, Compensation[..., Any]],
        look: Callable[[Any], Any] = lambda task: task,
    ) -> None:
        """*look* returns the Celery task that something stands for, or what is known of it."""
        self.blocks = Blocks()
        self._saga, self._undos, self._look = saga, undos, look
        self._nodes: list[Node] = []
        self._steps: dict[str, Any] = {}
        self._prefix = ""
        self._open = True

    def step(
        self, task: Any, args: Any, kwargs: Mapping[str, Any], given: StepOptions | None = None
    ) -> Placeholder:
        """Add a step, and return the placeholder of its result; raise DefinitionError."""
        given = given or StepOptions()
        task = self._look(task)
        self._check_usable(task)
        own = isinstance(task, Step)
        shape = task.shape if own else Shape.of(task.run, strict=False)
        undo = task.undo if own else self._undos.get(task.name)
        name = self._free_name(task.name) if given.name is None else self._own_name(given.name)
        self._check_shapes(name, shape, undo, as_json=not own)
        values = self._express(name, shape, args, kwargs, as_json=not own)
        values |= self._wanted_defaults(name, shape, undo, values, as_json=not own)
        policy = _policy_of(task) | given.policy(name, after_loss=_after_loss(task))
        self._nodes.append(
            Node(
                name=name,
                task=task.name,
                after=self._placed(name, values, given.after),
                args=values,
                undo=undo and undo.undo(),
                **policy,
            )
        )
        self._steps[name] = task
        return Placeholder(FromStep(step=name), shape.returns, self, as_json=not own)

    def _placed(
        self, name: str, values: Mapping[str, Expression], after: Iterable[Any]
    ) -> tuple[str, ...]:
        """What the step waits for: by where it stands, by what it uses, and by what is said."""
        for key, value in values.items():
            try:
                self.blocks.check(steps_used(value))
            except DefinitionError as error:
                raise self._at(name, key, error) from None
        try:
            said = [step for each in after for step in self._named_steps(each)]
            uses = [step for value in values.values() for step in steps_used(value)]
            return self.blocks.add(name, [*uses, *said])
        except DefinitionError as error:
            raise self._at(name, "after", error) from None

    def _named_steps(self, each: Any) -> Iterator[str]:
        """The steps that *each* of `after` stands for: a result, or a name."""
        if isinstance(each, Placeholder) and owner_of(each) is self:
            yield from steps_used(source_of(each))
        elif isinstance(each, str) and each in self._steps:
            yield each
        else:
            raise DefinitionError(
                f"takes results of steps and names of steps before this one, not {each!r}; there "
                f"are {', '.join(self._steps) or 'none yet'}"
            )

    @contextmanager
    def named(self, prefix: str) -> Iterator[None]:
        """Put a prefix before the names of the steps inside of a `with`."""
        before = self._prefix
        try:
            self._prefix = f"{before}{checked_name(prefix)}."
        except DefinitionError as error:
            raise self._at(None, None, error) from None
        try:
            with self.blocks.part():
                yield
        finally:
            self._prefix = before

    def _check_usable(self, task: Any) -> None:
        if not self._open:
            raise DefinitionError(
                "the flow is used after the saga was planned; it belongs to the saga's function "
                "and ends with it",
                saga=self._saga,
            )
        problem = None if isinstance(task, Step) else _not_a_step(task, self._saga)
        if problem:
            raise DefinitionError(problem, saga=self._saga)

    def _free_name(self, task: str) -> str:
        # No ":" in it: keys and task ids put one between the run's id and the step, and keys of
        # `pay:card` in the run `order-1` would be those of `card` in the run `order-1:pay`.
        last = re.split("[.:]", task.rstrip(".:"))[-1] or "step"
        base = name = self._prefix + last
        count = 1
        while name in self._steps:
            count += 1
            name = f"{base}-{count}"
        return name

    def _own_name(self, given: str) -> str:
        """The name that an author gave to a step, checked."""
        try:
            name = self._prefix + checked_name(given)
        except DefinitionError as error:
            raise self._at(None, None, error) from None
        if name in self._steps:
            raise DefinitionError(
                "the name is taken by another step of the saga: give another name, or leave it out",
                saga=self._saga,
                step=name,
            )
        return name

    def _express(
        self, step: str, shape: Shape, args: Any, kwargs: Any, *, as_json: bool
    ) -> dict[str, Expression]:
        try:
            values = shape.bind(args, kwargs)
        except DefinitionError as error:
            raise self._at(step, error.parameter, error) from None
        found = {}
        for key, value in values.items():
            try:
                found[key] = express(value, shape.parameters[key].said, self, as_json=as_json)
            except DefinitionError as error:
                raise self._at(step, key, error) from error.__cause__
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
                raise self._at(step, key, error) from error.__cause__
        return found

    def _check_shapes(
        self, step: str, shape: Shape, undo: Compensation[..., Any] | None, *, as_json: bool
    ) -> None:
        if as_json:
            if shape.context:
                raise DefinitionError(
                    "is the Celery task behind a step: pass the step itself, which knows its "
                    "context and its policy",
                    saga=self._saga,
                    step=step,
                )
            return
        try:
            shape.prepare()
            if undo:
                undo.shape.prepare()
        except DefinitionError as error:
            raise self._at(step, error.parameter, error) from error.__cause__

    def _at(
        self, step: str | None, parameter: str | None, error: DefinitionError
    ) -> DefinitionError:
        return DefinitionError(error.problem, saga=self._saga, step=step, parameter=parameter)

    def close(self, plan: Mapping[str, Any], shape: Shape, returned: Any) -> Planned:
        """Take no more steps, and put the plan together."""
        self._open = False
        if not self._nodes:
            raise DefinitionError(
                "has no steps: call flow.step(task, …) in its function", saga=self._saga
            )
        try:
            self.blocks.close()
        except DefinitionError as error:
            raise self._at(None, None, error) from None
        self._check_pivot()
        if shape.said is UNSAID and isinstance(returned, Placeholder) and not is_json(returned):
            shape = shape.returning(annotation_of(returned))
        made = Plan(nodes=tuple(self._nodes), result=self._result(shape, returned), **plan)
        return Planned(made, shape, dict(self._steps), self._adopted())

    def _check_pivot(self) -> None:
        pivots = [node.name for node in self._nodes if node.pivot]
        if len(pivots) > 1:
            raise DefinitionError(
                f"has {len(pivots)} pivots ({', '.join(pivots)}); there is one point after which a "
                "run only goes forward",
                saga=self._saga,
            )
        beside = self.blocks.beside(pivots[0]) if pivots else []
        if beside:
            raise DefinitionError(
                f"is the pivot, and {', '.join(beside)} may still be at work when it ends: nothing "
                "stands beside a pivot; move it before or behind the block",
                saga=self._saga,
                step=pivots[0],
            )

    def _result(self, shape: Shape, returned: Any) -> Expression:
        if returned is None and not accepts_none(shape.returns):
            raise DefinitionError(
                f"returns nothing, and promises {described(shape.returns)}: return the result of "
                "a step",
                saga=self._saga,
            )
        try:
            return express(returned, shape.said, self, as_json=False)
        except DefinitionError as error:
            problem = f"its result {error.problem}"
            raise DefinitionError(problem, saga=self._saga) from error.__cause__

    def _adopted(self) -> tuple[Any, ...]:
        found = {}
        for task in self._steps.values():
            if not isinstance(task, Step):
                found[task.name] = task
                if task.name in self._undos:
                    undo = self._undos[task.name]
                    found[undo.name] = undo.task
        return tuple(found.values())


def _not_a_step(task: Any, saga: str) -> str | None:  # noqa: PLR0911 -- one for each mistake
    """Why *task*, which is no `Step`, cannot be one, if it cannot."""
    if isinstance(task, Placeholder):
        return f"flow.step takes a task first, and {task!r} is a value"
    if isinstance(task, Compensation):
        return f"{task!r} is run by itself when its step has to be undone; it is no step"
    planned = getattr(task, "planned", None)
    if isinstance(planned, Planned):
        own = planned.name == saga
        return (
            f"{'calls itself' if own else f'calls saga {planned.name!r}'} in flow.step, which "
            "takes tasks: a plan is finite and has one level; start the other run inside a step"
        )
    if isinstance(task, Mapping) and "task" in task:
        return "flow.step takes the task itself and its arguments, not a signature of it (.s, .si)"
    if is_celery_task(task):
        if getattr(task, "saga_adopted", True) is False:
            return f"{task.name} is the Celery task behind a step: pass the step itself"
        return None
    return (
        f"flow.step takes a step or a Celery task, not {task!r}: decorate the function with "
        "@sagas.step, and do not call it"
    )


def _policy_of(task: Any) -> dict[str, Any]:
    if not isinstance(task, Step):
        return {"retry": adopted_retry(task)}
    return {name: getattr(task, name) for name in _POLICY}


_POLICY = ("retry", "timeout", "effect", "on_unknown", "pivot", "ahead")


def _after_loss(task: Any) -> bool:
    return bool(_policy_of(task)["retry"].after_loss)


def checked_name(name: Any) -> str:
    """Return the name of a step, or what stands before one; raise DefinitionError otherwise."""
    if not isinstance(name, str) or not re.fullmatch(r"[^\s.:~\[\]/\\]+", name):
        raise DefinitionError(
            f"a name is text without spaces and without any of . : ~ [ ] / \\, not {name!r}"
        )
    return name
