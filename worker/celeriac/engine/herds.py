"""Herds: many runs that slept until the same moment are told of, and not woken one by one.

Owns: which of them need no commit of the sweep, since whoever takes up what follows ends the sleep
along with that; and when to look at those again.  Refuses to know: how they are found and told of
(`sweep`).

A message is a hint, so telling of a run that still sleeps on record is safe; a commit less for each
is a good part of what a run costs when thousands come due in one second.  What was told of stays in
the wake index.  If nobody has taken it up after a grace, and its message does not wait in its
queue, the sweep wakes it as it does any other; and after a few more graces in any case, so that its
history says that its sleep has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine import as_visited, dates, only_sleeps_ended, transition, wake_at

if TYPE_CHECKING:
    from celeriac.machine import Dispatch, Plan, Run, Transition, Wake
    from celeriac.store import Due, DueBatch

#: So many in one batch of a shard are a herd.
HERD = 40
# After so many graces a run is woken, though its message waits to be taken up.
_PATIENCE = 4


def is_herd(batch: DueBatch) -> bool:
    """True if so much is due at once that a commit for each costs too much."""
    return len(batch.due) >= HERD


def told_of(plan: Plan, run: Run, wake: Wake, now: int) -> Transition | None:
    """What waking a run would lead to, if it is enough to tell of that; None: it is to be woken."""
    if (wake_at(run) or now) + _PATIENCE * run.grace < now:
        return None
    decided = transition(plan, run, wake, now)
    if not (decided.dispatches and only_sleeps_ended(decided.events)):
        return None
    visited = as_visited(plan, decided.run)
    claims = all(_is_claimed_at_once(visited, each, now) for each in decided.dispatches)
    return decided if claims else None


def was_told(run: Run, entry: Due) -> bool:
    """True if a run was told of before: its entry stands later than its last commit has put it."""
    at = wake_at(run)
    return at is not None and entry.at > at


def look_again_at(run: Run, now: int) -> int:
    """When to look again at a run that was told of, in ms."""
    return min([now + run.grace, *(at for at in dates(run) if at > now)])


def _is_claimed_at_once(plan: Plan, dispatch: Dispatch, now: int) -> bool:
    """True if nothing of an attempt has to be on record before it is claimed."""
    node = plan.node(dispatch.step)
    read_or_told = node.reads_first or node.child is not None
    first = dispatch.attempt == 1 and dispatch.at <= now and not dispatch.epoch
    return first and not (read_or_told or node.expires or node.gates or plan.gates)
