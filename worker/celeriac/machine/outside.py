"""Results from outside: a step has asked somebody else, and its attempt is held by nobody.

Owns: what is kept of a result that comes while the attempt is still at work, and what becomes of an
attempt that nobody reports any more.  Refuses to know: payloads, tokens and who may bring a result
(`engine`).  Whether a report counts is decided where all reports are seen to (`attempts`): a result
that comes too late is a late report as any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.commands import Complete, Expire, Fail
from celeriac.machine.draft import end_attempt, may_retry, retry_delay
from celeriac.machine.events import EventKind
from celeriac.machine.steps import PhaseStatus
from celeriac.machine.tables import NO_RESULT
from celeriac.machine.timing import SHORT_DELAY

if TYPE_CHECKING:
    from celeriac.machine.commands import Defer
    from celeriac.machine.draft import Draft


def answered(draft: Draft, command: Complete | Fail) -> bool:
    """True if somebody outside has said already how this attempt ended: the first word counts."""
    direction = draft.direction(command.step, command.phase)
    return bool(direction.kept) and direction.attempt == command.attempt


def is_kept(draft: Draft, command: Complete | Fail) -> bool:
    """True if a report ends nothing by itself: it is kept, or another was kept before it."""
    if not command.outside:
        return settle_as_kept(draft, command)
    early = draft.direction(command.step, command.phase).state is PhaseStatus.RUNNING
    if early:
        _keep(draft, command)
    return early


def _keep(draft: Draft, command: Complete | Fail) -> None:
    """Keep a result that comes before its step has returned: it counts when the attempt ends."""
    token = (command.step, command.phase, command.attempt)
    if isinstance(command, Complete):
        draft.add(EventKind.KEPT, *token, outcome="completed", by=command.by)
        return
    draft.add(
        EventKind.KEPT,
        *token,
        outcome="failed",
        error=command.error,
        code=command.code,
        effect=command.effect,
        retryable=command.kind == "error" or None,
        by=command.by,
    )


def settle_as_kept(draft: Draft, ended: Complete | Fail | Defer | Expire, lost: str = "") -> bool:
    """End an attempt as was said outside before, whatever its body says; False if nothing was.

    *lost* is why its worker cannot say anything.  A body that says that it succeeded had its
    effect, and so may have one that was cut off.
    """
    step, phase = ended.step, ended.phase
    kept = draft.direction(step, phase).kept
    if not kept:
        return False
    outcome, error, code, effect, again = kept
    cut_off = bool(lost) or (isinstance(ended, Fail) and ended.kind == "timeout")
    token = (step, phase, ended.attempt)
    if outcome == "completed":
        draft.add(EventKind.COMPLETED, *token, kept=True, lost=lost, cut_off=cut_off or None)
        return True
    effect = None if cut_off or isinstance(ended, Complete) else effect
    retry = None
    if again and may_retry(draft, step, phase, unknown=cut_off):
        retry = draft.now + retry_delay(draft, step, phase)
    end_attempt(
        draft,
        EventKind.FAILED,
        ended,
        retry,
        SHORT_DELAY,
        error=error,
        code=code,
        effect=effect,
        kept=True,
        lost=lost,
        cut_off=cut_off or None,
    )
    return True


def lose(draft: Draft, command: Expire, why: str, delay: int = 0, longest_eta: int = 0) -> None:
    """Give up an attempt that nobody reports: as was kept of it, or else its outcome is unknown."""
    if settle_as_kept(draft, command, why):
        return
    again = may_retry(draft, command.step, command.phase, unknown=True)
    retry = draft.now + delay if again else None
    end_attempt(draft, EventKind.LOST, command, retry, longest_eta, why=why)


def time_out(draft: Draft, step: str, longest_eta: int) -> None:
    """The time in which a result was to come is over: nobody knows what became of the step."""
    direction = draft.run.step(step).do
    assert direction.state is PhaseStatus.DEFERRED
    delay = retry_delay(draft, step, "do")
    lose(draft, Expire(step, "do", direction.attempt), NO_RESULT, delay, longest_eta)
