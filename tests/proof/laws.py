"""What must hold of every run, whatever happened to it: each law over one record.

Owns: the laws of docs/invariants.md (I3 to I9, I11, I14, L3, L4), as far as a run's history, its
state and the ledger can tell, and the list of all.  Refuses to know: how records are read
(`records`), effects (`effects`), the indexes of the store (`indexes`), and how a finding is told
(`violations`).

Where a law could be read off the state, it is worked out from the events instead: the state was
made by the code that is on trial.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from celeriac.machine import Phase, RetryRule
from celeriac.machine.conditions import past_pivot
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from tests.proof.effects import net_effects, one_effect, outputs_stay
from tests.proof.findings import Finding, attempt, found_at
from tests.proof.records import EFFECTS, step_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from celeriac.machine.events import Event
    from celeriac.machine.runs import Run
    from tests.proof.records import Frame, Life, Record

_E = EventKind
_ENDS = (_E.COMPLETED, _E.FAILED, _E.LOST)
_ONCE = (_E.CLAIMED, _E.COMPLETED, _E.FAILED, _E.LOST, _E.LATE)
_PASSED = (PhaseStatus.DONE, PhaseStatus.SKIPPED)
_SETTLED = (PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.WAIVED)

PhaseState = tuple[str, Phase]


def findings(record: Record, silent: Collection[str] = ()) -> Iterator[Finding]:
    """Everything that is wrong with a run; *silent* names steps that keep no ledger."""
    for law in LAWS:
        yield from law(record)
    yield from net_effects(record, silent)


# --- attempts (I3, I4, I11, L3) ------------------------------------------------------------------


def one_claim(record: Record) -> Iterator[Finding]:
    """I3: one live claim for each step and direction, and numbers that are taken once."""
    for frame, held, newest in _claims(record):
        event, direction = frame.event, (frame.event.step, frame.event.phase)
        if event.kind is not _E.CLAIMED:
            continue
        if direction in held:
            what = f"{attempt(frame)} was claimed while #{held[direction]} was at work"
            yield found_at(frame, "I3", what)
        if event.attempt != newest.get(direction, 0) + 1:
            what = f"{attempt(frame)} was claimed after #{newest.get(direction, 0)}"
            yield found_at(frame, "I3", what)


def _claims(
    record: Record,
) -> Iterator[tuple[Frame, dict[PhaseState, int], dict[PhaseState, int]]]:
    """Each event with what was claimed just before it: the live claims, and the newest numbers."""
    held: dict[PhaseState, int] = {}
    newest: dict[PhaseState, int] = {}
    for frame in record.frames:
        event, direction = frame.event, (frame.event.step, frame.event.phase)
        if event.kind is _E.STARTED:
            held, newest = {}, {}
        yield frame, held, newest
        if event.kind is _E.CLAIMED:
            held[direction] = newest[direction] = event.attempt
        elif event.kind is _E.POSTPONED and held.pop(direction, 0):
            newest[direction] = event.attempt  # of several in a row, only the newest is told
        elif event.kind in _ENDS and held.get(direction) == event.attempt:
            del held[direction]


def bodies_were_claimed(record: Record) -> Iterator[Finding]:
    """I3: a body runs once for each claim, and nothing takes effect without one."""
    claimed = Counter(
        (event.step, event.phase, event.attempt)
        for event in record.history
        if event.kind is _E.CLAIMED
    )
    known = {node.name for plan in record.plans.values() for node in plan.nodes}
    begun: Counter[tuple[str, Phase, int]] = Counter()
    for row in record.rows:
        (name, phase), kind = step_of(row), row.kind
        if name not in known or (kind != "begin" and kind not in EFFECTS):
            continue
        key = (name, phase, row.attempt)
        begun[key] += kind == "begin"
        what = f"{phase} {name!r} #{row.attempt}"
        if not claimed[key]:
            yield Finding("I3", f"{what} was at work, but never claimed", frozenset({name}))
        elif kind == "begin" and begun[key] == claimed[key] + 1:
            yield Finding("I3", f"{what} began twice", frozenset({name}))


def stale_reports(record: Record) -> Iterator[Finding]:
    """I4: a report of an attempt that was given up settles nothing but what it proves."""
    previous: Frame | None = None
    for frame, held, newest in _claims(record):
        event, direction = frame.event, (frame.event.step, frame.event.phase)
        late = event.kind is _E.LATE or bool(event.data.get("late"))
        if event.kind in _ENDS and not late and held.get(direction) != event.attempt:
            yield found_at(frame, "I4", f"{event.kind} of {attempt(frame)}, which holds no claim")
        if late and event.attempt > newest.get(direction, 0):
            yield found_at(
                frame, "I4", f"a late report of {attempt(frame)}, which was never claimed"
            )
        if event.kind is _E.LATE and _outcome(frame.before) != _outcome(frame.after):
            yield found_at(frame, "I4", f"the late report of {attempt(frame)} changed an outcome")
        if event.kind is _E.REOPENED and not _explains(previous, event):
            yield found_at(frame, "I4", f"{event.step!r} was reopened without a late report")
        previous = frame


def _outcome(run: Run | None) -> object:
    steps = run.steps if run else {}
    return run and (run.status, {name: (s.do.state, s.undo.state) for name, s in steps.items()})


def _explains(previous: Frame | None, event: Event) -> bool:
    """True if the event before says that an attempt of this step reported late."""
    told = previous and previous.event
    return bool(
        told
        and (told.step, told.phase, told.attempt) == (event.step, "do", event.attempt)
        and (told.kind is _E.LATE or told.data.get("late"))
    )


def told_once(record: Record) -> Iterator[Finding]:
    """I11: what is told twice is in the history once."""
    for life in record.lives():
        seen: set[tuple[object, ...]] = set()
        for frame in life.frames:
            event = frame.event
            told = (event.kind, event.step, event.phase, event.attempt)
            # An attempt that was recorded as a success cannot be late as well.
            ended = (_E.COMPLETED, *told[1:])
            if event.kind in _ONCE and (told in seen or (event.kind is _E.LATE and ended in seen)):
                yield found_at(frame, "I11", f"{event.kind} of {attempt(frame)} is there twice")
            seen.add(told)


def attempts_are_capped(record: Record) -> Iterator[Finding]:
    """L3: no step uses up more attempts than its policy has, unless an operator grants more."""
    for life in record.lives():
        used: Counter[PhaseState] = Counter()
        for frame in life.frames:
            event, direction = frame.event, (frame.event.step, frame.event.phase)
            if event.kind in (_E.RETRIED, _E.REOPENED, _E.COMPLETED):
                used[direction] = 0
            if event.kind is not _E.CLAIMED:
                continue
            used[direction] += 1
            node = life.plan.by_name.get(event.step)
            rule = node.policy(event.phase) if node else RetryRule()
            forward = event.phase == "do" and bool(
                frame.before and past_pivot(life.plan, frame.before)
            )
            if (
                rule.max_attempts is not None
                and used[direction] > rule.max_attempts
                and not forward
            ):
                what = f"{attempt(frame)} is attempt {used[direction]} of {rule.max_attempts}"
                yield found_at(frame, "L3", what)


# --- turning round (I5 to I8) --------------------------------------------------------------------


def turns_for_a_reason(record: Record) -> Iterator[Finding]:
    """I5: a run turns round because of what the state says, not because somebody raised."""
    previous: Frame | None = None
    for frame in record.frames:
        event, before = frame.event, frame.before
        if event.kind is _E.COMPENSATION_STARTED and before is not None:
            culprit, why = event.data.get("culprit", ""), event.data.get("why")
            cause = previous.event if previous else event
            failed = cause.kind in (_E.FAILED, _E.LOST) and cause.step == culprit
            if why == "failed" and not (failed and "retry" not in cause.data):
                yield found_at(
                    frame, "I5", f"it turned round for {culprit!r}, which had not failed"
                )
            if why == "deadline" and not (before.deadline and event.at >= before.deadline):
                yield found_at(frame, "I5", "it turned round for a deadline that had not passed")
            if why == "failed" and before.step(culprit).do.state is PhaseStatus.DONE:
                yield found_at(frame, "I5", f"it turned round for {culprit!r}, which had completed")
        previous = frame


def unknown_is_sticky(record: Record) -> Iterator[Finding]:
    """I6: what may have taken effect is undone, unless every attempt proved that it had none."""
    for life in record.lives():
        maybe = _maybe(life)
        for frame in life.frames:
            name, before = frame.event.step, frame.before
            if (
                name
                and before
                and before.step(name).may_have_effect > frame.after.step(name).may_have_effect
            ):
                yield found_at(frame, "I6", f"{name!r} was unknown, and is not any more")
        undone = {
            frame.event.step: frame
            for frame in life.frames
            if frame.event.kind is _E.CLAIMED and frame.event.phase == "undo"
        }
        for name in sorted(undone.keys() - maybe):
            yield found_at(undone[name], "I6", f"{name!r} had no effect, and yet was undone")
        for node in life.plan.nodes if _is_undone(life.run) else ():
            waived = life.run.step(node.name).undo.state is PhaseStatus.WAIVED
            if node.undo and node.name in maybe - undone.keys() and not waived:
                what = f"{node.name!r} may have had an effect, and was never undone"
                yield Finding("I6", what, frozenset({node.name}))


def _maybe(life: Life) -> set[str]:
    """The steps of which an attempt may have had an effect."""
    attempts: dict[str, set[int]] = {}
    for frame in life.frames:
        event = frame.event
        if event.phase != "do" or not event.step:
            continue
        if event.kind is _E.CLAIMED:
            attempts.setdefault(event.step, set()).add(event.attempt)
        elif event.kind is _E.FAILED and event.data.get("effect") is False:
            attempts.get(event.step, set()).discard(event.attempt)
    return {name for name, left in attempts.items() if left}


def _is_undone(run: Run) -> bool:
    ended = run.status in (RunStatus.COMPENSATED, RunStatus.FAILED)
    return ended and run.why != ""


def no_undo_beside_a_step(record: Record) -> Iterator[Finding]:
    """I7: nothing is undone while a step is at work, or a request of it may still land."""
    quiet = 0
    for frame, held, _ in _claims(record):
        event = frame.event
        if event.kind is _E.STARTED:
            quiet = 0
        cut_off = event.kind is _E.LOST or event.data.get("why") == "timeout"
        if cut_off and event.phase == "do" and not _has_barrier(record, frame):
            quiet = max(quiet, event.at + frame.after.grace)
        if event.kind is not _E.CLAIMED or event.phase != "undo":
            continue
        busy = [name for name, phase in held if phase == "do"]
        if busy:
            what = f"{attempt(frame)} was claimed while {busy[0]!r} was at work"
            yield found_at(frame, "I7", what, event.step, *busy)
        if event.at < quiet:
            yield found_at(
                frame, "I7", f"{attempt(frame)} was claimed {quiet - event.at} ms too early"
            )


def _has_barrier(record: Record, frame: Frame) -> bool:
    node = record.plan_of(frame).by_name.get(frame.event.step)
    return node is not None and node.effect == "barrier"


def in_order(record: Record) -> Iterator[Finding]:
    """I8: each step after those it depends on, each undo after those that come before it."""
    for frame in record.frames:
        event, before = frame.event, frame.before
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


def _backward(record: Record, frame: Frame, before: Run) -> Iterator[tuple[str, Sequence[str]]]:
    plan, step = record.plan_of(frame), before.step(frame.event.step)
    if before.status is not RunStatus.COMPENSATING:
        yield f"while the run was {before.status}", ()
    if not step.order:
        yield "though it never started", ()
    if plan.compensation_order == "parallel":
        return
    reverse = plan.compensation_order == "reverse"
    first = [
        name
        for name, other in before.steps.items()
        if plan.by_name[name].undo
        and (other.order > step.order if reverse else 0 < other.order < step.order)
        and (other.may_have_effect or other.do.state is PhaseStatus.DONE)
        and other.undo.state not in _SETTLED
    ]
    if first:
        yield f"before {first[0]!r} was undone", first


# --- history and state (I9, I14, L4) -------------------------------------------------------------


def history_makes_the_state(record: Record) -> Iterator[Finding]:
    """I9: only legal moves, versions one by one, and the history folds to the state."""
    if record.illegal:
        number, why = record.illegal
        yield Finding("I9", why, frozenset({record.history[number].step}) - {""}, number)
        return
    if record.run.version != len(record.history):
        what = f"it has version {record.run.version}, but {len(record.history)} events"
        yield Finding("I9", what)
    elif not record.frames or record.frames[-1].after != record.run:
        folded = record.frames[-1].after.status if record.frames else "nothing"
        yield Finding("I9", f"its history makes another run ({folded}) than {record.run.status}")


def plan_stays(record: Record) -> Iterator[Finding]:
    """I14: a run executes the plan it was started with, and nothing else."""
    for life in record.lives():
        if life.run.plan != life.frames[0].event.data["plan"]:
            yield Finding("I14", "it follows another plan than it was started with")
        for frame in life.frames:
            if frame.event.step and frame.event.step not in life.plan.by_name:
                yield found_at(frame, "I14", f"its plan has no step {frame.event.step!r}")


def failed_means_owed(record: Record) -> Iterator[Finding]:
    """L4: a run rests in `failed` only with something owed."""
    for frame in record.frames:
        after = frame.after
        ended = frame.event.kind is _E.FINISHED and after.status is RunStatus.FAILED
        if ended and not after.owed:
            yield found_at(frame, "L4", "it rests in failed, and nothing is owed")


LAWS: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    history_makes_the_state,
    one_claim,
    bodies_were_claimed,
    stale_reports,
    told_once,
    turns_for_a_reason,
    unknown_is_sticky,
    no_undo_beside_a_step,
    in_order,
    plan_stays,
    outputs_stay,
    one_effect,
    attempts_are_capped,
    failed_means_owed,
)
