"""One attempt, one command, one look of the sweep: the state machine against the store.

Owns: the loop read → decide → commit; an attempt's stages (claim, arguments, settle, heartbeat);
what a sweep does with an entry that is due; how long to insist when the store is away.  Refuses
to know: Celery.  What has to be sent goes through a `Courier`; who calls the step is the caller.

Its contacts with the world are three, all given: the store, a clock, and the courier.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from celeriac import payloads
from celeriac.errors import CommandRefused, RunNotFound, StoreError, StoreUnavailable
from celeriac.models import (
    Dispatch,
    Event,
    EventKind,
    Failure,
    LaneState,
    Node,
    Phase,
    Plan,
    Run,
    RunStatus,
)
from celeriac.moves import PATROL, dates, due, overdue
from celeriac.observe import log, observed
from celeriac.store import Change, Due, DueBatch, Lease, Store
from celeriac.transitions import (
    Claim,
    Command,
    Complete,
    Expire,
    Fail,
    Heartbeat,
    Redispatch,
    Start,
    Transition,
    Wake,
    transition,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.settings import Settings

T = TypeVar("T")

# A sweep leaves a shard after so many batches, so that one shard cannot starve the others.
_MOST_BATCHES = 50


class Delivery(NamedTuple):
    """What a message says: a hint that this attempt of this step may be taken."""

    run_id: str
    epoch: int
    step: str
    phase: Phase
    attempt: int
    plan: str  # fingerprint


class Decided(NamedTuple):
    """A command that was decided and committed."""

    plan: Plan
    transition: Transition
    now: int  # ms, the store's clock


class Backlog(NamedTuple):
    """What a broker says of the queue that a step's messages go to."""

    queue: str
    messages: int


