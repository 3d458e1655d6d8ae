"""What is offered to somebody who looks at a run: the verbs that help now, and that they may give.

Owns: which those are.  Refuses to know: what a verb does, and how its button looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import RunStatus
from celeriac.views import wording
from celeriac.web.access import permission_of

if TYPE_CHECKING:
    from celeriac.views import RunState
    from celeriac.web.access import Caller

_REWINDS = "undo a step and what came after it, then go forward again from there"


def options_for(state: RunState, caller: Caller) -> list[wording.Option]:
    """Return the verbs that a caller may want, and may give."""
    found = wording.options(state)
    if not state.status.at_rest and state.status is not RunStatus.PAUSED:
        found.append(wording.Option("pause", "", "take up nothing further for now"))
    if not state.why and state.status is not RunStatus.TERMINATED:
        found.append(wording.Option("rewind", "", _REWINDS))
    return [each for each in found if caller.may(permission_of(each.verb))]
