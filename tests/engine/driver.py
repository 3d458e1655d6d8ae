"""The real engine over the memory store, in a world where the test decides what arrives and when.

Owns: a store that can fail around any call, a post that can lose, double and hold back messages,
and workers that run a step as the Celery edge does.  Refuses to know: Celery, and what the engine
should do.

The clock, the store and its checks after every commit (I9, I13, I15) are the lab's, and a failure
is classified and reported as the engine does it.  The post is not the lab's broker: there time
decides when a message arrives, here the test does, also out of time.  Bodies take what the run has
on record and need no signature, so they do not go through `perform`.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from celeriac.authoring import Shape
from celeriac.engine.attempts import Attempt, Delivery
from celeriac.engine.bodies import Work, classify_error, report
from celeriac.engine.dispatching import Backlog, Unreachable
from celeriac.engine.engine import Engine
from celeriac.engine.sweep import Sweep
from celeriac.errors import CommandRefused, RunNotFound, StoreUnavailable
from celeriac.machine.commands import Cancel, Command, Start
from celeriac.settings import Terms
from celeriac.store import Lease
from celeriac.store.codec import dump_run
from celeriac.store.memory import MemoryStore
from celeriac.testing.checked_store import CheckedStore
from celeriac.testing.clock import NOON
from celeriac.testing.clock import Clock as LabClock

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from celeriac.engine.onward import Ahead
    from celeriac.machine import Phase, Plan
    from celeriac.machine.events import Dispatch, Event, EventKind
    from celeriac.machine.runs import Run
    from celeriac.machine.transitions import Transition

LEASE, GRACE, RETENTION = 15_000, 5_000, 86_400_000
TERMS = Terms(lease=LEASE, grace=GRACE, retention=RETENTION, max_payload=10_000, batch=10)
QUEUE = "shop"
_NO_SIGNATURE = Shape("", None, {}, Any, Any)


class Clock(LabClock):
    """The lab's time, which passes while the engine pauses."""

    def pause(self, seconds: float) -> None:
        """Sleep: time passes at once."""
        self.now += max(1, round(seconds * 1000))


class Store(CheckedStore):
    """The lab's store, which hears of its own calls and fails where the test says."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, self)
        self.clock = clock
        self.calls: list[str] = []
        self.cut: tuple[int, str] | None = None  # which call fails, and when: before or after
        self.away_until = 0
        self.between: Callable[[], object] | None = None  # happens once, just before a commit
        self.broken: BaseException | None = None  # a promise, where a handler may have hidden it

    def plan(self, run_id: str, fingerprint: str) -> Plan:
        """Read a plan: here that is a call too, and none is kept."""
        return self._over("plan", lambda: MemoryStore.plan(self, run_id, fingerprint))

    def contact(self, contact: str, when: str) -> None:
        """Count a call; fail before it or after it, if it is to."""
        if when == "before":
            self._come_between(contact)
            self.calls.append(contact)
        cut = self.cut == (len(self.calls), when)
        if cut or (when == "before" and self.clock.now < self.away_until):
            raise StoreUnavailable(f"connection lost {when} the call")

    def _come_between(self, contact: str) -> None:
        if contact == "commit" and self.between is not None:
            interfere, self.between = self.between, None
            interfere()

    def committed(self, run: Run, events: Sequence[Event]) -> None:
        """Take no note: a test reads the history."""

    def broke(self, error: BaseException) -> BaseException:
        """Keep the error: the sweep logs whatever it meets, and goes on."""
        self.broken = self.broken or error
        return error

    def forge(self, run: Run) -> None:
        """Put something in the place of a run that no commit would have written."""
        self._records[run.id].head = dump_run(run)

    def leases(self, run_id: str) -> set[Lease]:
        """The attempts of the run that hold a lease."""
        return {entry for entry in self._wake if isinstance(entry, Lease) and entry[0] == run_id}

    def wakes(self, run_id: str) -> int | None:
        """When somebody will look at the run."""
        return self._wake.get(run_id)


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

    together = nullcontext  # one by one

    def backlog(self, task: str, queue: str | None = None) -> Backlog | Unreachable | None:
        """How much waits; every task has the same queue."""
        assert task.startswith("shop.")
        assert queue is None
        if self.away:
            return Unreachable()
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
        self.worker_id = ""  # of the worker that claims
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
        found = self.store.look(run_id).run
        assert found is not None
        return found

    def fields(self, *names: str, run_id: str = "order-42") -> dict[str, Any]:
        """Payloads of the run, decoded."""
        found = self.store.look(run_id, names).fields
        return {name: json.loads(text) for name, text in found.items()}

    def events(self, kind: EventKind, run_id: str = "order-42") -> list[Event]:
        """What happened to the run, of one kind."""
        return [event for event in self.store.history(run_id) if event.kind is kind]

    @property
    def tasks(self) -> list[str]:
        """The bodies that ran, by task name without the shop."""
        return [task.removeprefix("shop.") for task, _ in self.ran]

    # --- working -------------------------------------------------------------------------------

    def claim(self, message: Delivery | None = None, ahead: Ahead | None = None) -> Attempt | None:
        """Take a message off the queue, and the attempt it hints at; None if that is refused."""
        message = message or self.post.waiting.pop(0)
        self._holders += 1
        try:
            holder = f"{self.worker_id}-{self._holders}"
            attempt = self.engine.claim(message, holder, QUEUE, ahead=ahead)
        except (CommandRefused, RunNotFound) as error:
            self.refused[error.reason if isinstance(error, CommandRefused) else "no run"] += 1
            return None
        self.at_work.append(attempt)
        return attempt

    def start_and_claim(self) -> Attempt:
        """Start a run, and take the attempt of its first step."""
        self.start()
        attempt = self.claim()
        assert attempt is not None
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
        return self._told(attempt, self.engine.complete(attempt, json.dumps(result)).done)

    def fail(self, attempt: Attempt, error: Exception, **values: Any) -> Transition:
        """Report a failure, and send what follows: by a retry, or by the errback."""
        self._leave(attempt)
        task = attempt.node.task_of(attempt.delivery.phase)
        verdict = replace(classify_error(error), **values)
        told = report(Work(attempt, self.engine, task, _NO_SIGNATURE), verdict)
        return self._told(attempt, self.engine.fail(attempt, *told).done)

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

    def go_on(
        self, attempt: Attempt, ahead: Ahead, result: Any = None, error: Exception | None = None
    ) -> Attempt | None:
        """Report, and take up what follows along with that if *ahead* does; else send it."""
        self._leave(attempt)
        if error is None:
            ended = self.engine.complete(attempt, json.dumps(result), ahead)
        else:
            task = attempt.node.task_of(attempt.delivery.phase)
            work = Work(attempt, self.engine, task, _NO_SIGNATURE)
            ended = self.engine.fail(attempt, *report(work, classify_error(error)), ahead=ahead)
        self._told(attempt, ended.done)
        if ended.following is not None:
            self.at_work.append(ended.following)
        return ended.following

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
        finally:
            if self.store.broken is not None:
                raise self.store.broken

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
            if all(run.status.at_rest for run in self.store.runs()):
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
    return Lease(d.run_id, d.step, d.phase, d.attempt, d.epoch)


def message(step: str, phase: Phase = "do", attempt: int = 1, **values: Any) -> Delivery:
    """A message as somebody might send it."""
    known = {"run_id": "order-42", "epoch": 1, "plan": "", **values}
    return Delivery(step=step, phase=phase, attempt=attempt, **known)
