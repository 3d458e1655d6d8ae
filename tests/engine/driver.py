"""The real engine over the memory store, in a world where the test decides what arrives and when.

Owns: a clock that stands still, a store that can fail around any call, a post that can lose,
double and hold back messages, and workers that run a step as the Celery edge does.  Refuses to
know: Celery, and what the engine should do.

After every commit the stored history is folded and compared with the stored run (I9), and the
wake index with its status (I13).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.engine.attempts import Attempt, Delivery
from celeriac.engine.dispatching import Backlog
from celeriac.engine.engine import Engine
from celeriac.engine.sweep import Sweep
from celeriac.errors import Abort, CommandRefused, RunNotFound, StoreUnavailable
from celeriac.failure import Failure
from celeriac.machine.commands import Cancel, Command, Fail, Start
from celeriac.machine.moves import fold
from celeriac.machine.policy import retryable
from celeriac.settings import Terms
from celeriac.store import Change, Due, DueBatch, Lease, Snapshot
from celeriac.store.codec import dump_run
from celeriac.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from celeriac.machine.events import Dispatch, Event, EventKind
    from celeriac.machine.plans import Phase, Plan
    from celeriac.machine.runs import Run
    from celeriac.machine.transitions import Transition

T = TypeVar("T")

NOON = 1_700_000_000_000
LEASE, GRACE, RETENTION = 15_000, 5_000, 86_400_000
TERMS = Terms(lease=LEASE, grace=GRACE, retention=RETENTION, max_payload=10_000, batch=10)
QUEUE = "shop"


class Clock:
    """Time as the test tells it: ms for the store, seconds for the engine."""

    def __init__(self) -> None:
        self.now = NOON

    def ms(self) -> int:
        """The store's time."""
        return self.now

    def seconds(self) -> float:
        """The engine's time."""
        return self.now / 1000

    def pause(self, seconds: float) -> None:
        """Sleep: time passes at once."""
        self.now += max(1, round(seconds * 1000))


