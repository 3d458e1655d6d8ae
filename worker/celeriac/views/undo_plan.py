"""What a cancel or a rewind would undo, before anybody gives it: the state machine's own answer.

Owns: the preview.  Refuses to know: the rules, which it asks for (`transitions`, `schedule`), and
the store.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from celeriac.errors import CommandRefused
from celeriac.machine import (
    Cancel,
    Frozen,
    PhaseStatus,
    Rewind,
    RunStatus,
    as_visited,
    id_of_child,
    in_undo_order,
    standing,
    transition,
)
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.machine import Node, Plan, Run, StepState


class UndoStep(Frozen):
    """What a cancel would do about one step."""

    step: str
    task: str | None = Field(description="the compensation; None: there is none")
    inputs: dict[str, Any] = Field(
        default_factory=dict, description="what it would be given, by parameter; a payload"
    )
    certain: bool = Field(
        description="False: an attempt is at work, or its outcome is unknown, so it may be nothing"
    )
    child: str | None = Field(
        default=None, description="the run that would be undone, if attempts of it are runs"
    )
    stays: str | None = Field(default=None, description="why its effect would stay")
    covers: tuple[str, ...] = Field(
        default=(), description="the steps that are undone by this one, as far as they were begun"
    )


class UndoPlan(Frozen):
    """What would be undone of a run, in which order: what `run.undo_plan()` returns."""

    id: str
    status: RunStatus
    refused: str | None = Field(description="why nothing can be undone; None: it can")
    steps: tuple[UndoStep, ...] = Field(description="in the order in which they would be undone")

    @property
    def undone(self) -> tuple[UndoStep, ...]:
        """The steps whose compensation would be sent."""
        return tuple(step for step in self.steps if step.stays is None)

    @property
    def staying(self) -> tuple[UndoStep, ...]:
        """The steps whose effect would stay."""
        return tuple(step for step in self.steps if step.stays is not None)


def undo_fields(plan: Plan, run: Run) -> tuple[str, ...]:
    """The payload fields that compensations of a run may be given."""
    plan = as_visited(plan, run)
    several = (plan.node(name) for name, step in run.steps.items() if _touched(step))
    return tuple({name: None for node in several for name in payloads.wanted(node, "undo", run)})


def undo_plan_of(
    plan: Plan, run: Run, fields: Mapping[str, str], now: int, to: str | None = None
) -> UndoPlan:
    """Return what a cancel at *now* (ms) would undo, in which order, and what would stay.

    With a step *to*, what a rewind to it would: what comes before it is none of that.
    """
    plan = as_visited(plan, run)
    try:
        turned = _turned(plan, run, now, to)
    except CommandRefused as refused:
        return UndoPlan(id=run.id, status=run.shown, refused=str(refused), steps=())
    plan = as_visited(plan, turned)
    named = ((name, step) for name, step in turned.steps.items() if name not in turned.steps.maps)
    touched = [name for name, step in named if _touched(step)]
    names = list(dict.fromkeys(plan.scope_of.get(name, name) for name in touched))
    steps = [
        _undo_step(plan.node(name), turned, fields) for name in in_undo_order(plan, turned, names)
    ]
    return UndoPlan(id=run.id, status=run.shown, refused=None, steps=tuple(steps))


def _turned(plan: Plan, run: Run, now: int, to: str | None) -> Run:
    """The run as it would be, without the steps that stand."""
    turned = transition(plan, run, Rewind(to, "preview") if to else Cancel("preview"), now).run
    if to is None:
        return turned
    if not turned.rewinds_to:  # there is nothing to undo, and it would go forward at once
        return replace(run, steps=run.steps.parted(standing(plan, to))[1])
    return replace(turned, steps=turned.steps.parted(standing(plan, to))[1])


def _touched(step: StepState) -> bool:
    """True if an attempt took effect, may have, or still may."""
    return step.may_have_effect or step.do.state in (PhaseStatus.DONE, PhaseStatus.RUNNING)


_STAYS = {
    PhaseStatus.DONE: "it is undone already",
    PhaseStatus.WAIVED: "its undo was waived",
    PhaseStatus.FAILED: "its undo failed, and is owed: retry or waive it",
}


def _undo_step(node: Node, run: Run, fields: Mapping[str, str]) -> UndoStep:
    step = run.step(node.name)
    done = [each for each in node.covers or (node.name,) if _touched(run.step(each))]
    stays = _STAYS.get(step.undo.state) if node.undo else "it has no compensation"
    return UndoStep(
        step=node.name,
        task=node.undo.task or None if node.undo else None,
        child=id_of_child(run, node.name, step.do.child) if step.do.child else None,
        inputs=_inputs(node, run, fields) if stays is None else {},
        certain=any(run.step(each).do.state is PhaseStatus.DONE for each in done),
        stays=stays,
        covers=tuple(done) if node.covers else (),
    )


def _inputs(node: Node, run: Run, fields: Mapping[str, str]) -> dict[str, Any]:
    texts = payloads.arguments(node, "undo", fields, run)
    return {name: json.loads(text) for name, text in texts.items()}
