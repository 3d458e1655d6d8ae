"""What a body may say in place of a result, and who may not.

Owns: what Skip, Done and Route leave, when a step may raise them, and values of no known type.
Refuses to know: how a body is called, and what follows from an answer (`machine`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.authoring import ANYTHING, accepts_none, write
from celeriac.errors import Abort, DefinitionError, Done, OutputInvalid, Route, Skip
from celeriac.failure import safe_text
from celeriac.machine import duration_ms, leaves_prepared, stands_alone

if TYPE_CHECKING:
    from celeriac.authoring import Shape
    from celeriac.context import Later
    from celeriac.machine import Node, Phase, Plan


_LONGEST_WORDS = 200  # characters
_LONGEST_LATER = 100 * 365 * 24 * 3_600_000  # ms


@dataclass(frozen=True, slots=True)
class Skips:
    """There was nothing to do; what the step says of it, for people."""

    said: str = ""


@dataclass(frozen=True, slots=True)
class Ends:
    """The run goes no further, and this is its result, as JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class Goes:
    """The run leaves the group of the step, and goes on with this one."""

    route: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """The result comes from outside, within so many ms."""

    delay: int


#: What an attempt that succeeded leaves: JSON text, or that there was nothing to do, the end,
#: another group, or the word that its result comes later.
Output = str | Skips | Ends | Goes | Deferred
#: What a body may raise that is no failure.
ANSWERS = (Skip, Done, Route)
#: The code of a step that goes on with a group that its saga does not have.
UNKNOWN_GROUP = "unknown_group"


def skips(answer: Skip) -> Skips:
    """Return what a step left that skipped itself; its words are shown, so they are few."""
    said = safe_text(answer) if answer.args else ""
    return Skips(said if len(said) <= _LONGEST_WORDS else f"{said[:_LONGEST_WORDS]} …")


def misplaced(
    answer: Skip | Done | Route, plan: Plan, node: Node, phase: Phase, returns: Shape | None
) -> str | None:
    """Why a body may not raise this; None: it may.  *returns*: a shape that promises its result."""
    word = type(answer).__name__
    if phase == "undo":
        return f"a compensation of nothing succeeds: return instead of raising {word}"
    if node.confirms is not None:
        return f"a confirm of nothing succeeds: return instead of raising {word}"
    if node.choice is not None:
        return f"a condition has to answer, so it cannot raise {word}"
    if not isinstance(answer, Skip):
        ends = isinstance(answer, Done)
        return _not_alone(plan, node, "end the run", word) if ends else _stays(plan, node)
    if returns is not None and not accepts_none(returns.returns):
        return "raises Skip, so its result may be None: annotate it so, … | None"
    return None


def _not_alone(plan: Plan, node: Node, what: str, word: str) -> str | None:
    if stands_alone(plan, node.name):
        return None
    return (
        f"other steps may be at work beside it, so it cannot {what}: return a value that says so, "
        f"and raise {word} in a step behind the block"
    )


def _stays(plan: Plan, node: Node) -> str | None:
    """Why a step may not leave its group, wherever to; None: it may."""
    if not plan.whole.groups:
        return "its saga has no groups to go on with: write `with flow.group(…):` around its steps"
    if node.name in plan.by_name and leaves_prepared(plan, node.name):
        return (
            "what is prepared would be neither confirmed nor cancelled, so it cannot leave its "
            "group: raise Route before or behind the block of flow.two_phase"
        )
    return _not_alone(plan, node, "leave its group", "Route")


def unknown_group(route: str, plan: Plan, node: Node) -> str | None:
    """Why there is no group of that name to go on with; None: there is one."""
    groups = plan.whole.groups
    if route not in groups:
        return f"there is no group {route!r} to go on with; there are {', '.join(groups)}"
    if node.routes and route not in node.routes:
        said = ", ".join(map(repr, node.routes))
        return f"it says that it goes on with {said}, and not with {route!r}: add that to routes="
    return None


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
