"""One command: the state machine against the store.

Owns: the loop read → decide → commit, and how long to try again while the store is away.  Refuses
to know: Celery, and the stages of an attempt (`attempt_work`).  What has to be sent goes through a
`Dispatcher`; who calls the step is the caller.

Its contacts with the world are three, all given: the store, a clock, and the dispatcher.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from celeriac.engine.attempt_work import AttemptWork
from celeriac.engine.changes import Arrival, Conflict, LeaseGuard, change_of
from celeriac.engine.dispatching import BrokerAway, Dispatcher, reason_unsent
from celeriac.engine.expanding import Decided, MapWork
from celeriac.engine.store_time import StoreTime, steady
from celeriac.errors import CommandRefused, RunNotFound, StoreUnavailable
from celeriac.failure import class_name
from celeriac.machine import (
    KEEPS_DETAILS,
    SHORT_DELAY,
    Block,
    Command,
    Dispatch,
    Start,
    Transition,
    Unblock,
    Wake,
    due,
    transition,
)
from celeriac.observing import (
    Committed,
    Observers,
    Starting,
    log,
    logged,
    title,
)
from celeriac.store import Snapshot, payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.machine import Plan, Run
    from celeriac.settings import Terms
    from celeriac.store import Store


T = TypeVar("T")


class Engine(AttemptWork, MapWork):
    """The state machine, wired to a store."""

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
        self._pause = pause
        self._store_time = StoreTime(clock)

    # --- commands ------------------------------------------------------------------------------

    def command(
        self,
        run_id: str,
        command: Command | Callable[[Run], Command],
        *,
        fields: Mapping[str, str] | None = None,
        guard: LeaseGuard | None = None,
        patience: float | None = None,
    ) -> Decided:
        """Decide and commit *command* (or what it makes of the run); return what it led to.

        *fields* are stored if the command changes the run, or keeps details beside it.  Tries again
        while the store is away, for *patience* seconds, and decides anew when somebody else
        committed first; both are harmless, since a command given twice equals one given once.
        """

        def once() -> Decided:
            found = self.store.read(run_id, self.observers.wants())
            if found.run is None:
                raise RunNotFound(run_id)
            plan = self.store.plan(run_id, found.run.plan)
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
            return Decided(plan, decided, found.now)

        return self._until_committed(once, patience)

    def start(self, plan: Plan, command: Start, inputs: Mapping[str, str]) -> Decided:
        """Accept a run, or join the one that exists (its transition has no events then).

        Mostly there is none: so it is written as if there were none, and only if the store refuses
        that it is asked.
        """
        fields = {payloads.input_field(name): text for name, text in inputs.items()}
        supposed = self._store_time.now()

        def once() -> Decided:
            nonlocal supposed
            if supposed is None:
                found = self.store.read(command.run_id)
                self._store_time.noted(found.now)
            else:
                found, supposed = Snapshot(None, supposed, {}), None
            decided = transition(plan, found.run, command, found.now)
            stored = {**fields, **marks} if decided.events else {}
            self._commit(plan, found, command, decided, stored)
            return Decided(plan, decided, found.now)

        marks: dict[str, str] = {}
        with self.observers.during(Starting(command.run_id, plan.saga, marks)):
            return self._until_committed(once)

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
                self._pause(wait)
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
        fields = self._with_signals(found.run, decided.events, fields)
        change = change_of(plan, found, decided, fields, self.terms, guard=guard, arrival=arrival)
        if not self.store.commit(change):
            raise Conflict
        if decided.events:
            self.observers.tell(
                Committed(command, found.run, decided.run, decided.events, found.fields)
            )

    # --- messages ------------------------------------------------------------------------------

    def send(
        self,
        dispatcher: Dispatcher,
        plan: Plan,
        run: Run,
        dispatches: Sequence[Dispatch],
        now: int,
    ) -> None:
        """Send what is due of a run, which was committed as *run*; never raises an Exception.

        The run is accepted, so a message that cannot be sent is the run's business and not the
        caller's: the run keeps the reason, the sweep tries again, and takes the reason away as
        soon as the message is sent.  A broker that is out of reach is no reason of one run.
        """
        for number, dispatch in enumerate(dispatches):
            if plan.node(dispatch.step).map is not None:
                self.go_on_with_map(dispatcher, run.id, dispatch)
                continue
            try:
                dispatcher.send(plan, run, (dispatch,), now)
            except BrokerAway as error:
                for each in dispatches[number:]:
                    named = title(run.id, each.step, each.phase, each.attempt)
                    log.warning("%s not sent (%s); the sweep will send it", named, error)
                return
            except Exception as error:  # noqa: BLE001 -- it is kept and logged; see above
                self._note_unsent(run, dispatch, error)
            else:
                if run.step(dispatch.step).unsent:
                    self._note(run.id, Unblock(dispatch.step))

    def _note_unsent(self, run: Run, dispatch: Dispatch, error: Exception) -> None:
        why = reason_unsent(error)
        known = run.step(dispatch.step).blocked == why
        named = title(run.id, dispatch.step, dispatch.phase, dispatch.attempt)
        log.warning("%s %s", named, why, exc_info=None if known else error)
        self._note(run.id, Block(dispatch.step, why))

    def _note(self, run_id: str, command: Block | Unblock) -> None:
        """Note what is in the way of a message, or no longer is; the sweep would do so again."""
        try:
            self.command(run_id, command, patience=0.0)
        except RunNotFound:
            return  # nobody misses the note
        except Exception as error:  # noqa: BLE001 -- it is logged
            log.warning("%s: that could not be noted: %s", run_id, class_name(error))

    def dispatch_due(self, run_id: str, dispatcher: Dispatcher) -> None:
        """Look at a run and send what is due: what an errback asks for.

        It judges no deadline and no time limit: that needs to know of outages, as a sweep does.
        """
        plan, decided, now = self.command(run_id, Wake(credit=None))
        run = decided.run
        self.send(dispatcher, plan, run, sorted(due(run), key=lambda d: (d.at, d.step)), now)
