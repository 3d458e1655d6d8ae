"""What a body may say in place of a result, and who may not.

Owns: what Skip and Done leave, when a step may raise them, and values of no known type.  Refuses to
know: how a body is called, and what follows from an answer (`machine`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.authoring import ANYTHING, accepts_none, write
from celeriac.errors import Abort, DefinitionError, Done, OutputInvalid, Skip
from celeriac.machine import duration_ms

if TYPE_CHECKING:
    from celeriac.authoring import Shape
    from celeriac.context import Later
    from celeriac.machine import Node, Phase, Plan


_LONGEST_LATER = 100 * 365 * 24 * 3_600_000  # ms


@dataclass(frozen=True, slots=True)
class Ends:
    """The run goes no further, and this is its result, as JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """The result comes from outside, within so many ms."""

    delay: int


#: What an attempt that succeeded leaves: JSON text, nothing if there was nothing to do, the end, or
#: the word that its result comes later.
Output = str | Ends | Deferred | None
#: What a body may raise that is no failure.
ANSWERS = (Skip, Done)


def misplaced(
    answer: Skip | Done, plan: Plan, node: Node, phase: Phase, returns: Shape | None
) -> str | None:
    """Why a body may not raise this; None: it may.  *returns*: a shape that promises its result."""
    word = type(answer).__name__
    if phase == "undo":
        return f"a compensation of nothing succeeds: return instead of raising {word}"
    if node.confirms is not None:
        return f"a confirm of nothing succeeds: return instead of raising {word}"
    if node.choice is not None:
        return f"a condition has to answer, so it cannot raise {word}"
    if isinstance(answer, Done):
        return _not_alone(plan, node)
    if returns is not None and not accepts_none(returns.returns):
        return "raises Skip, so its result may be None: annotate it so, … | None"
    return None


def _not_alone(plan: Plan, node: Node) -> str | None:
    if plan.stands_alone(node.name):
        return None
    return (
        "other steps may be at work beside it, so it cannot end the run: return a value that says "
        "so, and raise Done in a step behind the block"
    )


def later_misplaced(node: Node, phase: Phase) -> str | None:
    """Why an attempt has no token, and no result from outside; None: it may."""
    if phase == "undo":
        return "a compensation is done when it returns: to wait for others, fail and be tried again"
    if node.choice is not None:
        return "a condition has to answer itself: let a step before it ask somebody outside"
    return None


def deferred(result: Later, node: Node, phase: Phase) -> Deferred:
    """Return how long a result from outside may take; raise Abort if that cannot be."""
    problem = later_misplaced(node, phase)
    if problem:
        raise Abort(problem, code="misplaced_answer")
    try:
        delay = duration_ms(result.timeout)
    except DefinitionError as wrong:
        raise Abort(f"ctx.later takes a time, and {wrong}", code="definition") from None
    if delay > _LONGEST_LATER:
        raise Abort("ctx.later takes a time of up to 100 years", code="definition")
    return Deferred(delay)


def as_anything(result: Any) -> str:
    """Return the result of a run as JSON text: nothing is known of its type.  OutputInvalid."""
    return ANYTHING.dump(result, "the result given to Done", OutputInvalid)


def as_answer(answer: Any) -> str:
    """Return an answer as plain JSON, whatever it was made of; raise OutputInvalid."""
    return write(ANYTHING.adapter, answer, "the answer of Abort", OutputInvalid)