class Store(MemoryStore):
    """The memory store, behind a line that can fail before a call or after it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.ms, shards=2)
        self.clock = clock
        self.calls: list[str] = []
        self.cut: tuple[int, str] | None = None  # which call fails, and when: before or after
        self.away_until = 0
        self.between: Callable[[], object] | None = None  # happens once, just before a commit

    def _ask(self, name: str, ask: Callable[[], T]) -> T:
        self.calls.append(name)
        number, when = self.cut or (0, "")
        if self.clock.now < self.away_until or (len(self.calls) == number and when == "before"):
            raise StoreUnavailable("connection refused")
        answer = ask()
        if len(self.calls) == number and when == "after":
            raise StoreUnavailable("connection reset")
        return answer

    def read(self, run_id: str, fields: Sequence[str] = ()) -> Snapshot:
        """Read over the line."""
        return self._ask("read", lambda: super(Store, self).read(run_id, fields))

    def plan(self, run_id: str, fingerprint: str) -> Plan:
        """Read a plan over the line."""
        return self._ask("plan", lambda: super(Store, self).plan(run_id, fingerprint))

    def due(self, shard: int, limit: int) -> DueBatch:
        """Look into the wake index over the line."""
        return self._ask("due", lambda: super(Store, self).due(shard, limit))

    def postpone(self, entries: Mapping[Due, int]) -> None:
        """Postpone over the line."""
        self._ask("postpone", lambda: super(Store, self).postpone(entries))

    def commit(self, change: Change) -> bool:
        """Commit over the line, and look at what is stored then."""
        if self.between is not None:
            interfere, self.between = self.between, None
            interfere()
        return self._ask("commit", lambda: self._commit(change))

    def _commit(self, change: Change) -> bool:
        done = super().commit(change)
        if done:
            self.check(change.run.id)
        return done

    def check(self, run_id: str) -> None:
        """The history folds to the run (I9), which is in the wake index unless at rest (I13)."""
        run = MemoryStore.read(self, run_id).run
        assert run is not None
        plan = MemoryStore.plan(self, run_id, run.plan)
        assert fold(plan, run_id, self.history(run_id)) == run
        entries = {key for key in self._wake if key == run_id or _is_of(key, run_id)}
        assert (run_id in entries) != run.status.at_rest
        assert not (run.status.at_rest and entries), "a lease is left behind"

    def forge(self, run: Run) -> None:
        """Put something in the place of a run that no commit would have written."""
        self._records[run.id].head = dump_run(run)

    def wakes(self, run_id: str) -> int | None:
        """When somebody will look at the run."""
        return self._wake.get(run_id)


def _is_of(key: str | Lease, run_id: str) -> bool:
    return isinstance(key, Lease) and key.run_id == run_id


@dataclass
class Post:
    """A broker: messages wait in one queue until they are delivered."""

    waiting: list[Delivery] = field(default_factory=list)
    sent: list[Delivery] = field(default_factory=list)
    losing: bool = False
    lost: Container[int] = ()  # the numbers of messages, from 1, that get lost
    copies: int = 1
    chokes_on: str = ""  # a run whose messages cannot be sent
    refusal: Exception = field(default_factory=lambda: TypeError("this cannot be sent"))
    make_refusal: Callable[[], Exception] | None = None  # instead: made when it is raised
    silent: bool = False  # it cannot say how much waits
    away: bool = False  # nobody reaches it: what is sent is lost

    def send(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], now: int) -> None:
        """Take messages, or lose them."""
        assert now > NOON // 2  # milliseconds, also where a clock goes back by an hour
        if run.id == self.chokes_on and not self.losing:
            raise self.make_refusal() if self.make_refusal else self.refusal
        for d in dispatches:
            message = Delivery(run.id, run.epoch, d.step, d.phase, d.attempt, plan.fingerprint)
            self.sent.append(message)
            if not (self.losing or self.away) and len(self.sent) not in self.lost:
                self.waiting += [message] * self.copies

    def backlog(self, task: str) -> Backlog | None:
        """How much waits; every task has the same queue."""
        assert task.startswith("shop.")
        if self.away:
            return Backlog(QUEUE, 0, away=True)
        return None if self.silent else Backlog(QUEUE, len(self.waiting))


class Shop:
    """An engine, its store, its post, and the bodies of the steps."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = Clock()
        self.store = Store(self.clock)
        self.post = Post()
        self.engine = self.another_engine()
        self.bodies: dict[str, Callable[..., Any]] = {}  # by task name; others return their name
        self.ran: list[tuple[str, dict[str, Any]]] = []  # (task, arguments) of each body
        self.refused: Counter[str] = Counter()
        self.at_work: list[Attempt] = []
        self._holders = 0
        self.store.pulse(LEASE)
        self.store._since -= LEASE  # workers have been up for long

    def another_engine(self) -> Engine:
        """An engine over the same store: another process."""
        return Engine(self.store, TERMS, clock=self.clock.seconds, pause=self.clock.pause)

    # --- starting and looking ------------------------------------------------------------------

    def start(self, run_id: str = "order-42", **inputs: Any) -> Transition:
        """Start a run with *inputs*, and publish what is due."""
        return self.start_with(self.plan, run_id, **inputs)

    def start_with(self, plan: Plan, run_id: str, **inputs: Any) -> Transition:
        """Start a run of another plan."""
        given = {name: json.dumps(value) for name, value in inputs.items()}
        command = Start(run_id, json.dumps(inputs), f"call-{run_id}", GRACE)
        _, done, now = self.engine.start(plan, command, given)
        self.engine.send(self.post, plan, done.run, done.dispatches, now)
        return done

    def run(self, run_id: str = "order-42") -> Run:
        """The run as it is stored."""
        found = MemoryStore.read(self.store, run_id).run
        assert found is not None
        return found

    def fields(self, *names: str, run_id: str = "order-42") -> dict[str, Any]:
        """Payloads of the run, decoded."""
        found = MemoryStore.read(self.store, run_id, names).fields
        return {name: json.loads(text) for name, text in found.items()}

    def events(self, kind: EventKind, run_id: str = "order-42") -> list[Event]:
        """What happened to the run, of one kind."""
        return [event for event in self.store.history(run_id) if event.kind is kind]

    @property
    def tasks(self) -> list[str]:
        """The bodies that ran, by task name without the shop."""
        return [task.removeprefix("shop.") for task, _ in self.ran]

    # --- working -------------------------------------------------------------------------------

    def claim(self, message: Delivery | None = None) -> Attempt | None:
        """Take a message off the queue, and the attempt it hints at; None if that is refused."""
        message = message or self.post.waiting.pop(0)
        self._holders += 1
        try:
            attempt = self.engine.claim(message, f"worker-{self._holders}", QUEUE)
        except (CommandRefused, RunNotFound) as error:
            self.refused[error.reason if isinstance(error, CommandRefused) else "no run"] += 1
            return None
        self.at_work.append(attempt)
        return attempt

    def next_attempt(self) -> Attempt:
        """Wait for a message whose attempt is granted, and take it."""
        for _ in range(60):
            attempt = self.claim() if self.post.waiting else None
            if attempt is not None:
                return attempt
            self.pass_time(1_000)
        raise AssertionError("nothing can be taken for a minute")

    def finish(self, attempt: Attempt) -> Transition:
        """Run the body of an attempt and settle it."""
        task = attempt.node.task_of(attempt.delivery.phase)
        arguments = {name: json.loads(text) for name, text in attempt.arguments().items()}
        self.ran.append((task, arguments))
        body = self.bodies.get(task)
        try:
            result = body(**arguments) if body else f"{attempt.node.name} done"
        except Exception as error:  # noqa: BLE001 -- as the Celery edge does
            return self.fail(attempt, error)
        return self.complete(attempt, result)

    def complete(self, attempt: Attempt, result: Any = None) -> Transition:
        """Report success, and send what follows."""
        self._leave(attempt)
        return self._told(attempt, self.engine.complete(attempt, json.dumps(result)))

    def fail(self, attempt: Attempt, error: Exception, **values: Any) -> Transition:
        """Report a failure, and send what follows: by a retry, or by the errback."""
        self._leave(attempt)
        d = attempt.delivery
        abort = isinstance(error, Abort)
        known: dict[str, Any] = {
            "kind": "abort" if abort else "error",
            "effect": error.effect if isinstance(error, Abort) else None,
            "error": type(error).__name__,
            "retryable": retryable(attempt.node.policy(d.phase), error),
        }
        fail = Fail(d.step, d.phase, d.attempt, attempt.holder, d.epoch, **{**known, **values})
        failure = Failure(type=type(error).__name__, message=str(error))
        return self._told(attempt, self.engine.fail(attempt, fail, failure))

    def work(self) -> int:
        """Deliver messages and run what they lead to until none waits; return how many bodies."""
        before = len(self.ran)
        while self.post.waiting:
            attempt = self.claim()
            if attempt is not None:
                self.finish(attempt)
        return len(self.ran) - before

    def die(self, attempt: Attempt) -> None:
        """The worker of an attempt is gone: nobody renews its lease any more."""
        self._leave(attempt)

    def _leave(self, attempt: Attempt) -> None:
        if attempt in self.at_work:
            self.at_work.remove(attempt)

    def _told(self, attempt: Attempt, done: Transition) -> Transition:
        self.engine.send(self.post, attempt.plan, done.run, done.dispatches, self.clock.now)
        return done

    # --- time ----------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Look at everything whose time has come; a store that is away ends it."""
        try:
            return Sweep(self.engine, self.post).run()
        except StoreUnavailable:
            return 0

    def pass_time(self, ms: int, *, sweeping: bool = True) -> None:
        """Let time pass in seconds: workers show signs of life, and the sweep looks."""
        end = self.clock.now + ms
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 1_000)
            self.show_life()
            if sweeping:
                self.sweep()

    def show_life(self, outage_ms: int = 0) -> None:
        """What the lease threads of the workers do."""
        if self.clock.now < self.store.away_until:
            return
        leases = [_lease(attempt) for attempt in self.at_work]
        self.store.renew(leases, LEASE)
        self.store.pulse(LEASE * 2 // 3, outage_ms)

    def settle_down(self, run_id: str = "order-42") -> Run:
        """Work and sweep, second by second, until every run is at rest; return the one."""
        self.settle_down_all()
        return self.run(run_id)

    def settle_down_all(self, most: int = 600) -> None:
        """Work and sweep, second by second, until every run is at rest (L1)."""
        for _ in range(most):
            self.work()
            if all(run.status.at_rest for run in self.store._runs()):
                return
            self.pass_time(1_000)
        raise AssertionError(f"after {most} s not every run is at rest")

    def command(self, command: Command, run_id: str = "order-42") -> Transition:
        """Give a command as an operator does, and send what is due."""
        plan, done, now = self.engine.command(run_id, command)
        self.engine.send(self.post, plan, done.run, done.dispatches, now)
        return done

    def cancel(self) -> None:
        """Cancel the run."""
        self.command(Cancel("changed my mind"))


def _lease(attempt: Attempt) -> Lease:
    d = attempt.delivery
    return Lease(d.run_id, d.step, d.phase, d.attempt)


def message(step: str, phase: Phase = "do", attempt: int = 1, **values: Any) -> Delivery:
    """A message as somebody might send it."""
    known = {"run_id": "order-42", "epoch": 1, "plan": "", **values}
    return Delivery(step=step, phase=phase, attempt=attempt, **known)
