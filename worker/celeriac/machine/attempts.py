"""What workers report: an attempt is claimed, checked, completed or failed.

Owns: whose report counts (the attempt's number is the fencing token), and whether there is another
attempt.  Refuses to know: what is reported of an attempt that was given up (`late_reports`), what
time alone brings (`timeouts`), and what operators ask for (`operators`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.commands import Defer
from celeriac.machine.conditions import may_have_joined, turned
from celeriac.machine.draft import (
    Draft,
    end_attempt,
    may_retry,
    retry_delay,
    see_to_failures,
    succeed,
)
from celeriac.machine.events import EventKind
from celeriac.machine.late_reports import late_completion, late_failure
from celeriac.machine.outside import answered, is_kept
from celeriac.machine.postponing import postponed
from celeriac.machine.queueing import check_gates
from celeriac.machine.runs import RunStatus
from celeriac.machine.sleeping import end_sleeps
from celeriac.machine.steps import PhaseState, PhaseStatus
from celeriac.machine.timing import SHORT_DELAY
from celeriac.machine.tries import epoch_of, is_over

if TYPE_CHECKING:
    from celeriac.machine.commands import CheckAttempt, Claim, Complete, Fail, Tag

    _OfAttempt = Claim | Complete | Fail | Defer | CheckAttempt | Tag

#: The code of a step of two phases that does not join, although it may have prepared before.
MAY_HAVE_JOINED = "may_have_joined"


def claim(draft: Draft, command: Claim) -> None:
    """Grant an attempt to whoever asks, if it is its turn and nobody holds it."""
    direction = draft.direction(command.step, command.phase)
    _same_epoch(draft, command)
    if (node := draft.node(command.step)).map is not None:
        raise draft.refuse("not_due", f"{command.step!r} is a map: its elements are claimed")
    if node.wait or (node.child is not None) is not bool(command.child):
        raise draft.refuse("not_due", f"no worker runs {command.step!r}")
    if _at_work(direction, command) and not draft.terminated:
        return  # granted already, the reply was lost
    if direction.state is PhaseStatus.DONE and command.attempt <= direction.attempt:
        raise draft.refuse("completed", f"{command.step!r} already has its result")
    if not direction.state.claimable:
        end_sleeps(draft)  # the sweep tells of the end of many at once, and records none of them
        direction = draft.direction(command.step, command.phase)
    _check_turn(draft, command, direction)
    check_gates(draft, command)
    draft.add(
        EventKind.CLAIMED,
        command.step,
        command.phase,
        command.attempt,
        holder=command.holder,
        child=command.child or None,
        gates=command.gates if command.phase == "do" else (),
        enters=command.enters,
    )


def _check_turn(draft: Draft, command: Claim, direction: PhaseState) -> None:
    run = draft.run
    if run.paused:
        raise draft.refuse("paused", f"{command.step!r} waits until it is resumed")
    wanted = RunStatus.RUNNING if command.phase == "do" else RunStatus.COMPENSATING
    if run.status is not wanted or not direction.state.claimable:
        raise draft.refuse("not_due", f"it is not the turn of {command.phase} {command.step!r}")
    if command.attempt != direction.attempt + 1:
        raise draft.refuse(
            "stale",
            f"{command.step!r} is at attempt {direction.attempt + 1}, not {command.attempt}",
        )
    if command.phase == "do" and 0 < direction.limit <= draft.now:  # the sweep sees to it
        raise draft.refuse("expired", f"{command.step!r} was to be taken up before")
    # A worker's clock that is a little ahead delivers a retry a little early; that is no harm.
    # A compensation that comes too early would be: the effect may still land (I7).
    not_before = run.compensate_not_before if command.phase == "undo" else 0
    if draft.now < max(not_before, direction.at - SHORT_DELAY):
        raise draft.refuse("not_due", f"{command.step!r} is not due yet")


def check(draft: Draft, command: CheckAttempt | Tag) -> None:
    """Refuse an attempt that no longer counts; otherwise nothing happens."""
    direction = draft.direction(command.step, command.phase)
    _same_epoch(draft, command)
    if not _at_work(direction, command):
        raise draft.refuse("stale", f"attempt {command.attempt} no longer holds {command.step!r}")
    if draft.terminated:
        raise draft.refuse("cancelled", "it was terminated: stop")
    if command.phase == "do" and turned(draft.run):
        raise draft.refuse("stopping", f"{command.step!r} will be undone: stop")


def complete(draft: Draft, command: Complete) -> None:
    """Settle an attempt as done; what comes late is used, or undone."""
    over = is_over(draft.run, command.step, command.epoch)  # nothing can come to light any more
    if over or (command.outside and answered(draft, command)):
        return
    direction = draft.direction(command.step, command.phase)
    joins_not = command.phase == "do" and (command.skips or command.ends)
    if not settles(draft, direction, command):
        late_completion(draft, direction, command)
    elif is_kept(draft, command):
        return
    elif joins_not and may_have_joined(draft.plan, draft.run, command.step):
        step, phase, attempt = command.step, command.phase, command.attempt
        draft.add(EventKind.FAILED, step, phase, attempt, error="Skip", code=MAY_HAVE_JOINED)
        see_to_failures(draft, step)
    else:
        succeed(draft, command, outside=command.outside or None, by=command.by)


def fail(draft: Draft, command: Fail) -> None:
    """Settle an attempt as failed, and say whether and when there is another."""
    over = is_over(draft.run, command.step, command.epoch)  # nothing can come to light any more
    if over or (command.outside and answered(draft, command)):
        return
    direction = draft.direction(command.step, command.phase)
    if settles(draft, direction, command):
        postpones = command.kind == "postpone"
        if is_kept(draft, command) or (postpones and postponed(draft, direction, command)):
            return
        end_attempt(
            draft,
            EventKind.FAILED,
            command,
            _retry_at(draft, command),
            command.longest_eta,
            error=command.error,
            code=command.code,
            effect=command.effect,
            why=command.why,
            answers=command.answers or None,
            via=command.via or None,
            final=(command.final and draft.plan.retries > 0) or None,
            outside=command.outside or None,
            by=command.by,
        )
    else:
        late_failure(draft, direction, command)


def _same_epoch(draft: Draft, command: _OfAttempt) -> None:
    if command.epoch != epoch_of(draft.run, command.step):
        raise draft.refuse("stale", "the id was restarted meanwhile")


def _at_work(direction: PhaseState, command: _OfAttempt) -> bool:
    """True while the attempt runs, and whoever speaks of it holds it."""
    held = direction.held_by(command.attempt, command.holder)
    return held and direction.state is PhaseStatus.RUNNING


def settles(draft: Draft, direction: PhaseState, command: Complete | Fail | Defer) -> bool:
    """True if a report is of the attempt that holds its step, or that waits for it."""
    _same_epoch(draft, command)
    if not isinstance(command, Defer) and command.outside:
        asked = direction.state is PhaseStatus.DEFERRED and direction.attempt == command.attempt
        return (asked or _at_work(direction, command)) and not draft.terminated
    return _at_work(direction, command) and not draft.terminated


def _retry_at(draft: Draft, command: Fail) -> int | None:
    """When to try again, in ms; None: never."""
    step, phase = command.step, command.phase
    unknown = command.kind == "timeout"
    if command.kind in ("abort", "postpone") or not may_retry(
        draft, step, phase, unknown=unknown, worth_it=command.retryable
    ):
        return None
    delay = command.delay
    return draft.now + (retry_delay(draft, step, phase) if delay is None else delay)