class Courier(Protocol):
    """Sends messages.  May lose, double, delay and reorder them: the sweep looks after that."""

    def send(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], now: int) -> None:
        """Send what is due; never raises for a broker that is away."""

    def backlog(self, task: str) -> Backlog | None:
        """The queue of a task and how much waits there; None if the broker cannot say."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The timing and limits the engine works under; milliseconds and bytes."""

    lease: int
    grace: int
    retention: int
    max_payload: int
    batch: int

    @classmethod
    def of(cls, settings: Settings) -> Terms:
        """The terms that *settings* set."""
        return cls(
            lease=settings.lease_ms,
            grace=settings.grace_ms,
            retention=int(settings.retention * 1000),
            max_payload=settings.max_payload,
            batch=settings.sweep_batch,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was granted: everything needed to run and settle it."""

    delivery: Delivery
    holder: str
    plan: Plan
    node: Node
    run: Run
    fields: Mapping[str, str]
    now: int  # ms, the store's clock at the claim
    read_at: float  # s, our clock at the claim

    def arguments(self) -> dict[str, str]:
        """The arguments by parameter name, as JSON text."""
        return payloads.arguments(self.node, self.delivery.phase, self.fields)

    @property
    def key(self) -> str:
        """The idempotency key: stable over attempts, and the same for step and compensation."""
        return f"{self.run.key}:{self.node.name}"


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
    ) -> None:
        """*patience* is how many seconds to insist while the store is away."""
        self.store = store
        self.terms = terms
        self.patience = patience
        self._clock = clock
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
            found = self.store.read(run_id)
            if found.run is None:
                raise RunNotFound(run_id)
            plan = self.store.plan(run_id, found.run.plan)
            asked = command(found.run) if callable(command) else command
            decided = transition(plan, found.run, asked, found.now)
            write = fields if fields and (decided.events or isinstance(asked, Heartbeat)) else {}
            done = self._commit(plan, found.run, decided, found.now, write, lapsed)
            if lapsed and not done:
                raise CommandRefused("renewed", f"{lapsed[0].step!r} showed a sign of life")
            return Decided(plan, decided, found.now) if done else None

        return self.insist(once)

    def start(self, plan: Plan, command: Start, inputs: Mapping[str, str]) -> Decided:
        """Accept a run, or join the one that exists (its transition has no events then)."""
        fields = {payloads.input_field(name): text for name, text in inputs.items()}

        def once() -> Decided | None:
            found = self.store.read(command.run_id)
            decided = transition(plan, found.run, command, found.now)
            write = fields if decided.events else {}
            done = self._commit(plan, found.run, decided, found.now, write)
            return Decided(plan, decided, found.now) if done else None

        return self.insist(once)

    def insist(self, once: Callable[[], T | None], patience: float | None = None) -> T:
        """Call *once* until it returns something; StoreUnavailable ends it after the patience."""
        give_up = self._clock() + (self.patience if patience is None else patience)
        wait = 0.02
        while True:
            try:
                found = once()
            except StoreUnavailable:
                if self._clock() >= give_up:
                    raise
                self._pause(wait)
                wait = min(wait * 2, 0.5)
            else:
                if found is not None:
                    return found

    def _commit(
        self,
        plan: Plan,
        before: Run | None,
        decided: Transition,
        now: int,
        fields: Mapping[str, str],
        lapsed: tuple[Lease, int] | None = None,
        arrived: tuple[str, int] | None = None,
    ) -> bool:
        if not decided.events and not fields:
            return True
        change = _change(plan, before, decided, now, fields, self.terms, lapsed, arrived)
        if not self.store.commit(change):
            return False
        observed(decided.run, decided.events)
        return True

    # --- an attempt ----------------------------------------------------------------------------

    def claim(
        self, delivery: Delivery, holder: str, queue: str | None = None, task: str | None = None
    ) -> Attempt:
        """Take the attempt that a message hints at; raise CommandRefused if it is not to be had.

        *queue* is where the message came from: noted, so that the sweep can tell a message that
        waits from one that is lost.  *task* is what the message would run: refused if the plan has
        another one for the step, since whoever can write to the broker can edit a message.
        """
        command = Claim(delivery.step, delivery.phase, delivery.attempt, holder, delivery.epoch)

        def once() -> Attempt | None:
            plan = self.store.plan(delivery.run_id, delivery.plan)
            node = plan.by_name.get(delivery.step)
            fields = payloads.wanted(node, delivery.phase) if node else ()
            found = self.store.read(delivery.run_id, fields)
            read_at = self._clock()
            if found.run is None:
                raise RunNotFound(delivery.run_id)
            if found.run.plan != delivery.plan or node is None:
                raise CommandRefused("stale", f"run {delivery.run_id!r} follows another plan")
            if task is not None and task != node.task_of(delivery.phase):
                raise CommandRefused("stale", f"{task} is not the task of {node.name!r}")
            lane = found.run.step(node.name).lane(delivery.phase)
            try:
                decided = transition(plan, found.run, command, found.now)
            except CommandRefused as refused:
                if refused.reason == "completed" and not overdue(found.run, found.now):
                    # A doubled message must not double all that follow it: it heals a chain only
                    # where the next link should have arrived long ago.
                    raise CommandRefused("superseded", str(refused)) from None
                raise
            arrived = (queue, lane.at) if queue else None
            if not self._commit(plan, found.run, decided, found.now, {}, None, arrived):
                return None
            return Attempt(
                delivery, holder, plan, node, decided.run, found.fields, found.now, read_at
            )

        return self.insist(once, self.terms.lease / 1000)

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
        command = Heartbeat(d.step, d.phase, d.attempt, attempt.holder, d.epoch)
        fields = {payloads.beat_field(d.step, d.phase): details} if details is not None else {}
        self.command(d.run_id, command, fields=fields)

    def _settle(
        self, attempt: Attempt, command: Complete | Fail, fields: Mapping[str, str]
    ) -> Transition:
        """Commit against the run as it was at the claim: one round trip if nobody came between."""
        guess: tuple[Run, int] | None = (
            attempt.run,
            attempt.now + int((self._clock() - attempt.read_at) * 1000),
        )

        def once() -> Transition | None:
            nonlocal guess
            run, now = guess or self._reread(attempt.delivery.run_id)
            guess = None
            decided = transition(attempt.plan, run, command, now)
            kept = fields if _uses(decided.events, command) else {}
            return decided if self._commit(attempt.plan, run, decided, now, kept) else None

        # The effect has happened: it is worth much patience to have it on record.
        return self.insist(once, max(60.0, 4 * self.terms.lease / 1000))

    def _reread(self, run_id: str) -> tuple[Run, int]:
        found = self.store.read(run_id)
        if found.run is None:
            raise RunNotFound(run_id)
        return found.run, found.now

    # --- the sweep -----------------------------------------------------------------------------

    def poke(self, run_id: str, courier: Courier) -> None:
        """Look at a run and send what is due: what an errback asks for.

        It judges no deadline and no time limit: that needs to know of outages, as a sweep does.
        """
        plan, decided, now = self.command(run_id, Wake(credit=None))
        run = decided.run
        courier.send(plan, run, sorted(due(run), key=lambda d: (d.at, d.step)), now)

    def sweep(self, courier: Courier, *, seconds: float = 5.0) -> int:
        """See to every run whose time has come; return how many were looked at.

        Takes a bounded batch at a time, and leaves what is not done after *seconds* to the next.
        Two sweeps at once are harmless: versions decide.
        """
        looked, until = 0, self._clock() + seconds
        backlogs: dict[str, Backlog | None] = {}
        for shard in range(self.store.shards):
            try:
                looked += self._sweep_shard(shard, courier, backlogs, until)
            except StoreUnavailable:
                raise
            except StoreError as error:
                # Whatever is wrong with its keys must not keep the sweep from the other shards.
                log.error("shard %d cannot be swept: %s", shard, error)
        return looked

    def _sweep_shard(
        self, shard: int, courier: Courier, backlogs: dict[str, Backlog | None], until: float
    ) -> int:
        looked = 0
        for _ in range(_MOST_BATCHES):
            batch = self.store.due(shard, self.terms.batch)
            for entry in batch.due:
                self._look_safely(entry, batch, courier, backlogs)
            looked += len(batch.due)
            if self._clock() >= until or len(batch.due) < self.terms.batch:
                break
        self.store.remove_expired(shard, self.terms.batch)
        return looked

    def _look_safely(
        self,
        entry: Due,
        batch: DueBatch,
        courier: Courier,
        backlogs: dict[str, Backlog | None],
    ) -> None:
        """One run that cannot be handled must not keep the sweep from the others."""
        try:
            self._look(entry, batch, courier, backlogs)
        except StoreUnavailable:
            raise
        except RunNotFound:
            log.warning("%s is in the wake index but gone; looking again in an hour", entry.run_id)
            self.store.postpone({entry: batch.now + PATROL})
        except Exception as error:  # noqa: BLE001 -- it is logged, and looked at again
            # Whatever is wrong with it, or with sending what it needs.
            log.exception("%s: the sweep cannot handle it: %s", entry.run_id, type(error).__name__)
            self.store.postpone({entry: batch.now + 60_000})

    def _look(
        self,
        entry: Due,
        batch: DueBatch,
        courier: Courier,
        backlogs: dict[str, Backlog | None],
    ) -> None:
        if entry.lease is not None:
            self._expire(entry, entry.lease, batch, courier)
            return
        plan, decided, now = self.command(
            entry.run_id, lambda run: Wake(_credit(batch, run.started_at, self.terms.lease))
        )
        run = decided.run
        if decided.events:
            courier.send(plan, run, decided.dispatches, now)
            return
        late = overdue(run, now)
        lost = [d for d in late if self._is_lost(plan, d, batch, courier, backlogs)]
        for dispatch in lost:
            plan, decided, now = self.command(entry.run_id, Redispatch(dispatch))
            courier.send(plan, decided.run, decided.dispatches, now)
        if not lost:
            self.store.postpone({entry: _next_look(run, late, now)})

    def _expire(self, entry: Due, lease: Lease, batch: DueBatch, courier: Courier) -> None:
        if not _trusted(batch, self.terms.lease):
            # Nobody could renew just now: a worker that lives gets the time to say so (L5).
            self.store.postpone({entry: batch.now + self.terms.lease // 3})
            return
        command = Expire(lease.step, lease.phase, lease.attempt)
        failure = Failure(
            type="AttemptLost",
            message="its worker gave no sign of life for the length of the lease; outcome unknown",
            code="lost",
        )
        text = failure.model_dump_json(exclude_none=True)
        fields = {payloads.error_field(lease.step, lease.phase): text}
        try:
            plan, decided, now = self.command(
                entry.run_id, command, fields=fields, lapsed=(lease, entry.at)
            )
        except CommandRefused:
            return  # renewed or settled since it was found; if not, the next sweep sees it again
        if decided.events:
            courier.send(plan, decided.run, decided.dispatches, now)
        else:
            self.store.postpone({entry: now + PATROL})

    def _is_lost(
        self,
        plan: Plan,
        dispatch: Dispatch,
        batch: DueBatch,
        courier: Courier,
        backlogs: dict[str, Backlog | None],
    ) -> bool:
        """Tell a message that was lost from one that waits: a backlog must not cause a storm.

        It is lost if its queue is empty, or if a message sent well after it has arrived.
        """
        task = plan.by_name[dispatch.step].task_of(dispatch.phase)
        if task not in backlogs:
            backlogs[task] = courier.backlog(task)
        backlog = backlogs[task]
        if backlog is None:
            return False
        newest = batch.arrivals.get(backlog.queue, 0)
        return backlog.messages == 0 or newest >= dispatch.at + self.terms.grace


def _uses(events: Sequence[Event], command: Complete | Fail) -> bool:
    """True if the payload of a report belongs on record: a late one's mostly does not."""
    kind = EventKind.COMPLETED if isinstance(command, Complete) else EventKind.FAILED
    return any(event.kind is kind for event in events)


def _change(
    plan: Plan,
    before: Run | None,
    decided: Transition,
    now: int,
    fields: Mapping[str, str],
    terms: Terms,
    lapsed: tuple[Lease, int] | None,
    arrived: tuple[str, int] | None,
) -> Change:
    """What to write for a transition."""
    run = decided.run
    had, has = _leases(before), _leases(run)
    started = any(event.kind is EventKind.STARTED for event in decided.events)
    retention = plan.retention if plan.retention is not None else terms.retention
    # What is owed waits for an operator, however long that takes.
    ends = run.status.at_rest and run.status is not RunStatus.FAILED
    return Change(
        before=before,
        run=run,
        events=decided.events,
        wake_at=decided.wake_at,
        fields=_with_cause(decided.events, fields),
        leases=dict.fromkeys(has - had, now + terms.lease),
        released=tuple(had - has),
        lapsed=lapsed,
        plan=plan if started else None,
        fresh=started and before is not None,
        claimed=arrived,
        expire_at=run.ended_at + retention if ends else None,
    )


def _leases(run: Run | None) -> set[Lease]:
    if run is None or run.status.at_rest:
        return set()
    phases: tuple[Phase, ...] = ("do", "undo")
    return {
        Lease(run.id, name, phase, step.lane(phase).attempt)
        for name, step in run.steps.items()
        for phase in phases
        if step.lane(phase).state is LaneState.RUNNING
    }


def _with_cause(events: Sequence[Event], fields: Mapping[str, str]) -> Mapping[str, str]:
    """Add the failures that no attempt could report, and the one that turned the run round."""
    extra = dict(fields)
    for event in events:
        if event.kind is EventKind.LOST and event.data.get("why") == "timeout":
            failure = Failure(
                type="AttemptTimedOut",
                message="it took longer than its timeout; outcome unknown",
                code="timeout",
            )
            extra[payloads.error_field(event.step, event.phase)] = failure.model_dump_json(
                exclude_none=True
            )
        if event.kind is EventKind.COMPENSATION_STARTED or "culprit" in event.data:
            cause = _cause(event, extra)
            if cause:
                extra[payloads.CAUSE] = cause
    return extra


def _cause(event: Event, fields: Mapping[str, str]) -> str | None:
    if event.data.get("why") == "deadline":
        return Failure(
            type="DeadlinePassed",
            message="the run was not done at its deadline",
            code="deadline",
        ).model_dump_json(exclude_none=True)
    return fields.get(payloads.error_field(event.data.get("culprit", ""), "do"))


def _trusted(batch: DueBatch, lease_ms: int) -> bool:
    """True if workers had every chance to renew: only then does an old lease mean a dead worker."""
    chance = lease_ms * 2 // 3
    return batch.now - batch.pulse.last <= chance and batch.now - batch.pulse.since >= chance


def _credit(batch: DueBatch, started_at: int, lease_ms: int) -> int | None:
    """Milliseconds since *started_at* in which workers could not reach the store.

    None while that is not known: the store is back, but not all of them have said how long they
    had been cut off (L5).
    """
    if not _trusted(batch, lease_ms):
        return None
    total, end = 0, started_at
    for begin, over in sorted(batch.pulse.outages):
        total += max(0, over - max(begin, end))
        end = max(end, over)
    return total


def _next_look(run: Run, late: Sequence[Dispatch], now: int) -> int:
    """When to look again at a run for which there was nothing to do."""
    times = dates(run)
    coming = [at for at in times if at > now]
    if late:
        # It waits in a queue: look more and more rarely, but miss nothing else that has a date.
        oldest = min(d.at for d in late)
        coming.append(now + max(run.grace, min((now - oldest) // 2, 60_000)))
    if sum(at <= now for at in times) > len(late):
        # A deadline or a limit has passed that cannot be judged yet.
        coming.append(now + run.grace)
    return min(coming, default=now + PATROL)
