"""Compensations: how a step is undone, and what such a function may ask for.

Owns: `Compensation`, and the checks between it and its step.  Refuses to know: steps, but for the
shape of their function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, get_args

from celeriac.authoring.annotations import (
    accepts_none,
    described,
    fits,
    is_union,
    loses_type,
    plain,
)
from celeriac.authoring.calling import refuse_call, wear
from celeriac.authoring.signatures import RETURNS, Shape, listed
from celeriac.errors import DefinitionError
from celeriac.failure import Failure
from celeriac.machine import RetryRule, Undo

if TYPE_CHECKING:
    from collections.abc import Callable

C = ParamSpec("C")  # what the function asks for
R = TypeVar("R")

OUTCOME = ("result", "error")  # what a compensation may ask for beside the step's parameters
RESULT = ("result",)  # and what a confirm may: it is only called for a step that has a result


class Compensation(Generic[C, R]):
    """How a step is undone: a Celery task of its own, callable as the plain function it is."""

    def __init__(  # noqa: PLR0913 -- all that was said where it was defined
        self,
        function: Callable[C, R],
        *,
        name: str,
        task: Any,
        shape: Shape,
        retry: RetryRule,
        timeout: int | None,
        wants: tuple[str, ...],
        ahead: bool = True,
        give_up_after: int | None = None,
        adopted: bool = False,
    ) -> None:
        self.function, self.name, self.task, self.shape = function, name, task, shape
        self.retry, self.timeout, self.wants = retry, timeout, wants
        self.ahead, self.give_up_after = ahead, give_up_after
        self.adopted = adopted  # an existing Celery task: takes plain JSON
        wear(self, function)

    def __call__(self, *args: C.args, **kwargs: C.kwargs) -> R:
        """Call the plain function, as a unit test does."""
        refuse_call(self.name, "it is run by itself when the saga has to undo", args, kwargs)
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<compensation {self.name}>"

    def undo(self) -> Undo:
        """How a plan writes it down."""
        return Undo(
            task=self.name,
            wants=self.wants,
            retry=self.retry,
            timeout=self.timeout,
            ahead=self.ahead,
            give_up_after=self.give_up_after,
        )


class Confirm(Compensation[C, R]):
    """How a step of two phases is confirmed: a Celery task of its own, as a compensation is."""

    def __call__(self, *args: C.args, **kwargs: C.kwargs) -> R:
        """Call the plain function, as a unit test does."""
        refuse_call(self.name, "it is run by itself when all is prepared", args, kwargs)
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<confirm {self.name}>"


def wanted(
    step: str,
    forward: Shape,
    undo: Shape,
    *,
    optional: bool = False,
    word: str = "compensation",
    beside: tuple[str, ...] = OUTCOME,
) -> tuple[str, ...]:
    """What a compensation asks for, checked; *optional*: it may have defaults for the rest.

    *word* is what it is called, *beside* what it may ask for beside the parameters of the step.
    """
    offered = (*forward.parameters, *beside)
    wants = []
    for key, each in undo.parameters.items():
        if key in beside and key in forward.parameters:
            raise DefinitionError(
                f"is a parameter of the step, and also what a {word} calls the step's {key}; "
                "rename the parameter",
                step=step,
                parameter=key,
            )
        if key in offered:
            wants.append(key)
        elif not optional or each.required:
            raise DefinitionError(
                f"the {word} {undo.name} asks for a value that does not exist; it may ask "
                f"for {listed(offered)} and, first, for the context (ctx: StepContext)",
                step=step,
                parameter=key,
            )
    return tuple(wants)


def check_types(step: str, forward: Shape, undo: Shape, word: str = "compensation") -> None:
    """Raise DefinitionError unless the step gives what its compensation, or confirm, asks for."""
    unsure = OUTCOME if word == "compensation" else ()
    given: dict[str, Any] = {"result": forward.returns, "error": Failure}
    given |= {key: each.annotation for key, each in forward.parameters.items()}
    for key, each in undo.parameters.items():
        asked = each.annotation
        if key in unsure and not accepts_none(asked):
            why = "the outcome may be unknown" if key == "result" else "there may be none"
            raise DefinitionError(
                f"is None in the {word} {undo.name} when {why}: write "
                f"{key}: {described(asked)} | None",
                step=step,
                parameter=key,
            )
        if not fits(given[key], asked):
            raise DefinitionError(
                f"is {described(given[key])}, and the {word} {undo.name} asks for "
                f"{described(asked)}",
                step=step,
                parameter=key,
            )
        if loses_type(given[key], each.said):
            shown = described(given[key]) + (" | None" if key in unsure else "")
            raise DefinitionError(
                f"would be plain JSON in the {word} {undo.name}, which does not say what it "
                f"takes: annotate it as {shown}",
                step=step,
                parameter=key,
            )


def note_readers(forward: Shape, undo: Shape) -> None:
    """Have what the undo asks for read as the undo will, before it can be owed."""
    written = {key: each.annotation for key, each in forward.parameters.items()}
    for key, each in undo.parameters.items():
        stored = RETURNS if key == "result" and key not in written else key
        if stored != RETURNS and stored not in written:
            continue  # `error`: it is ours
        given = written.get(stored, forward.returns)
        if plain(each.annotation) is not Any and _members(each.annotation) != _members(given):
            forward.read_by(stored, undo, key)


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types in a union, but None; any other type alone."""
    members = get_args(annotation) if is_union(annotation) else (annotation,)
    return tuple(each for each in members if each is not type(None))


def compensation_by(step: Any, undo: Any) -> Compensation[..., Any]:
    """Make *undo*, a step, the compensation of another step, where a saga says so.

    It asks for what it needs by name, as a compensation does.  Raises DefinitionError.
    """
    if undo.undo is not None or undo.confirmation is not None or undo.pivot:
        raise DefinitionError(
            "undoes another step, so it has no compensation and no confirm of its own, and is no "
            "pivot",
            step=undo.name,
        )
    wants = wanted(step.name, step.shape, undo.shape)
    check_types(step.name, step.shape, undo.shape)
    note_readers(step.shape, undo.shape)
    return Compensation(
        undo.function,
        name=undo.name,
        task=undo.task,
        shape=undo.shape,
        retry=undo.retry,
        timeout=undo.timeout,
        wants=wants,
        ahead=undo.ahead,
        give_up_after=undo.give_up_after,
    )
