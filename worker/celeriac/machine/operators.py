"""What operators ask for: cancel, rewind, terminate, retry, waive, pause, resume, skip.

Owns: when each is possible, and what is said when it is not.  Refuses to know: who may ask, and how
they are asked to confirm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.conditions import REWOUND, may_begin_anew, past_pivot, turned
from celeriac.machine.events import EventKind
from celeriac.machine.numbering import instance_of
from celeriac.machine.rewinding import check_rewind
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import GAVE_UP, PhaseStatus
from celeriac.machine.tries import began_once
from celeriac.machine.undoing import in_undo_order

if TYPE_CHECKING:
    from celeriac.machine.commands import (
        Cancel,
        Pause,
        Resume,
        RetryOwed,
        Rewind,
        Skip,
        Terminate,
        Waive,
    )
    from celeriac.machine.draft import Draft
    from celeriac.machine.plans import Phase
    from celeriac.machine.runs import Run


def cancel(draft: Draft, command: Cancel) -> None:
    """Turn the run round, unless it has turned already."""
    run = draft.run
    if draft.terminated:
        raise draft.refuse("at_rest", "it was terminated and cannot be undone")
    goes_on = run.rewinds_to or (may_begin_anew(draft.plan, run) and not run.status.at_rest)
    if turned(run) and not goes_on:
        return  # it is being undone, was, or could not be: nothing to add
    if run.parent and run.status is RunStatus.COMPLETED and not command.of_parent:
        parent = run.parent
        raise draft.refuse(
            "a_child", f"run {parent.run!r} has its result ({parent.step}): cancel that run"
        )
    if not turned(run) and past_pivot(draft.plan, run):
        pivot = draft.plan.pivot
        where = f"past its pivot {pivot!r}" if pivot else "what was prepared is confirmed, so"
        raise draft.refuse("past_pivot", f"{where} it only goes forward; retry or terminate")
    draft.add(
        EventKind.COMPENSATION_STARTED,
        why="cancelled",
        reason=command.reason,
        by=command.by,
        culprit=run.failed_step,
    )


def rewind(draft: Draft, command: Rewind) -> None:
    """Go back as far as a step, and then forward again from there."""
    if draft.run.rewound_by == command.nonce:
        return  # this very call again, its reply was lost
    check_rewind(draft.plan, draft.run, command.to)
    draft.add(
        EventKind.COMPENSATION_STARTED,
        why=REWOUND,
        to=command.to,
        nonce=command.nonce,
        reason=command.reason,
        by=command.by,
    )


def terminate(draft: Draft, command: Terminate) -> None:
    """Abandon a run that still has something to do or to settle."""
    if draft.terminated:
        return
    if draft.run.status in (RunStatus.COMPLETED, RunStatus.COMPENSATED):
        raise draft.refuse("at_rest", "it has ended; there is nothing to abandon")
    draft.add(EventKind.TERMINATED, reason=command.reason, by=command.by)
    for earlier in draft.run.earlier:
        if earlier.status is not RunStatus.COMPENSATED:
            with draft.about(earlier.epoch):
                draft.add(EventKind.TERMINATED, reason=command.reason, by=command.by)


def retry(draft: Draft, command: RetryOwed) -> None:
    """Give what is owed a new budget."""
    if draft.terminated:
        raise draft.refuse("at_rest", "it was terminated, and nothing is retried")
    if draft.run.status is RunStatus.WAITING and not command.step:
        draft.add(EventKind.BEGAN_ANEW, reason=command.reason, by=command.by)
        return
    epochs = [each.epoch for each in draft.run.earlier if _is_owed_or_tried(draft, each, command)]
    for epoch in epochs:
        with draft.about(epoch):
            _retry(draft, command)
    if not epochs or _is_owed_or_tried(draft, draft.run, command):
        _retry(draft, command)


def _is_owed_or_tried(draft: Draft, run: Run, command: RetryOwed) -> bool:
    names = [command.step] if command.step else list(run.steps)
    with draft.about(run.epoch):
        return any(name in run.owed_now or _is_tried_anew(draft, name) for name in names)


def _retry(draft: Draft, command: RetryOwed) -> None:
    run = draft.run
    if command.step and _is_to_be_counted(draft, command.step):
        return
    names = [_meant(draft, command.step)] if command.step else list(run.steps)
    owed = [name for name in names if name in run.owed_now]
    if not owed:
        if not (began_once(run) or command.step or run.status.at_rest):
            return  # it began anew: perhaps because of this very command
        if any(_is_tried_anew(draft, name) for name in names):
            return  # it is being tried already
        if turned(run) and any(run.step(name).do.attempts_before_budget for name in names):
            return  # it was, and the run turned round: the same command again is no other one
        raise draft.refuse("nothing_to_retry", f"nothing of {command.step or 'it'} is owed")
    # In the order in which they are undone: the first to be retried is scheduled at once.
    for name in in_undo_order(draft.plan, run, owed):
        phase: Phase = "undo" if run.step(name).undo.state is PhaseStatus.FAILED else "do"
        draft.add(EventKind.RETRIED, name, phase, reason=command.reason, by=command.by)


def _is_to_be_counted(draft: Draft, step: str) -> bool:
    """True of an element of a map that is done again, perhaps because of this very command."""
    instance = instance_of(step) if draft.plan.find(step) else None
    again = not began_once(draft.run) and not draft.run.status.at_rest
    return again and instance is not None and instance.map not in draft.run.steps.maps


def _meant(draft: Draft, step: str) -> str:
    """What a verb that names a step is about: once that is being confirmed, its confirm."""
    name = draft.node(step).name
    confirm = draft.plan.confirmed_by.get(name)
    if confirm is None:
        return step
    state = draft.run.step(confirm).do.state
    joined = draft.run.step(name).do.state is PhaseStatus.DONE  # else it is guarded out
    untouched = state is PhaseStatus.IDLE or (state is PhaseStatus.SKIPPED and not joined)
    return step if untouched else confirm


def _is_tried_anew(draft: Draft, name: str) -> bool:
    """True while a budget that somebody gave is being used, or waits for its turn."""
    run = draft.run
    settled = (PhaseStatus.DONE, PhaseStatus.FAILED, PhaseStatus.UNKNOWN, PhaseStatus.WAIVED)
    directions = (run.step(name).do, run.step(name).undo)
    if directions[0].state.claimable and (directions[0].too_many or directions[0].expired):
        return run.status is RunStatus.RUNNING
    return not run.status.at_rest and any(
        direction.attempts_before_budget and direction.state not in settled
        for direction in directions
    )


def waive(draft: Draft, command: Waive) -> None:
    """Declare an owed compensation, or an owed confirm, settled, in each try that owes it."""
    several = (draft.run, *draft.run.earlier)
    owing = [each.epoch for each in several if command.step in each.owed_now]
    waived = any(_is_waived(each, command.step) for each in several)
    if not owing and (waived or _is_to_be_counted(draft, command.step)):
        return
    for epoch in owing or [draft.run.epoch]:
        with draft.about(epoch):
            _waive(draft, command)


def _is_waived(run: Run, step: str) -> bool:
    return run.step(step).undo.state is PhaseStatus.WAIVED


def _waive(draft: Draft, command: Waive) -> None:
    step = _meant(draft, command.step)
    phase: Phase = "do" if draft.node(step).confirms else "undo"
    direction = draft.direction(step, phase)
    if direction.state is PhaseStatus.WAIVED:
        return
    owed = direction.state in GAVE_UP and not draft.terminated
    if not (owed or began_once(draft.run) or draft.run.status.at_rest):
        return  # it began anew: perhaps because of this very command
    if not owed:
        what = "confirm" if phase == "do" else "compensation"
        raise draft.refuse(
            "not_owed",
            f"the {what} of {command.step!r} is not owed, so there is nothing to waive",
        )
    draft.add(EventKind.WAIVED, step, phase, reason=command.reason, by=command.by)


def pause(draft: Draft, command: Pause) -> None:
    """Let nothing more be claimed."""
    if draft.run.status.at_rest:
        raise draft.refuse("at_rest", "it has ended, so it cannot be paused")
    if not draft.run.paused:
        draft.add(EventKind.PAUSED, reason=command.reason, by=command.by)


def resume(draft: Draft, command: Resume) -> None:
    """Let a paused run go on."""
    if draft.run.status.at_rest and not _ended_with_a_wait(draft):
        raise draft.refuse("at_rest", "it has ended, so it cannot be resumed")
    if draft.run.paused:
        draft.add(EventKind.RESUMED, reason=command.reason, by=command.by)


def _ended_with_a_wait(draft: Draft) -> bool:
    """True if the run may have ended because it was resumed: its last wait took a signal then."""
    run = draft.run
    ends = (run.step(node.name).do.at for node in draft.plan.nodes if node.wait)
    return run.status is RunStatus.COMPLETED and run.ended_at in ends


def skip(draft: Draft, command: Skip) -> None:
    """Go on without a step that no attempt is at work on."""
    run, step = draft.run, _meant(draft, command.step)
    direction = draft.direction(step, "do")
    if draft.node(step).covers:
        raise draft.refuse("not_owed", f"{step!r} only undoes other steps: waive it instead")
    if direction.state in (PhaseStatus.SKIPPED, PhaseStatus.WAIVED):
        return
    if turned(run):
        raise draft.refuse("turned", "it is compensating; waive an owed compensation instead")
    if run.status.at_rest and step not in run.owed_now:
        raise draft.refuse("at_rest", f"{step!r} is not what it waits for")
    if direction.state is PhaseStatus.DONE:
        raise draft.refuse("completed", f"{step!r} has its result, which never changes")
    if direction.state is PhaseStatus.EXPANDED:
        raise draft.refuse(
            "at_work",
            f"elements of {step!r} were begun: skip one of them, such as {step + '[0]'!r}",
        )
    if direction.state is PhaseStatus.RUNNING:
        raise draft.refuse(
            "at_work", f"an attempt of {step!r} is running: skip the step once it has ended"
        )
    draft.add(
        EventKind.SKIPPED,
        step,
        reason=command.reason,
        by=command.by,
        choice=command.choice,
    )
