"""One command: the state machine against the store.

Owns: the loop read → decide → commit, and how long to try again while the store is away.  Refuses
to know: Celery, messages, and which commands an attempt consists of (`attempt_work`).

Its contacts with the world are two, both given: the store and a clock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from celeriac.engine.changes import Conflict, Decided, came_before, change_of
from celeriac.engine.gates import GateWork
from celeriac.engine.store_time import StoreTime, steady
from celeriac.errors import CommandRefused, RunNotFound, StoreUnavailable
from celeriac.machine import KEEPS_DETAILS, SHORT_DELAY, as_visited, transition
from celeriac.observing import Committed, Observers, logged
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.engine.changes import Arrival, LeaseGuard
    from celeriac.machine import Command, Event, Plan, Run, Transition
    from celeriac.settings import Terms
    from celeriac.store import Snapshot, Store

T = TypeVar("T")


class Committer:
    """Decides commands for runs that are kept in a store, and commits what follows from them."""

    def __init__(
        self,
        store: Store,
        terms: Terms,
        *,
        clock: Callable[[], float] = steady,
        pause: Callable[[float], None] = time.sleep,
        patience: float = 2.0,
        observers: Observers | None = None,
        longest_eta: int = SHORT_DELAY,
    ) -> None:
        """*patience* is how many seconds to try again while the store is away.

        *longest_eta* is for how many ms the broker may hold a message back, at most.
        *observers* hear what happens; left out, it is logged.
        """
        self.store = store
        self.observers = Observers(logged) if observers is None else observers
        self.terms = terms
        self.patience = patience
        self.longest_eta = longest_eta
        self.clock = clock
        self._store_time = StoreTime(clock)
        self.wait = pause  # seconds
        self.gates = GateWork(self)

    def command(
        self,
        run_id: str,
        command: Command | Callable[[Run], Command],
        *,
        fields: Mapping[str, str] | None = None,
        guard: LeaseGuard | None = None,
        patience: float | None = None,
        found: Snapshot | None = None,
    ) -> Decided:
        """Decide and commit *command* (or what it makes of the run); return what it led to.

        *fields* are stored if the command changes the run, or keeps details beside it.  Tries again
        while the store is away, for *patience* seconds, and decides anew when somebody else
        committed first; both are harmless, since a command given twice equals one given once.
        *found* is the run as it was read just now, for who reads many at once.
        """
        known = [found] if found else []

        def once() -> Decided:
            found = known.pop() if known else self.store.read(run_id, self.observers.wants())
            if found.run is None:
                raise RunNotFound(run_id)
            plan = as_visited(self.store.plan(run_id, found.run.plan), found.run)
            asked = command(found.run) if callable(command) else command
            decided = transition(plan, found.run, asked, found.now)
            stored = fields if decided.events or isinstance(asked, KEEPS_DETAILS) else None
            try:
                self._commit(plan, found, asked, decided, stored or {}, guard=guard)
            except Conflict:
                if guard is None:
                    raise
                text = f"{guard.lease.step!r} showed a sign of life"
                raise CommandRefused("renewed", text) from None
            return Decided(as_visited(plan, decided.run), decided, found.now)

        return self._until_committed(once, patience)

    def retry_while_unavailable(self, once: Callable[[], T], patience: float | None = None) -> T:
        """Return what *once* returns; while the store is away, try again for *patience* seconds."""
        give_up = self.clock() + (self.patience if patience is None else patience)
        wait = 0.02
        while True:
            try:
                return once()
            except StoreUnavailable:
                if self.clock() >= give_up:
                    raise
                self.wait(wait)
                wait = min(wait * 2, 0.5)

    def _until_committed(self, once: Callable[[], T], patience: float | None = None) -> T:
        """Call *once*, which reads, decides and commits, until nobody else commits in between."""
        while True:
            try:
                return self.retry_while_unavailable(once, patience)
            except Conflict:
                continue

    def _commit(
        self,
        plan: Plan,
        found: Snapshot,
        command: Command,
        decided: Transition,
        fields: Mapping[str, str],
        *,
        guard: LeaseGuard | None = None,
        arrival: Arrival | None = None,
    ) -> None:
        """Write what was decided of the run as it was *found*; raise Conflict if it has moved."""
        if not decided.events and not fields:
            return
        fields = self._with_results(found.run, decided.events, fields)
        change = change_of(plan, found, decided, fields, self.terms, guard=guard, arrival=arrival)
        if not self.store.commit(change):
            raise Conflict
        if decided.events:
            self.observers.tell_committed(
                Committed(command, found.run, decided.run, decided.events, found.fields)
            )
        self.gates.follow(plan, command, found.run, decided.run, decided.events)

    def _with_results(
        self, run: Run | None, events: Sequence[Event], fields: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Make what came before its time the result of its step: signals, and results kept.

        It is read then: it was written when it came, and stays as long as its run.
        """
        taken = came_before(events, run) if run else {}
        if not taken or run is None:
            return fields
        lacking = tuple(name for name in taken if name not in fields)
        known = {**fields, **(self.store.read(run.id, lacking).fields if lacking else {})}
        kept = {name: text for name, text in fields.items() if name not in taken}
        results = {to: known.get(name, payloads.NULL) for name, to in taken.items()}
        return {**kept, **results}
