"""A step that cannot say yet (`NotYet`): it is asked again later, and no attempt is used up.

Owns: whether it may be, and the one event for several in a row.  Refuses to know: what follows if
it may not (`attempts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.machine.draft import Draft, out_of_time
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus

if TYPE_CHECKING:
    from celeriac.machine.commands import Fail
    from celeriac.machine.steps import PhaseState

#: How long (ms) a compensation may say that it cannot say yet, unless it names a limit: a run that
#: goes back has no deadline, and what is owed has to be told to somebody.
LONGEST_UNDO = 24 * 3_600_000


def postponed(draft: Draft, direction: PhaseState, command: Fail) -> bool:
    """Let the step be asked again, if it may; the attempt is given back.

    Postponed again and again, with nothing else of it in between, it has one event, with a count.
    """
    step, run = command.step, draft.run
    retry = draft.now + (command.delay or 0)
    goes = RunStatus.RUNNING if command.phase == "do" else RunStatus.COMPENSATING
    if run.status is not goes or out_of_time(draft, step, command.phase, retry):
        return False
    if command.phase == "undo" and _is_owed(draft, direction, command):
        return False
    more: dict[str, Any] = {}
    series = next((each for each in run.series if each.step == step), None)
    if series:
        more = {"count": series.times + 1, "since": series.since, "holder": command.holder}
        more |= {"given_back": direction.given_back + 1, "version": run.version + 1}
    # Sticky, also where the events that told of it are dropped (I6).
    known = command.phase == "undo" or run.step(step).may_have_effect
    effect = None if known else command.effect
    sent = retry - draft.now <= command.longest_eta or None
    token = (step, command.phase, command.attempt)
    draft.add(
        EventKind.POSTPONED,
        *token,
        replaces=series.events if series else (),
        retry=retry,
        sent=sent,
        effect=effect,
        **more,
    )
    return True


def _is_owed(draft: Draft, direction: PhaseState, command: Fail) -> bool:
    """True if an undo that names no limit has been asked for so long that somebody has to know."""
    named = draft.node(command.step).gives_up_after("undo")
    begun = direction.begun or direction.at  # it is at work: since its claim
    return named is None and draft.now + (command.delay or 0) > begun + LONGEST_UNDO
