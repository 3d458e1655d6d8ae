"""A run as people are shown it: its state, made of what is stored.

Owns: which parts of a run are shown, and which payload fields that takes.  Refuses to know: where
they are read, and how they are worded or printed.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from celeriac.failure import Failure
from celeriac.machine import (
    PHASES,
    WAITS,
    EventKind,
    Frozen,
    PhaseStatus,
    RunStatus,
    StepStatus,
    as_visited,
    id_of_child,
    may_begin_anew,
    past_pivot,
    shown_step,
)
from celeriac.store import payloads
from celeriac.views.elements import elements, shown_status, shown_steps
from celeriac.views.next_attempts import NextAttempt, next_attempt_of
from celeriac.views.progress import Progress, progress_of
from celeriac.views.times import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from celeriac.machine import Event, Phase, Plan, Run, StepState


#: What a step waits for that has asked somebody outside; no signal can be called so.
RESULT = "a result"


class StepView(Frozen):
    """A step as people are shown it."""

    name: str
    task: str = Field(description="of Celery; empty for a step that waits, which no worker runs")
    status: StepStatus
    attempts: int = Field(description="attempts of the step that were claimed")
    undo_attempts: int = Field(description="attempts of its compensation that were claimed")
    failure: Failure | None = Field(default=None, description="how the newest attempt failed")
    undo_failure: Failure | None = Field(default=None, description="how its undo failed")
    blocked: str | None = Field(
        default=None, description="why nobody can run it, or its message cannot be sent"
    )
    asks: bool = Field(
        default=False, description="the run waits for an operator to say what became of it"
    )
    because: str | None = Field(
        default=None,
        description="why it is skipped: why it never started, or what it said itself",
    )
    choice: str | None = Field(
        default=None, description="what it answered, if others are guarded by that"
    )
    confirm_attempts: int = Field(default=0, description="attempts of its confirm, claimed")
    confirm_failure: Failure | None = Field(default=None, description="how its confirm failed")
    undone_by: str | None = Field(
        default=None, description="what undoes it, together with others, as one"
    )
    waits_for: str | None = Field(
        default=None,
        description="the signal it waits for, while it does; `time` for a time alone; `a result` "
        "if its result comes from outside",
    )
    waits_until: datetime | None = Field(default=None, description="when its wait is over")
    child: str | None = Field(
        default=None, description="the run that is its newest attempt, if its attempts are runs"
    )
    progress: Progress | None = Field(
        default=None, description="how far the attempt says that it is, while it is at work"
    )
    elements: dict[str, int] | None = Field(
        default=None, description="of a map: how many elements are in which status"
    )
    next_attempt: NextAttempt | None = Field(
        default=None, description="the attempt that it waits for, between two"
    )


class Hold(Frozen):
    """Who holds a run, since when and why."""

    since: datetime
    by: str
    reason: str


class RunState(Frozen):
    """A snapshot of a run as people are shown it: what `run.state()` returns."""

    id: str
    saga: str
    version: int = Field(description="of the saga's definition")
    plan: str = Field(default="", description="fingerprint of the plan that it follows")
    status: RunStatus
    started_at: datetime
    deadline: datetime | None
    changed_at: datetime
    ended_at: datetime | None
    tags: dict[str, str]
    steps: tuple[StepView, ...]
    why: str | None = Field(
        description="failed, cancelled, deadline or rewound: why it is or was undone"
    )
    reason: str | None = Field(description="what an operator said")
    failure: Failure | None = Field(description="how the step failed that ended the run")
    failed_step: str | None = Field(default=None, description="the step that ended the run")
    owed: tuple[str, ...] = Field(description="steps that an operator must see to")
    hold: Hold | None = Field(default=None, description="who paused it, while it is paused")
    run_version: int = Field(
        default=0, description="how many events made this state; a command's `if_version`"
    )
    answer: Any = Field(default=None, description="what the step that failed says to the caller")
    started_by: str | None = Field(default=None, description="who asked for it, if that was said")
    parent: str | None = Field(default=None, description="the run that it is a child of")
    parent_step: str | None = Field(default=None, description="the step of that which it is")
    tries: int = Field(default=1, description="how often it began, this time included")
    most_tries: int = Field(default=1, description="how often it may begin, as its saga says")
    begins_at: datetime | None = Field(default=None, description="when it begins anew, if it waits")
    begins_anew: bool = Field(default=False, description="it will, once what it did is undone")
    rewinds: int = Field(default=0, description="how often it went forward again from a step")
    rewinds_to: str | None = Field(
        default=None, description="the step that it goes back to, and forward again from there"
    )
    only_forward: bool = Field(
        default=False, description="it is past its pivot, so that a cancel is refused"
    )
    origin: str | None = Field(
        default=None, description="of a fork: the run whose results it has taken over"
    )

    @property
    def asking(self) -> bool:
        """True if the run waits for an operator to say whether a step took effect."""
        return any(step.asks for step in self.steps)

    @property
    def codes(self) -> frozenset[str]:
        """The error codes of the step that ended the run, and of the compensations it owes."""
        steps = [step for step in self.steps if step.name in self.owed]
        owed = [step.undo_failure or step.confirm_failure for step in steps]
        return frozenset(f.code for f in (self.failure, *owed) if f and f.code)

    def step(self, name: str) -> StepView:
        """The step of this name; raises KeyError, with the names there are."""
        found = {step.name: step for step in self.steps}
        if name not in found:
            raise KeyError(f"no step {name!r}; there are {', '.join(found)}")
        return found[name]


def failure_fields(steps: Iterable[str]) -> tuple[str, ...]:
    """The payload fields that tell how these steps and their run failed."""
    return (*(payloads.error_field(step, p) for step in steps for p in PHASES), payloads.CAUSE)


def words_fields(run: Run, steps: Iterable[str]) -> tuple[str, ...]:
    """The payload fields that tell what these steps said when they skipped themselves."""
    return tuple(payloads.words_field(name) for name in steps if _skipped(run.step(name)))


def _skipped(step: StepState) -> bool:
    return step.do.state is PhaseStatus.SKIPPED and step.do.attempt > 0


def state_of(
    plan: Plan,
    run: Run,
    fields: Mapping[str, str] | None = None,
    hold: Hold | None = None,
    answer: Callable[[str], Any] = json.loads,
) -> RunState:
    """The state of a run; failures and the answer in it are those that *fields* tell.

    *answer* makes a value of the answer's JSON text.
    """
    plan, fields = as_visited(plan, run), fields or {}
    # A try before this one may owe something of a group that this one has not visited yet.
    owed = (name for name in run.owed if plan.find(name) is None)
    return RunState(
        id=run.id,
        saga=run.saga,
        version=plan.version,
        plan=run.plan,
        status=run.shown,
        started_at=moment(run.started_at),
        deadline=moment(run.deadline) if run.deadline else None,
        changed_at=moment(run.changed_at),
        ended_at=moment(run.ended_at) if run.ended_at else None,
        tags=dict(run.tags),
        steps=tuple(
            _view(plan, _owing(run, name), name, fields)
            for name in dict.fromkeys([*shown_steps(plan, run), *owed])
        ),
        why=run.why or None,
        reason=run.reason or None,
        origin=run.origin or None,
        started_by=run.started_by or None,
        # What an operator has seen to is no failure of the run any more.
        failure=payloads.load_failure(fields.get(payloads.CAUSE)) if _failed(run) else None,
        failed_step=run.failed_step or None,
        # A confirm is owed under the name of its step, which it is shown with.
        owed=tuple(_told_with(plan, _owing(run, name), name) for name in run.owed),
        hold=hold,
        run_version=run.version,
        answer=answer_of(run, fields, answer),
        parent=run.parent.run if run.parent else None,
        parent_step=run.parent.step if run.parent else None,
        tries=run.tries,
        most_tries=1 + plan.retries,
        begins_at=moment(run.begins_at) if run.begins_at else None,
        only_forward=past_pivot(plan, run) and not run.why,
        begins_anew=not run.status.at_rest and may_begin_anew(plan, run),
        rewinds=run.rewinds,
        rewinds_to=run.rewinds_to or None,
    )


def answer_fields(run: Run) -> tuple[str, ...]:
    """The payload fields that the answer to the caller takes; none if there is none."""
    return (payloads.answer_field(run.failed_step),) if run.why == "failed" else ()


def answer_of(run: Run, fields: Mapping[str, str], decode: Callable[[str], Any]) -> Any:
    """What the step that failed has to say to the caller; None if it said nothing."""
    text = next((fields[name] for name in answer_fields(run) if name in fields), payloads.NULL)
    return None if text == payloads.NULL else decode(text)


def hold_of(history: Sequence[Event]) -> Hold | None:
    """Who holds a run, by its history; None if it was resumed."""
    told = [each for each in history if each.kind in (EventKind.PAUSED, EventKind.RESUMED)]
    if not told or told[-1].kind is EventKind.RESUMED:
        return None
    data = told[-1].data
    return Hold(since=told[-1].time, by=data.get("by", ""), reason=data.get("reason", ""))


def _failed(run: Run) -> bool:
    return bool(run.why or run.failed_step)


def _owing(run: Run, name: str) -> Run:
    """The try in which a step is shown: the newest, unless an earlier one owes its undo."""
    if not run.earlier or name in run.owed_now:
        return run
    return next((each for each in run.earlier if name in each.owed), run)


def _told_with(plan: Plan, run: Run, name: str) -> str:
    return as_visited(plan, run).node(name).confirms or name


def _view(plan: Plan, run: Run, name: str, fields: Mapping[str, str]) -> StepView:
    plan, step = as_visited(plan, run), run.step(name)
    if _is_plain(plan, run, name, step) and payloads.error_field(name, "do") not in fields:
        return _plain_view(name, plan.node(name).task, step.do.state, step.do.attempt)
    confirmed_by = plan.confirmed_by.get(name, "")
    confirm = run.step(confirmed_by)
    failures = [_newest(fields, name, phase, step) for phase in PHASES]
    return StepView(
        name=name,
        task=plan.node(name).task,
        status=shown_status(plan, run, name),
        attempts=step.do.attempt,
        undo_attempts=step.undo.attempt,
        failure=failures[0],
        undo_failure=failures[1],
        blocked=step.blocked or confirm.blocked or None,
        asks=_asks(plan, run, name),
        because=_said(run, name, fields) or _because(plan, run, name),
        choice=step.choice or None,
        confirm_attempts=confirm.do.attempt,
        confirm_failure=_newest(fields, confirmed_by, "do", confirm) if confirmed_by else None,
        undone_by=plan.scope_of.get(name),
        elements=_elements(run, name),
        progress=progress_of(run, name, fields),
        child=id_of_child(run, name, step.do.child) if step.do.child else None,
        next_attempt=next_attempt_of(plan, run, name),
        **_awaited(plan, run, name),
    )


def _is_plain(plan: Plan, run: Run, name: str, step: StepState) -> bool:
    """True if there is nothing to tell of a step but that it has its turn still, or is done.

    That is so of most steps of most runs, and a list shows some hundred of them.
    """
    if run.why or run.ended_by or run.steps.maps or plan.confirmed_by or plan.scope_of:
        return False
    own = step.do.state is PhaseStatus.IDLE or step.do.state is PhaseStatus.DONE
    odd = step.blocked or step.choice or step.inherited or step.do.child
    if not own or odd or step.undo.state is not PhaseStatus.IDLE or step.undo.attempt:
        return False
    node = plan.node(name)
    return not (node.guards or node.wait or node.child or node.covers)


@lru_cache(maxsize=4096)
def _plain_view(name: str, task: str, state: PhaseStatus, attempts: int) -> StepView:
    done = state is PhaseStatus.DONE
    status = StepStatus.COMPLETED if done else StepStatus.PENDING
    return StepView(name=name, task=task, status=status, attempts=attempts, undo_attempts=0)


def _asks(plan: Plan, run: Run, name: str) -> bool:
    """True if nobody knows what a step did; what became of a run that is a step, that run says."""
    node = plan.node(name)
    asks = node.on_unknown == "operator" and node.child is None
    return asks and name in run.owed and not run.why


def _elements(run: Run, name: str) -> dict[str, int] | None:
    found = elements(run, name)
    return None if found is None else {status.value: many for status, many in found.items()}


def _awaited(plan: Plan, run: Run, name: str) -> dict[str, Any]:
    """What a step waits for, and until when, while it does."""
    direction, wait = run.step(name).do, plan.node(name).wait
    if direction.state not in WAITS:
        return {}
    until = moment(direction.limit) if direction.limit else None
    what = (wait.signal or "time") if wait else RESULT
    return {"waits_for": what, "waits_until": until}


def _newest(fields: Mapping[str, str], name: str, phase: Phase, step: StepState) -> Failure | None:
    """How the newest attempt failed: one that succeeded leaves nothing to tell of those before."""
    if step.direction(phase).state is PhaseStatus.DONE:
        return None
    return payloads.load_failure(fields.get(payloads.error_field(name, phase)))


def _said(run: Run, name: str, fields: Mapping[str, str]) -> str | None:
    """What a step said when it skipped itself."""
    text = fields.get(payloads.words_field(name)) if _skipped(run.step(name)) else None
    return json.loads(text) if text else None


def _because(plan: Plan, run: Run, name: str) -> str | None:
    """Why a step never started, and never will."""
    if run.step(name).inherited:
        return f"its result is that of {run.origin}"
    unmet = _unmet(plan, run, name)
    skipped, waits = run.step(name).do.state is PhaseStatus.SKIPPED, plan.node(name).wait
    if skipped and (unmet or not waits):
        return unmet
    begun = run.step(name).do.attempt and not waits  # one that was open, nobody was at
    if begun or shown_step(plan, run, name) is not StepStatus.SKIPPED:
        return None
    if run.ended_by:
        return f"{run.ended_by} ended the run"
    return {"failed": f"{run.failed_step} failed", "deadline": "the deadline passed"}.get(
        run.why, run.why or None
    )


def _unmet(plan: Plan, run: Run, name: str) -> str | None:
    """Which answer a step was guarded out by; None: it was not."""
    for guard in plan.node(name).guards:
        choice = run.step(guard.step).choice
        if not guard.holds(choice):
            if not (guard.among or guard.but):
                return f"{guard.step} went on with group {choice}"
            return f"{guard.step} answered {choice}" if choice else f"{guard.step} was not asked"
    return None
