"""Questions: the open waits of a run, as people are asked who answer them with a signal.

Owns: which waits are questions, what is shown beside each, and which payload fields that takes.
Refuses to know: who may answer, and how an answer is typed.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from celeriac.machine import Frozen, PhaseStatus, RunStatus, as_visited
from celeriac.store import payloads
from celeriac.views.times import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from celeriac.machine import Node, PhaseState, Plan, Run


class Question(Frozen):
    """What a run asks: an open wait for a signal."""

    run_id: str
    saga: str
    step: str = Field(description="the wait; an answer names it")
    signal: str = Field(description="the signal that answers it")
    title: str = Field(description="in a few words; the signal's name if the saga gives none")
    summary: str = Field(description="in a sentence or two; empty if the saga gives none")
    about: dict[str, Any] = Field(description="what the saga shows beside it, by its label")
    payload: dict[str, Any] = Field(description="the JSON schema of an answer")
    not_by_starter: bool = Field(default=False, description="who started the run may not answer")
    started_by: str | None = Field(default=None, description="who started it, if that was said")
    since: datetime
    until: datetime | None = Field(description="when nobody need answer any more")


def question_fields(plan: Plan, run: Run) -> tuple[str, ...]:
    """The payload fields that the questions of a run need."""
    plan = as_visited(plan, run)
    shown = (each for node, _ in _open(plan, run) for each in node.args.values())
    return tuple(dict.fromkeys(f for each in shown for f in payloads.fields_of(each, run)))


def questions_of(plan: Plan, run: Run, fields: Mapping[str, str]) -> tuple[Question, ...]:
    """The questions of a run, the oldest first; what is shown is read from *fields*."""
    plan = as_visited(plan, run)
    found = [_question(plan, run, node, state, fields) for node, state in _open(plan, run)]
    return tuple(sorted(found, key=lambda question: question.since))


def _open(plan: Plan, run: Run) -> Iterator[tuple[Node, PhaseState]]:
    if run.status is not RunStatus.RUNNING:
        return
    for name, step in run.steps.open.items():
        node = plan.node(name)
        if step.do.state is PhaseStatus.OPEN and node.wait and node.wait.signal:
            yield node, step.do


def _question(
    plan: Plan, run: Run, node: Node, state: PhaseState, fields: Mapping[str, str]
) -> Question:
    wait = node.wait
    assert wait is not None
    assert wait.signal is not None  # or it is no question
    shown = {label: payloads.resolve(each, fields, run) for label, each in node.args.items()}
    return Question(
        run_id=run.id,
        saga=run.saga,
        step=node.name,
        signal=wait.signal,
        title=wait.title or wait.signal,
        summary=wait.summary,
        about={label: json.loads(text) for label, text in shown.items()},
        payload=plan.signals.get(wait.signal, {}),
        not_by_starter=wait.not_by_starter,
        started_by=run.started_by or None,
        since=moment(state.at),
        until=moment(state.limit) if state.limit else None,
    )
