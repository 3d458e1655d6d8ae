"""Two commands decided as one: settle an attempt, and claim what follows it.

Owns: putting two transitions together.  Refuses to know: either command (`transitions`), and who
gives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.timing import due
from celeriac.machine.transitions import Transition, transition

if TYPE_CHECKING:
    from celeriac.machine.commands import Command
    from celeriac.machine.plans import Plan


def followed(plan: Plan, first: Transition, command: Command, now: int) -> Transition:
    """Decide *command* for what *first* leads to: one transition, in which both happen or neither.

    Raises CommandRefused; *first* stands alone then.
    """
    then = transition(plan, first.run, command, now)
    still = due(then.run)
    sent = tuple(each for each in first.dispatches if each in still)
    return Transition(then.run, (*first.events, *then.events), (*sent, *then.dispatches))
