"""What a body may say in place of a result, and who may not.

Owns: when a step may skip itself.  Refuses to know: how a body is called, and what is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.authoring import accepts_none

if TYPE_CHECKING:
    from celeriac.authoring import Shape
    from celeriac.machine import Node, Phase

#: What an attempt that succeeded leaves: JSON text, or nothing if there was nothing to do.
Output = str | None


def no_skip(node: Node, phase: Phase, returns: Shape | None) -> str | None:
    """Why a body may not raise Skip; None: it may.  *returns*: a shape that promises its result."""
    if phase == "undo":
        return "a compensation of nothing succeeds: return instead of raising Skip"
    if node.choice is not None:
        return "a condition has to answer, so it cannot raise Skip"
    if returns is not None and not accepts_none(returns.returns):
        return "raises Skip, so its result may be None: annotate it so, … | None"
    return None
