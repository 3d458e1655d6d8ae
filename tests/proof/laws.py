"""What must hold of every run, whatever happened to it: each law over one record.

Owns: the laws of docs/invariants.md (I3 to I7, I9, I11, I14, L3, L4), as far as a run's history,
its state and the ledger can tell, and the list of all.  Refuses to know: how records are read
(`records`), effects (`effects`), what may be claimed when (`ordering`), the indexes of the store
(`indexes`), and how a finding is told (`violations`).

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
from celeriac.machine.tables import NO_RESULT, VOID
from celeriac.machine.tries import epoch_of
from tests.proof.effects import net_effects, one_effect, outputs_stay
from tests.proof.findings import Finding, attempt, found_at
from tests.proof.ordering import gated, in_order, never_after_it_expired
from tests.proof.records import EFFECTS, step_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from celeriac.machine.runs import Run
    from tests.proof.records import Frame, Life, Record

_E = EventKind
_ENDS = (_E.COMPLETED, _E.FAILED, _E.LOST)
_ONCE = (_E.CLAIMED, _E.COMPLETED, _E.FAILED, _E.LOST, _E.LATE)

Direction = tuple[str, Phase, int]  # a step, which way, and the epoch in which it is done


def findings(record: Record, silent: Collection[str] = ()) -> Iterator[Finding]:
    """Everything that is wrong with a run; *silent* names steps that keep no ledger."""
    for law in LAWS:
        yield from law(record)
    yield from net_effects(record, silent)


# --- attempts (I3, I4, I11, L3) ------------------------------------------------------------------


def one_claim(record: Record) -> Iterator[Finding]:
    """I3: one live claim for each step and direction, and numbers that are taken once."""
    for frame, held, newest in _claims(record):
        event, direction = frame.event, _direction(frame)
        if event.kind is not _E.CLAIMED:
            continue
        if direction in held:
            what = f"{attempt(frame)} was claimed while #{held[direction]} was at work"
            yield found_at(frame, "I3", what)
        if event.attempt != newest.get(direction, 0) + 1:
            what = f"{attempt(frame)} was claimed after #{newest.get(direction, 0)}"
            yield found_at(frame, "I3", what)


def _direction(frame: Frame) -> Direction:
    return frame.event.step, frame.event.phase, frame.epoch


def _claims(
    record: Record,
) -> Iterator[tuple[Frame, dict[Direction, int], dict[Direction, int]]]:
    """Each event with what was claimed just before it: the live claims, and the newest numbers."""
    held: dict[Direction, int] = {}
    newest: dict[Direction, int] = {}
    for frame in record.frames:
        event, direction = frame.event, _direction(frame)
        if event.kind is _E.STARTED:
            held, newest = {}, {}
        yield frame, held, newest
        if event.kind is _E.CLAIMED:
            held[direction] = newest[direction] = event.attempt
        elif event.kind is _E.POSTPONED and held.pop(direction, 0):
            newest[direction] = event.attempt  # of several in a row, only the newest is told
        elif event.kind in (*_ENDS, _E.SKIPPED) and held.get(direction) == event.attempt:
            del held[direction]


def bodies_were_claimed(record: Record) -> Iterator[Finding]:
    """I3: a body runs once for each claim, and nothing takes effect without one."""
    claimed = Counter(
        (event.step, event.phase, event.attempt)
        for event in record.history
        if event.kind is _E.CLAIMED
    )
    begun: Counter[tuple[str, Phase, int]] = Counter()
    for row in record.rows:
        (name, phase), kind = step_of(row), row.kind
        if (kind != "begin" and kind not in EFFECTS) or not record.knows(name):
            continue
        key = (name, phase, row.attempt)
        begun[key] += kind == "begin"
        what = f"{phase} {name!r} #{row.attempt}"
        asked = (record.asked_by(name, phase), phase, row.attempt)
        if not claimed[asked]:
            yield Finding("I3", f"{what} was at work, but never claimed", frozenset({name}))
        elif kind == "begin" and begun[key] == claimed[asked] + 1:
            yield Finding("I3", f"{what} began twice", frozenset({name}))


def stale_reports(record: Record) -> Iterator[Finding]:
    """I4: a report of an attempt that was given up settles nothing but what it proves."""
    previous: Frame | None = None
    for frame, held, newest in _claims(record):
        event, direction = frame.event, _direction(frame)
        late = event.kind is _E.LATE or bool(event.data.get("late"))
        claimed = held.get(direction) == event.attempt or _needs_no_claim(record, frame)
        if event.kind in _ENDS and not (late or claimed):
            yield found_at(frame, "I4", f"{event.kind} of {attempt(frame)}, which holds no claim")
        if late and event.attempt > newest.get(direction, 0):
            yield found_at(
                frame, "I4", f"a late report of {attempt(frame)}, which was never claimed"
            )
        if event.kind is _E.LATE and _outcome(frame.was) != _outcome(frame.became):
            yield found_at(frame, "I4", f"the late report of {attempt(frame)} changed an outcome")
        if event.kind is _E.REOPENED and not _explains(record, previous, frame):
            yield found_at(frame, "I4", f"{event.step!r} was reopened without a late report")
        previous = frame


def _needs_no_claim(record: Record, frame: Frame) -> bool:
    """True for what ends without a worker: a wait, a map, and a step that has expired."""
    node = record.plan_of(frame).find(frame.event.step)
    expired = frame.event.kind is _E.FAILED and frame.event.data.get("why") == "expired"
    return expired or (node is not None and bool(node.wait or node.map))


def _outcome(run: Run | None) -> object:
    steps = run.steps if run else {}
    return run and (run.status, {name: (s.do.state, s.undo.state) for name, s in steps.items()})


def _explains(record: Record, previous: Frame | None, frame: Frame) -> bool:
    """True if the event before is a late report of what the reopened compensation undoes."""
    told, event = previous and previous.event, frame.event
    return bool(
        told
        and (told.phase, told.attempt) == ("do", event.attempt)
        and (told.kind is _E.LATE or told.data.get("late"))
        and event.step in (told.step, record.plan_of(frame).undoer_of(told.step))
    )


def told_once(record: Record) -> Iterator[Finding]:
    """I11: what is told twice is in the history once."""
    for life in record.lives():
        seen: set[tuple[object, ...]] = set()
        for frame in life.frames:
            event = frame.event
            told = (event.kind, *_direction(frame), event.attempt)
            # An attempt that was recorded as a success cannot be late as well.
            ended = (_E.COMPLETED, *told[1:])
            if event.kind in _ONCE and (told in seen or (event.kind is _E.LATE and ended in seen)):
                yield found_at(frame, "I11", f"{event.kind} of {attempt(frame)} is there twice")
            seen.add(told)


def attempts_are_capped(record: Record) -> Iterator[Finding]:
    """L3: no step uses up more attempts than its policy has, unless an operator grants more."""
    for life in record.lives():
        used: Counter[Direction] = Counter()
        for frame in life.frames:
            event, direction = frame.event, _direction(frame)
            if event.kind in (_E.RETRIED, _E.REOPENED, _E.COMPLETED):
                used[direction] = 0
            if event.kind is not _E.CLAIMED:
                continue
            used[direction] += 1
            plan = record.plan_of(frame)
            node = plan.find(event.step)
            rule = node.policy(event.phase) if node else RetryRule()
            forward = event.phase == "do" and bool(frame.was and past_pivot(plan, frame.was))
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
        maybe, undoers = _maybe(life), record.undoers(life)
        undone: dict[tuple[int, str], Frame] = {}
        for frame in life.frames:
            name, was = frame.event.step, frame.was
            if name and was and was.step(name).may_have_effect > _maybe_after(frame):
                yield found_at(frame, "I6", f"{name!r} was unknown, and is not any more")
            if frame.event.kind is _E.CLAIMED and frame.event.phase == "undo":
                undone[frame.epoch, name] = frame
        covered = {(epoch, undoers.get((epoch, name), name)) for epoch, name in maybe}
        for epoch, name in sorted(undone.keys() - covered):
            frame = undone[epoch, name]
            yield found_at(frame, "I6", f"{name!r} had no effect, and yet was undone")
        for epoch, name in sorted(maybe & undoers.keys()):
            by = (epoch, undoers[epoch, name])
            over = epoch != epoch_of(life.run, name)
            waived = by in life.waived or life.run.step(by[1]).undo.state is PhaseStatus.WAIVED
            if (over or _is_undone(life.run)) and not (by in undone or waived):
                what = f"{name!r} may have had an effect, and was never undone"
                yield Finding("I6", what, frozenset({name}))


def _maybe_after(frame: Frame) -> bool:
    return frame.became.step(frame.event.step).may_have_effect


def _maybe(life: Life) -> set[tuple[int, str]]:
    """The steps of which an attempt may have had an effect, by epoch and name."""
    attempts: dict[tuple[int, str], set[int]] = {}
    for frame in life.frames:
        event, at = frame.event, (frame.epoch, frame.event.step)
        if event.phase != "do" or not event.step:
            continue
        if event.kind is _E.CLAIMED:
            attempts.setdefault(at, set()).add(event.attempt)
        elif event.kind is _E.SKIPPED or (
            event.kind in (_E.FAILED, _E.POSTPONED) and event.data.get("effect") is False
        ):
            attempts.get(at, set()).discard(event.attempt)
    return {at for at, left in attempts.items() if left}


def _is_undone(run: Run) -> bool:
    ended = run.status in (RunStatus.COMPENSATED, RunStatus.FAILED)
    return ended and run.why != ""


def no_undo_beside_a_step(record: Record) -> Iterator[Finding]:
    """I7: nothing is undone while a step is at work, or a request of it may still land.

    Nobody is at work for one whose result is to come from outside: its body has ended.
    """
    quiet: Counter[int] = Counter()  # until when, by try
    outside: dict[Direction, int] = {}  # the attempts whose results are to come
    for frame, held, _ in _claims(record):
        event, run = frame.event, frame.became
        if event.kind is _E.STARTED:
            quiet.clear()
        if event.kind is _E.DEFERRED:
            outside[_direction(frame)] = event.attempt
        why = event.data.get("why")
        cut_off = why == "timeout" or (event.kind is _E.LOST and why not in (NO_RESULT, VOID))
        if cut_off and event.phase == "do" and not _has_barrier(record, frame):
            quiet[run.epoch] = max(quiet[run.epoch], event.at + run.grace)
        if event.kind is not _E.CLAIMED or event.phase != "undo":
            continue
        live = (each for each, number in held.items() if outside.get(each) != number)
        busy = [name for name, phase, at in live if phase == "do" and at == epoch_of(run, name)]
        if busy:
            what = f"{attempt(frame)} was claimed while {busy[0]!r} was at work"
            yield found_at(frame, "I7", what, event.step, *busy)
        if early := max(quiet[run.epoch] - event.at, 0):
            yield found_at(frame, "I7", f"{attempt(frame)} was claimed {early} ms too early")


def _has_barrier(record: Record, frame: Frame) -> bool:
    node = record.plan_of(frame).by_name.get(frame.event.step)
    return node is not None and node.effect == "barrier"


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
            if frame.event.step and not record.plan_of(frame).find(frame.event.step):
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
    gated,
    never_after_it_expired,
    plan_stays,
    outputs_stay,
    one_effect,
    attempts_are_capped,
    failed_means_owed,
)
