"""What an attempt reports after it was given up: it is used, undone, or only noted.

Owns: what a late report leads to.  Refuses to know: reports that come in time (`attempts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.machine.conditions import turned
from celeriac.machine.draft import Draft, succeed
from celeriac.machine.events import EventKind
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.steps import REPORTED, PhaseState, PhaseStatus

if TYPE_CHECKING:
    from celeriac.machine.commands import Complete, Defer, Fail


def late_completion(draft: Draft, direction: PhaseState, command: Complete) -> None:
    """An attempt that does not hold its step any more has succeeded after all."""
    if not _is_news(draft, direction, command):
        return
    if command.skips:
        _note(draft, command, "skipped")
    elif command.phase == "do":
        _late_success(draft, direction, command)
    else:
        _late_undo(draft, direction, command)


def late_failure(draft: Draft, direction: PhaseState, command: Fail) -> None:
    """An attempt that was given up failed: unless it proves otherwise, it had its effect now."""
    if not _is_news(draft, direction, command):
        return
    _note(draft, command, "failed", error=command.error, why=command.why)
    if command.phase == "do" and command.effect is not False:
        _undo_again(draft, command)


def check_known(draft: Draft, direction: PhaseState, command: Complete | Fail | Defer) -> None:
    """Raise CommandRefused for a report of an attempt that whoever reports was not granted."""
    if command.attempt > direction.attempt or command.attempt < 1:
        raise draft.refuse("stale", f"{command.step!r} has no attempt {command.attempt}")
    holders = ("", REPORTED, command.holder)
    if command.attempt == direction.attempt and direction.holder not in holders:
        raise draft.refuse("stale", f"attempt {command.attempt} was granted to somebody else")


def _is_news(draft: Draft, direction: PhaseState, command: Complete | Fail) -> bool:
    """True for a report that comes after its attempt was given up, and was not noted yet."""
    check_known(draft, direction, command)
    if direction.held_by(command.attempt, command.holder) and not _tells_more(direction, command):
        return False  # settled already, the reply was lost
    return command.attempt not in direction.late


def _tells_more(direction: PhaseState, command: Complete | Fail) -> bool:
    """True if an attempt was not settled by just this report, or by one that says no less.

    A step may well hand out its token, and then end in another way: what comes of the token
    afterwards is news, unless the step has its result.
    """
    if direction.state is PhaseStatus.RUNNING:
        return True
    return command.outside and direction.state is not PhaseStatus.DONE


def _late_success(draft: Draft, direction: PhaseState, command: Complete) -> None:
    """An attempt that was given up succeeded after all: use it, or undo it (once more)."""
    run = draft.run
    given_up = direction.state in (PhaseStatus.UNKNOWN, PhaseStatus.FAILED)
    asked = command.step in run.owed_now  # it is the answer that an operator was asked for
    in_time = run.status is RunStatus.RUNNING and direction.state.claimable
    if in_time or (given_up and (_goes_back(run) or asked)):
        succeed(draft, command, late=True, outside=command.outside or None, by=command.by)
    else:
        _note(draft, command, "completed")
    _undo_again(draft, command)


def _late_undo(draft: Draft, direction: PhaseState, command: Complete) -> None:
    """A compensation that was given up succeeded: settled, if it undid the newest effect."""
    newest = command.attempt > direction.attempts_before_budget and not direction.recompensate
    unsettled = direction.state.claimable or direction.state is PhaseStatus.FAILED
    if newest and unsettled and not draft.terminated:
        draft.add(EventKind.COMPLETED, command.step, "undo", command.attempt, late=True)
    else:
        _note(draft, command, "completed")


def _undo_again(draft: Draft, command: Complete | Fail) -> None:
    """Undo what came to light after its undo was claimed: its key may have been seen before."""
    step = draft.plan.undoers.get(command.step, command.step)
    run = draft.run
    # A body may have sworn that it had no effect, and handed out its token all the same.
    rests = run.status is RunStatus.COMPENSATED and draft.plan.undoer_of(command.step)
    if _goes_back(run) and (run.step(step).undo.attempt > 0 or rests):
        late = command.step if step != command.step else None
        draft.add(EventKind.REOPENED, step, "undo", command.attempt, late=late)


def _goes_back(run: Run) -> bool:
    return turned(run) and run.status is not RunStatus.TERMINATED


def _note(draft: Draft, command: Complete | Fail, how: str, **data: Any) -> None:
    token = (command.step, command.phase, command.attempt)
    data |= {"outside": command.outside or None, "by": command.by}
    draft.add(EventKind.LATE, *token, outcome=how, **data)
