"""What must hold of every claim: each in its turn, through its gates, and before it expires.

Owns: the laws I8, I16, I23 and I28, as far as one history can tell.  Refuses to know: how many are
inside of a gate (`places`), and what attempts report (`laws`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.conditions import past_pivot
from celeriac.machine.events import EventKind
from celeriac.machine.rewinding import standing
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from tests.proof.findings import Finding, attempt, found_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from celeriac.machine.runs import Run
    from tests.proof.records import Frame, Record

_E = EventKind
_PASSED = (PhaseStatus.DONE, PhaseStatus.SKIPPED)
_SETTLED = (PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.WAIVED)


def in_order(record: Record) -> Iterator[Finding]:
    """I8: each step after those it depends on, each undo after those that come before it."""
    for frame in record.frames:
        event, before = frame.event, frame.was
        if before is None or event.kind is _E.STARTED:
            continue
        plan = record.plan_of(frame)
        if event.kind is _E.COMPENSATION_STARTED and past_pivot(plan, before):
            what = f"it turned round past its pivot {plan.pivot!r}"
            yield found_at(frame, "I8", what, plan.pivot or "")
        if event.kind is _E.CLAIMED and before.paused:
            what = f"{attempt(frame)} was claimed while an operator held the run"
            yield found_at(frame, "I8", what)
        if event.kind is _E.CLAIMED and event.step in plan.by_name:
            check = _forward if event.phase == "do" else _backward
            for what, steps in check(record, frame, before):
                yield found_at(
                    frame, "I8", f"{attempt(frame)} was claimed {what}", event.step, *steps
                )


def _forward(record: Record, frame: Frame, before: Run) -> Iterator[tuple[str, Sequence[str]]]:
    if before.status is not RunStatus.RUNNING:
        yield f"while the run was {before.status}", ()
    node = record.plan_of(frame).by_name[frame.event.step]
    missing = [name for name in node.after if before.step(name).do.state not in _PASSED]
    if missing:
        yield f"before {missing[0]!r} had completed", missing
    if not all(guard.holds(before.step(guard.step).choice) for guard in node.guards):
        yield "though nobody had chosen it", ()


def _backward(record: Record, frame: Frame, before: Run) -> Iterator[tuple[str, Sequence[str]]]:
    plan, name = record.plan_of(frame), frame.event.step
    mine = plan.by_name[name].covers or (name,)
    since = _first_started(before, mine)
    if before.status is not RunStatus.COMPENSATING:
        yield f"while the run was {before.status}", ()
    if not since:
        yield "though it never started", ()
    stands = standing(plan, before.rewinds_to) if before.rewinds_to else frozenset()
    if stands.intersection(mine):
        yield "though it was to stand", ()
    if plan.compensation_order in ("parallel", "graph"):
        return
    sign = 1 if plan.compensation_order == "reverse" else -1
    first = [
        other
        for other, step in before.steps.items()
        if other not in stands and other not in mine
        if (step.may_have_effect or step.do.state is PhaseStatus.DONE)
        and (undoer := plan.undoer_of(other))
        and before.step(undoer).undo.state not in _SETTLED
        and sign * _first_started(before, plan.node(undoer).covers or (other,)) > sign * since
    ]
    if first:
        yield f"before {first[0]!r} was undone", first


def _first_started(run: Run, names: Iterable[str]) -> int:
    return min((run.step(name).order for name in names if run.step(name).order), default=0)


def gated(record: Record) -> Iterator[Finding]:
    """I23: an attempt is claimed through all the gates of its step, and waits at none then."""
    for frame in record.frames:
        event, was = frame.event, frame.was
        if event.kind is not _E.CLAIMED or was is None:
            continue
        node = record.plan_of(frame).find(event.step)
        needed = len(node.gates) if node and event.phase == "do" else 0
        if event.phase == "do" and len(event.data.get("gates", ())) != needed:
            yield found_at(frame, "I23", f"{attempt(frame)} was claimed past one of its gates")
        needed = 0 if was.entered else len(record.plan_of(frame).gates)
        if was is frame.before and len(event.data.get("enters", ())) != needed:
            yield found_at(frame, "I23", f"{attempt(frame)} was claimed past a gate of its run")
        if frame.became.step(event.step).line:
            yield found_at(frame, "I23", f"{attempt(frame)} was claimed, and waits in line")


def never_after_it_expired(record: Record) -> Iterator[Finding]:
    """I28: what has expired had no attempt before, and has none afterwards."""
    began: set[tuple[int, str]] = set()
    over: set[tuple[int, str]] = set()
    for frame in record.frames:
        event, at = frame.event, (frame.epoch, frame.event.step)
        if event.kind is _E.STARTED:
            began, over = set(), set()
        if event.kind is _E.CLAIMED and event.phase == "do":
            if at in over:
                yield found_at(frame, "I28", f"{attempt(frame)} was claimed after it had expired")
            began.add(at)
        if event.kind is _E.FAILED and event.data.get("why") == "expired":
            if at in began:
                yield found_at(frame, "I28", f"{event.step!r} expired, and had been taken up")
            over.add(at)
        if event.kind is _E.RETRIED:
            over.discard(at)  # an operator lets it be taken up all the same
