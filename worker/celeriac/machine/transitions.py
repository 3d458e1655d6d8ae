"""THE state machine: what a command leads to.  Pure: no I/O, no clock, no payloads.

Owns: every decision about a run.  Refuses to know: where runs are kept, how messages travel, what
time it is (*now* is an argument), and what the payloads say.

::

    transition(plan, run, command, now) -> Transition(run, events, dispatches)

A command is decided into events, and `moves.apply` makes the new run of them, so that folding a
history gives the run by construction.  A command that is not possible now raises CommandRefused
and changes nothing.  A command given twice equals one given once: whoever lost the reply to a
commit may simply decide anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.machine import (
    attempts,
    blocking,
    children,
    expansion,
    operators,
    starting,
    tagging,
    timeouts,
    waits,
)
from celeriac.machine.commands import (
    Acknowledge,
    Block,
    Call,
    Cancel,
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Defer,
    Expand,
    Expire,
    Fail,
    Open,
    Pause,
    Queue,
    Redispatch,
    Report,
    Resume,
    RetryOwed,
    Rewind,
    Signal,
    Skip,
    Start,
    Tag,
    Terminate,
    Unblock,
    Waive,
    Wake,
)
from celeriac.machine.draft import Draft
from celeriac.machine.queueing import call, queue
from celeriac.machine.timing import due, wake_at
from celeriac.machine.tries import earlier_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.machine.events import Dispatch, Event
    from celeriac.machine.plans import Plan
    from celeriac.machine.runs import Run


class Transition(NamedTuple):
    """What a command leads to."""

    run: Run
    events: Sequence[Event]  # none: nothing changed
    dispatches: Sequence[Dispatch]  # messages that should be sent because of it

    @property
    def wake_at(self) -> int | None:
        """When somebody must look at the run again, in ms; None at rest."""
        return wake_at(self.run)


def transition(plan: Plan, run: Run | None, command: Command, now: int) -> Transition:
    """Decide *command* for *run* (None: there is none yet) at *now* (ms).

    Raises CommandRefused, RunExists or RunConflict; nothing has changed then.
    """
    draft = Draft(plan.whole, run, now, epoch=earlier_epoch(run, command))
    _DECIDE[type(command)](draft, command)
    draft.epoch = 0
    draft.finish()
    after = draft.run
    new = due(after)
    new = new - due(run) if new and run else new
    sent = sorted(new, key=lambda d: (d.at, d.step)) if len(new) > 1 else new
    return Transition(after, tuple(draft.events), tuple(sent))


_DECIDE: dict[type, Callable[[Draft, Any], None]] = {
    Start: starting.start,
    Expand: expansion.expand,
    Open: expansion.open_,
    Claim: attempts.claim,
    Queue: queue,
    Call: call,
    Complete: attempts.complete,
    Fail: attempts.fail,
    Defer: waits.defer,
    CheckAttempt: attempts.check,
    Tag: tagging.tag,
    Expire: timeouts.expire,
    Wake: timeouts.wake,
    Redispatch: timeouts.redispatch,
    Block: blocking.block,
    Unblock: blocking.unblock,
    Signal: waits.signal,
    Report: children.report,
    Acknowledge: children.acknowledge,
    Cancel: operators.cancel,
    Rewind: operators.rewind,
    Terminate: operators.terminate,
    RetryOwed: operators.retry,
    Waive: operators.waive,
    Pause: operators.pause,
    Resume: operators.resume,
    Skip: operators.skip,
}
