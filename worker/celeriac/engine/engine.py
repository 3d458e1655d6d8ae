"""One attempt, one command: the state machine against the store.

Owns: the loop read → decide → commit; an attempt's stages (claim, arguments, settle, heartbeat);
how long to try again while the store is away.  Refuses to know: Celery.  What has to be sent goes
through a `Dispatcher`; who calls the step is the caller.

Its contacts with the world are three, all given: the store, a clock, and the dispatcher.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from celeriac.engine.attempts import Attempt, Delivery
from celeriac.engine.changes import change_of
from celeriac.engine.dispatching import BrokerAway, Dispatcher
from celeriac.errors import CommandRefused, RunNotFound, StoreError, StoreUnavailable
from celeriac.failure import class_name, safe_text
from celeriac.machine import (
    NOT_SENT,
    Block,
    CheckAttempt,
    Claim,
    Command,
    Complete,
    Dispatch,
    Event,
    EventKind,
    Fail,
    Start,
    Transition,
    Unblock,
    Wake,
    due,
    overdue,
    transition,
)
from celeriac.observing import (
    Claiming,
    Committed,
    Observers,
    Refused,
    Settled,
    Starting,
    clean,
    log,
    logged,
    title,
)
from celeriac.store import payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.failure import Failure
    from celeriac.machine import Plan, Run
    from celeriac.settings import Terms
    from celeriac.store import Lease, Snapshot, Store


T = TypeVar("T")
_LONGEST_REASON = 300  # characters of why a message was not sent


class Decided(NamedTuple):
    """A command that was decided and committed."""

    plan: Plan
    transition: Transition
    now: int  # ms, the store's clock


class _Sight(NamedTuple):
    """What a decision was made of: the run as it was found, and what was asked of it."""

    before: Run | None
    now: int  # ms, the store's clock
    command: Command
    read: Mapping[str, str] = {}


class Engine:
    """The state machine, wired to a store."""

    def __init__(
        self,
        store: Store,
        terms: Terms,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        patience: float = 2.0,
        observers: Observers | None = None,
    ) -> None:
        """*patience* is how many seconds to try again while the store is away.

        *observers* hear what happens; left out, it is logged.
        """
        self.store = store
        self.observers = Observers(logged) if observers is None else observers
        self.terms = terms
        self.patience = patience
        self.clock = clock
        self._pause = pause

    # --- commands ------------------------------------------------------------------------------

    def command(
        self,
        run_id: str,
        command: Command | Callable[[Run], Command],
        *,
        fields: Mapping[str, str] | None = None,
        lapsed: tuple[Lease, int] | None = None,
    ) -> Decided:
        """Decide and commit *command* (or what it makes of the run); return what it led to.

        Insists while the store is away and decides anew when somebody else was faster; both are
        harmless, since a command given twice equals one given once.
        """

        def once() -> Decided | None:
            found = self.store.read(run_id, self.observers.wants())
            if found.run is None:
                raise RunNotFound(run_id)
            plan = self.store.plan(run_id, found.run.plan)
            asked = command(found.run) if callable(command) else command
            decided = transition(plan, found.run, asked, found.now)
            write = fields if fields and (decided.events or isinstance(asked, CheckAttempt)) else {}
            done = self._commit(plan, _sight(found, asked), decided, write, lapsed)
            if lapsed and not done:
                raise CommandRefused("renewed", f"{lapsed[0].step!r} showed a sign of life")
            return Decided(plan, decided, found.now) if done else None

        return self.retry_while_unavailable(once)

    def start(self, plan: Plan, command: Start, inputs: Mapping[str, str]) -> Decided:
        """Accept a run, or join the one that exists (its transition has no events then)."""
        fields = {payloads.input_field(name): text for name, text in inputs.items()}

        def once() -> Decided | None:
            found = self.store.read(command.run_id)
            decided = transition(plan, found.run, command, found.now)
            write = {**fields, **marks} if decided.events else {}
            done = self._commit(plan, _sight(found, command), decided, write)
            return Decided(plan, decided, found.now) if done else None

        marks: dict[str, str] = {}
        with self.observers.during(Starting(command.run_id, plan.saga, marks)):
            return self.retry_while_unavailable(once)

    def retry_while_unavailable(
        self, once: Callable[[], T | None], patience: float | None = None
    ) -> T:
        """Call *once* until it returns something; StoreUnavailable ends it after the patience."""
        give_up = self.clock() + (self.patience if patience is None else patience)
        wait = 0.02
        while True:
            try:
                found = once()
            except StoreUnavailable:
                if self.clock() >= give_up:
                    raise
                self._pause(wait)
                wait = min(wait * 2, 0.5)
            else:
                if found is not None:
                    return found

    def _commit(
        self,
        plan: Plan,
        sight: _Sight,
        decided: Transition,
        fields: Mapping[str, str],
        lapsed: tuple[Lease, int] | None = None,
        arrived: tuple[str, int] | None = None,
    ) -> bool:
        before, now, command, read = sight
        if not decided.events and not fields:
            return True
        change = change_of(plan, before, decided, now, fields, self.terms, lapsed, arrived)
        if not self.store.commit(change):
            return False
        if decided.events:
            self.observers.tell(Committed(command, before, decided.run, decided.events, read))
        return True

    # --- an attempt ----------------------------------------------------------------------------

    def claim(
        self, delivery: Delivery, holder: str, queue: str | None = None, task: str | None = None
    ) -> Attempt:
        """Take the attempt that a message hints at; raise CommandRefused if it is not to be had.

        *queue* is where the message came from: noted, so that the sweep can tell a message that
        waits from one that is lost.  *task* is what the message would run: refused if the plan has
        another one for the step, since whoever can write to the broker can edit a message.
        Copies of a message are common (F2, F16): a live lease refuses them.
        """
        command = Claim(delivery.step, delivery.phase, delivery.attempt, holder, delivery.epoch)
        try:
            return self.retry_while_unavailable(
                lambda: self._claim(delivery, command, queue, task), self.terms.lease / 1000
            )
        except (CommandRefused, RunNotFound) as refused:
            self.observers.tell(self._refused(refused, delivery))
            raise

    def _claim(
        self, delivery: Delivery, command: Claim, queue: str | None, task: str | None
    ) -> Attempt | None:
        plan = self.store.plan(delivery.run_id, delivery.plan)
        node = plan.by_name.get(delivery.step)
        fields = payloads.wanted(node, delivery.phase) if node else ()
        fields += self.observers.wants(delivery.step, delivery.phase)
        found = self.store.read(delivery.run_id, fields)
        read_at = self.clock()
        if found.run is None:
            raise RunNotFound(delivery.run_id)
        if found.run.plan != delivery.plan or node is None:
            raise CommandRefused("stale", f"run {delivery.run_id!r} follows another plan")
        if task is not None and task != node.task_of(delivery.phase):
            raise CommandRefused("stale", f"{task} is not the task of {node.name!r}")
        decided = _decided_claim(plan, found.run, command, found.now)
        marks: dict[str, str] = {}
        if decided.events:
            what = (command.step, command.phase, command.attempt, command.holder)
            self.observers.tell(Claiming(found.run, *what, found.fields, marks))
        sent_at = found.run.step(node.name).lane(delivery.phase).at
        arrived = (queue, sent_at) if queue else None
        if not self._commit(plan, _sight(found, command), decided, marks, None, arrived):
            return None
        return Attempt(
            delivery, command.holder, plan, node, decided.run, found.fields, found.now, read_at
        )

    def _refused(self, error: CommandRefused | RunNotFound, delivery: Delivery) -> Refused:
        """What observers are told: a message may say anything, so its words count only if ours."""
        reason = error.reason if isinstance(error, CommandRefused) else "no_run"
        try:
            plan = self.store.plan(delivery.run_id, delivery.plan)
        except StoreError:
            plan = None
        if plan is None or delivery.step not in plan.by_name:
            return Refused(reason, "", "", delivery.phase)
        return Refused(reason, plan.saga, delivery.step, delivery.phase)

    def complete(self, attempt: Attempt, output: str) -> Transition:
        """Record a success, and with it the step's result (JSON text)."""
        d = attempt.delivery
        fields = {payloads.output_field(d.step): output} if d.phase == "do" else {}
        command = Complete(d.step, d.phase, d.attempt, attempt.holder, d.epoch)
        return self._settle(attempt, command, fields)

    def fail(self, attempt: Attempt, command: Fail, failure: Failure) -> Transition:
        """Record a failed attempt, and how it failed."""
        d = attempt.delivery
        fields = {payloads.error_field(d.step, d.phase): failure.model_dump_json(exclude_none=True)}
        return self._settle(attempt, command, fields)

    def heartbeat(self, attempt: Attempt, details: str | None) -> None:
        """Ask whether the attempt still counts, and keep *details* (JSON text) for the next one."""
        d = attempt.delivery
        command = CheckAttempt(d.step, d.phase, d.attempt, attempt.holder, d.epoch)
        fields = {payloads.beat_field(d.step, d.phase): details} if details is not None else {}
        self.command(d.run_id, command, fields=fields)

    def _settle(
        self, attempt: Attempt, command: Complete | Fail, fields: Mapping[str, str]
    ) -> Transition:
        """Commit against the run as it was at the claim: one round trip if nobody came between."""
        guess: tuple[Run, int] | None = (
            attempt.run,
            attempt.now + int((self.clock() - attempt.read_at) * 1000),
        )

        def once() -> Transition | None:
            nonlocal guess
            run, now = guess or self._reread(attempt.delivery.run_id)
            guess = None
            decided = transition(attempt.plan, run, command, now)
            kept = fields if _uses(decided.events, command) else {}
            sight = _Sight(run, now, command)
            return decided if self._commit(attempt.plan, sight, decided, kept) else None

        # The effect has happened: it is worth much patience to have it on record.
        try:
            return self.retry_while_unavailable(once, max(60.0, 4 * self.terms.lease / 1000))
        finally:
            self.observers.tell(Settled(attempt.run.id, attempt.holder))

    def _reread(self, run_id: str) -> tuple[Run, int]:
        found = self.store.read(run_id)
        if found.run is None:
            raise RunNotFound(run_id)
        return found.run, found.now

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
        why = f"{NOT_SENT}{class_name(error)}: {clean(' '.join(safe_text(error).split()))}"
        why = why if len(why) <= _LONGEST_REASON else why[:_LONGEST_REASON] + "…"
        known = run.step(dispatch.step).blocked == why
        named = title(run.id, dispatch.step, dispatch.phase, dispatch.attempt)
        log.warning("%s %s", named, why, exc_info=None if known else error)
        self._note(run.id, Block(dispatch.step, why))

    def _note(self, run_id: str, command: Block | Unblock) -> None:
        """Note what is in the way of a message, or no longer is; the sweep would do so again."""

        def once() -> bool | None:
            found = self.store.read(run_id)
            if found.run is None:
                return True
            plan = self.store.plan(run_id, found.run.plan)
            decided = transition(plan, found.run, command, found.now)
            return self._commit(plan, _sight(found, command), decided, {}) or None

        try:
            self.retry_while_unavailable(once, patience=0.0)
        except Exception as error:  # noqa: BLE001 -- it is logged
            log.warning("%s: that could not be noted: %s", run_id, class_name(error))

    def dispatch_due(self, run_id: str, dispatcher: Dispatcher) -> None:
        """Look at a run and send what is due: what an errback asks for.

        It judges no deadline and no time limit: that needs to know of outages, as a sweep does.
        """
        plan, decided, now = self.command(run_id, Wake(credit=None))
        run = decided.run
        self.send(dispatcher, plan, run, sorted(due(run), key=lambda d: (d.at, d.step)), now)


def _sight(found: Snapshot, command: Command) -> _Sight:
    return _Sight(found.run, found.now, command, found.fields)


def _decided_claim(plan: Plan, run: Run, command: Claim, now: int) -> Transition:
    try:
        return transition(plan, run, command, now)
    except CommandRefused as refused:
        if refused.reason == "completed" and not overdue(run, now):
            # A doubled message must not double all that follow it: it heals a chain only where
            # the next link should have arrived long ago.
            raise CommandRefused("superseded", str(refused)) from None
        raise


def _uses(events: Sequence[Event], command: Complete | Fail) -> bool:
    """True if the payload of a report belongs on record: a late one's mostly does not."""
    kind = EventKind.COMPLETED if isinstance(command, Complete) else EventKind.FAILED
    return any(event.kind is kind for event in events)
