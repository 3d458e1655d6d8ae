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


def postponed(draft: Draft, direction: PhaseState, command: Fail) -> bool:
    """Let the step be asked again, if it may; the attempt is given back.

    Postponed again and again, with nothing else of it in between, it has one event, with a count.
    """
    step, run = command.step, draft.run
    retry = draft.now + (command.delay or 0)
    stops = run.status is not RunStatus.RUNNING or out_of_time(draft, step, retry)
    if command.phase == "undo" or stops:
        return False
    more: dict[str, Any] = {}
    series = next((each for each in run.series if each.step == step), None)
    if series:
        more = {"count": series.times + 1, "since": series.since, "holder": command.holder}
        more |= {"given_back": direction.given_back + 1, "version": run.version + 1}
    # Sticky, also where the events that told of it are dropped (I6).
    effect = None if run.step(step).may_have_effect else command.effect
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
