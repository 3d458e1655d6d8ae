"""What a transition writes: one commit, made of a decision.

Owns: which leases are taken and given back, when a run may be removed, and the failures that no
attempt could report.  Refuses to know: how a commit is written, and when it is tried.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from celeriac.failure import Failure
from celeriac.machine import (
    EXPIRED,
    MAY_HAVE_JOINED,
    NO_RESULT,
    NO_SIGNAL,
    TOO_MANY_STEPS,
    EventKind,
    PhaseStatus,
    RunStatus,
    as_visited,
    began_once,
    epoch_of,
)
from celeriac.observing import too_slow
from celeriac.store import Change, Lease, payloads

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from celeriac.machine import Event, Plan, Run, Transition
    from celeriac.settings import Terms
    from celeriac.store import Snapshot


class Conflict(Exception):
    """Somebody else committed first: the command is to be decided anew."""


class Decided(NamedTuple):
    """A command that was decided and committed."""

    plan: Plan
    transition: Transition
    now: int  # ms, the store's clock


class LeaseGuard(NamedTuple):
    """A lease that must still expire when it did, or the commit fails: its worker renewed it."""

    lease: Lease
    expires_at: int  # ms


class Arrival(NamedTuple):
    """Where the message of a claim came from: what was sent before it is not in that queue."""

    queue: str
    sent_at: int  # ms


def change_of(
    plan: Plan,
    found: Snapshot,
    decided: Transition,
    fields: Mapping[str, str],
    terms: Terms,
    *,
    guard: LeaseGuard | None = None,
    arrival: Arrival | None = None,
) -> Change:
    """What to write for a transition of the run as it was *found*."""
    before, run = found.run, decided.run
    epoch = decided.events[0].data.get("try") if decided.events else None
    about = before.of_epoch(epoch) if before and epoch else None
    if about:  # what is reported of an earlier try is kept with that
        fields = {payloads.field_of(about, name): text for name, text in fields.items()}
    had, has = leases_of(before), leases_of(run)
    started = any(event.kind is EventKind.STARTED for event in decided.events)
    return Change(
        before=before,
        run=run,
        events=decided.events,
        wake_at=decided.wake_at,
        # Whatever was open has its node in the plan of the run as it was.
        fields=with_failures(as_visited(plan, before), decided.events, fields, before),
        leases=dict.fromkeys(has - had, found.now + terms.lease),
        released=_in_both_forms(had - has) if began_once(run) else tuple(had - has),
        lapsed=guard,
        plan=plan.whole if started else None,
        fresh=started and before is not None,
        claimed=arrival,
        expire_at=removable_at(plan, run, terms),
    )


def came_before(events: Sequence[Event], run: Run) -> dict[str, str]:
    """The payloads that become results, or failures, since their time has come: from, to.

    A wait has taken a signal, or an attempt has ended as was said outside before.  *run* is as it
    was before these events: what happens in a try that begins now is kept with that.
    """
    found, epoch = {}, run.epoch
    for event in events:
        epoch += event.kind in (EventKind.BEGAN_ANEW, EventKind.REWOUND)
        completed = event.kind is EventKind.COMPLETED
        to = payloads.output_field(event.step) if completed else _failure_field(event.step)
        if completed and "key" in event.data:
            to = to if epoch == run.epoch else payloads.in_try(to, epoch)
            found[payloads.signal_field(event.data["key"])] = to
        elif event.data.get("kept"):
            found[payloads.kept_field(event.step)] = to
    return found


def _failure_field(step: str) -> str:
    return payloads.error_field(step, "do")


def removable_at(plan: Plan, run: Run, terms: Terms) -> int | None:
    """When a run may be removed, in ms; None: not as it stands now."""
    # What is owed waits for an operator, however long that takes.
    if not run.status.at_rest or run.status is RunStatus.FAILED:
        return None
    return run.ended_at + (plan.retention if plan.retention is not None else terms.retention)


def _in_both_forms(leases: Collection[Lease]) -> tuple[Lease, ...]:
    """Also as version 0.1.0 took them, which knew of no second try."""
    return tuple(dict.fromkeys((*leases, *(lease.as_before for lease in leases))))


def leases_of(run: Run | None) -> set[Lease]:
    """The attempts at work, each of which has its lease in the wake index."""
    if run is None or run.status.at_rest:
        return set()
    found: set[Lease] = set()
    for name, step in run.steps.open.items():
        # An attempt that is another run needs no lease: that run comes to rest, and says so.
        if step.do.state is PhaseStatus.RUNNING and not step.do.child:
            found.add(Lease(run.id, name, "do", step.do.attempt, epoch_of(run, name)))
        if step.undo.state is PhaseStatus.RUNNING and not step.undo.child:
            found.add(Lease(run.id, name, "undo", step.undo.attempt, epoch_of(run, name)))
    for earlier in run.still_undone:
        found |= leases_of(earlier)
    return found


def with_failures(
    plan: Plan, events: Sequence[Event], fields: Mapping[str, str], before: Run | None
) -> Mapping[str, str]:
    """The payloads of a change, with what nobody could report: failures, and defaults of waits.

    *before* is the run as it was before the *events*.
    """
    known = {**_that_belong(events, fields), **_defaults(plan, events)}
    return _with_cause(plan, events, known, before)


def _that_belong(events: Sequence[Event], fields: Mapping[str, str]) -> Mapping[str, str]:
    """The payloads without results of steps that nothing happens to: a result never changes (I15).

    A verb that names a step may turn out to be about its confirm, which has none.
    """
    if any(event.kind is EventKind.STARTED for event in events):
        return fields  # what a fork inherits
    steps, about = payloads.step_of_output, {event.step for event in events}
    return {name: text for name, text in fields.items() if not steps(name) or steps(name) in about}


def _defaults(plan: Plan, events: Sequence[Event]) -> dict[str, str]:
    """What follows from signals that did not come: results in their place, and failures."""
    found = {}
    for event in events:
        wait = plan.node(event.step).wait if event.data.get("why") == NO_SIGNAL else None
        if wait is None:
            continue
        if event.kind is EventKind.COMPLETED:
            found[payloads.output_field(event.step)] = json.dumps(wait.default)
        else:
            failure = Failure(
                type="WaitTimedOut",
                message=f"no signal {wait.signal!r} came in {(wait.timeout or 0) / 1000:g} s",
                code="timeout",
                effect=False,
            )
            text = failure.model_dump_json(exclude_none=True)
            found[payloads.error_field(event.step, "do")] = text
    return found


def _with_cause(
    plan: Plan, events: Sequence[Event], fields: Mapping[str, str], before: Run | None
) -> Mapping[str, str]:
    """Add the failures that no attempt could report, and the one that turned the run round."""
    extra = dict(fields)
    for event in events:
        if event.kind is EventKind.LOST and event.data.get("why") == "timeout":
            failure = Failure(
                type="AttemptTimedOut",
                message=f"{too_slow(event.data.get('timeout'))}; nobody knows its outcome",
                code="timeout",
            )
            field = payloads.error_field(event.step, event.phase)
            epoch = event.data.get("try")
            about = before.of_epoch(epoch) if before and epoch else None
            field = payloads.field_of(about, field) if about else field
            extra[field] = failure.model_dump_json(exclude_none=True)
        if event.kind is EventKind.LOST and event.data.get("why") == NO_RESULT:
            extra[payloads.error_field(event.step, "do")] = _NO_RESULT
        if event.kind is EventKind.FAILED and event.data.get("why") == EXPIRED:
            extra[payloads.error_field(event.step, "do")] = _expired(plan, event.step)
        if event.kind is EventKind.FAILED and event.data.get("code") == MAY_HAVE_JOINED:
            extra[payloads.error_field(event.step, "do")] = _MAY_HAVE_JOINED
        culprit = event.data.get("culprit")
        if culprit and event.data.get("code") == TOO_MANY_STEPS:
            extra[payloads.error_field(culprit, "do")] = _too_many(plan)
        if event.kind is EventKind.COMPENSATION_STARTED or culprit:
            cause = _cause(event, extra)
            if cause:
                extra[payloads.CAUSE] = cause
    return extra


_NO_RESULT = Failure(
    type="NoResult",
    message="no result came from outside in the time that the step had given; nobody knows its "
    "outcome",
    code="timeout",
).model_dump_json(exclude_none=True)

_MAY_HAVE_JOINED = Failure(
    type="Skip",
    message="it does not join, but an attempt before may have prepared what nobody would confirm "
    "or cancel: so all is cancelled",
    code=MAY_HAVE_JOINED,
).model_dump_json(exclude_none=True)


def _expired(plan: Plan, step: str) -> str:
    seconds = (plan.node(step).expires or 0) / 1000
    return Failure(
        type="StepExpired",
        message=f"no worker took it up in {seconds:g} s, so it had no effect: are there enough "
        "workers for its queue?",
        code=EXPIRED,
        effect=False,
    ).model_dump_json(exclude_none=True)


def _too_many(plan: Plan) -> str:
    return Failure(
        type="TooManySteps",
        message=f"the run may start {plan.most_steps} steps and no more: raise max_steps of the "
        f"saga {plan.saga}, if it needs them",
        code="max_steps",
        effect=False,
    ).model_dump_json(exclude_none=True)


def _cause(event: Event, fields: Mapping[str, str]) -> str | None:
    if event.data.get("why") == "deadline":
        return Failure(
            type="DeadlinePassed",
            message="the run was not done at its deadline",
            code="deadline",
        ).model_dump_json(exclude_none=True)
    return fields.get(payloads.error_field(event.data.get("culprit", ""), "do"))
