"""What a body may say in place of a result, and who may not.

Owns: what Skip and Done leave, when a step may raise them, and values of no known type.  Refuses to
know: how a body is called, and what follows from an answer (`machine`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.authoring import ANYTHING, accepts_none, write
from celeriac.errors import Done, OutputInvalid, Skip

if TYPE_CHECKING:
    from celeriac.authoring import Shape
    from celeriac.machine import Node, Phase, Plan


@dataclass(frozen=True, slots=True)
class Ends:
    """The run goes no further, and this is its result, as JSON text."""

    result: str


#: What an attempt that succeeded leaves: JSON text, nothing if there was nothing to do, or the end.
Output = str | Ends | None
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


def as_anything(result: Any) -> str:
    """Return the result of a run as JSON text: nothing is known of its type.  OutputInvalid."""
    return ANYTHING.dump(result, "the result given to Done", OutputInvalid)


def as_answer(answer: Any) -> str:
    """Return an answer as plain JSON, whatever it was made of; raise OutputInvalid."""
    return write(ANYTHING.adapter, answer, "the answer of Abort", OutputInvalid)
