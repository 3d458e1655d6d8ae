"""Children: nodes whose attempts are other runs.  What follows when one of these came to rest.

Owns: what a child's end means for the step that it is an attempt of, and that a child remembers
whether its parent knows.  Refuses to know: who starts a child and who carries its report (nothing
is atomic over both runs, so each may be done twice), and the child's payloads.

A child that was undone has failed the step, and leaves nothing to undo.  One that owes something
makes its parent owe it: if it can still go on, once an operator has decided, the parent rests until
then; if it was being undone, so is the parent, and the step is what could not be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.machine.draft import Draft, may_retry, out_of_time, retry_delay, see_to_failures
from celeriac.machine.events import EventKind
from celeriac.machine.relatives import awaited_children, id_of_child
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseState, PhaseStatus
from celeriac.machine.timing import SHORT_DELAY
from celeriac.machine.tries import epoch_of, is_over

if TYPE_CHECKING:
    from celeriac.machine.commands import Acknowledge, Report
    from celeriac.machine.plans import Phase

#: Why an attempt has no outcome yet: its run owes something, or was abandoned.
OWES, ABANDONED = "owes", "terminated"


def report(draft: Draft, command: Report) -> None:
    """Take note of how a child came to rest; whatever was noted already changes nothing."""
    do, undo = draft.direction(command.step, "do"), draft.direction(command.step, "undo")
    if is_over(draft.run, command.step, command.epoch):
        return  # what came of it is undone, perhaps because of this very report
    if command.epoch != epoch_of(draft.run, command.step):
        raise draft.refuse("stale", "the id was restarted meanwhile")
    if draft.node(command.step).child is None:
        raise draft.refuse("not_due", f"{command.step!r} is no child")
    if not command.outcome.at_rest:
        raise draft.refuse("not_due", f"run {command.child!r} has not come to rest")
    number = undo.child or do.child
    if command.child != id_of_child(draft.run, command.step, number) or not number:
        return  # one of those before it: it was seen to
    if draft.terminated:
        _note(draft, command)
    elif undo.state is not PhaseStatus.IDLE and undo.child:
        _undone(draft, command, undo)
    elif do.state is PhaseStatus.RUNNING:
        _ended(draft, command, do)
    elif do.state is PhaseStatus.UNKNOWN:
        _settled_after_all(draft, command, do)


def _note(draft: Draft, command: Report) -> None:
    """The parent was terminated: its child was, too, or it has ended by itself."""
    # One that owes something is still to be terminated.
    settled = command.refused or command.outcome is not RunStatus.FAILED
    for name, phase, direction in list(awaited_children(draft.run)):
        if settled and name == command.step:
            how = command.outcome.value
            draft.add(EventKind.LATE, name, phase, direction.attempt, outcome=how)


def _undone(draft: Draft, command: Report, direction: PhaseState) -> None:
    """A child whose step is being undone came to rest."""
    token: tuple[str, Phase, int] = (command.step, "undo", direction.attempt)
    if command.outcome is RunStatus.COMPENSATED and not command.refused:
        if direction.state is PhaseStatus.RUNNING:
            draft.add(EventKind.COMPLETED, *token)
        elif direction.state is PhaseStatus.FAILED:
            draft.add(EventKind.COMPLETED, *token, late=True)
    elif direction.state is PhaseStatus.RUNNING and _stays(command):
        draft.add(EventKind.FAILED, *token, error=command.error, code=command.code)


def _stays(command: Report) -> bool:
    """True if a child will not be undone; one that was not yet asked to go back may be."""
    owes = command.outcome is RunStatus.FAILED and (command.turned or command.refused)
    return bool(owes) or command.outcome is RunStatus.TERMINATED


def _ended(draft: Draft, command: Report, direction: PhaseState) -> None:
    """The newest attempt has ended, and a worker would have reported it."""
    step, attempt = command.step, direction.attempt
    completed = command.outcome is RunStatus.COMPLETED
    if command.refused or command.outcome is RunStatus.COMPENSATED:
        _failed(draft, command, attempt, effect=None if completed else False)
    elif completed:
        draft.add(EventKind.COMPLETED, step, "do", attempt)
    elif command.outcome is RunStatus.FAILED and command.turned:
        _failed(draft, command, attempt, effect=None)
    else:
        why = OWES if command.outcome is RunStatus.FAILED else ABANDONED
        _add_failure(draft, command, attempt, why=why)


def _failed(draft: Draft, command: Report, attempt: int, *, effect: bool | None) -> None:
    """The child has failed the step; with nothing left of it, there may be another one."""
    # Past the pivot another attempt is always allowed; another run, only if the saga says so.
    several = draft.node(command.step).retry.max_attempts != 1
    worth_it = several and command.retryable and not command.refused and effect is False
    retry = None
    if worth_it and may_retry(draft, command.step, "do", unknown=False):
        retry = draft.now + retry_delay(draft, command.step, "do")
        retry = None if out_of_time(draft, command.step, "do", retry) else retry
    sent = (retry is not None and retry - draft.now <= SHORT_DELAY) or None
    _add_failure(draft, command, attempt, effect=effect, retry=retry, sent=sent)


def _add_failure(draft: Draft, command: Report, attempt: int, **data: Any) -> None:
    said: dict[str, Any] = {"error": command.error, "code": command.code, **data}
    draft.add(EventKind.FAILED, command.step, "do", attempt, **said)
    see_to_failures(draft, command.step)


def _settled_after_all(draft: Draft, command: Report, direction: PhaseState) -> None:
    """A child that owed something, or was thought lost, has ended after all."""
    run, step = draft.run, command.step
    waits = step in run.owed or run.status is RunStatus.RUNNING
    if command.outcome is RunStatus.COMPLETED and waits:
        draft.add(EventKind.COMPLETED, step, "do", direction.attempt, late=True)
    elif command.outcome is RunStatus.COMPENSATED and waits:
        _add_failure(draft, command, direction.attempt, why="undone", effect=False)


def acknowledge(draft: Draft, command: Acknowledge) -> None:
    """Note that the parent knows; if the run has gone on since, it will come to rest once more."""
    if draft.run.untold and draft.run.ended_at == command.ended_at:
        draft.add(EventKind.REPORTED)
