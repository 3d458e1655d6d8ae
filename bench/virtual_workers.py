"""`python -m bench.virtual_workers 250 500 1000`: that a sweep's work grows as the fleet does.

Owns: workers that exist only as numbers, over the real engine and the memory store, in virtual
time; and how often the store is asked while they hold leases, when half of them die, and when every
message is lost.  Refuses to know: Celery, Redis, and how long anything takes there.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.engine import Backlog, Engine, Sweep
from celeriac.engine.attempts import Delivery
from celeriac.machine import EventKind, Node, Plan, RetryRule, RunStatus, Start
from celeriac.settings import Terms
from celeriac.store import Lease
from celeriac.store.memory import MemoryStore
from celeriac.testing.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.engine.attempts import Attempt
    from celeriac.machine import Dispatch, Run

SECOND = 1_000  # ms
LEASE, GRACE = 15 * SECOND, 10 * SECOND
TERMS = Terms(lease=LEASE, grace=GRACE, retention=86_400_000, max_payload=10_000, batch=100)
PLAN = Plan(
    saga="fleet",
    nodes=(
        Node(name="long", task="fleet.long", retry=RetryRule(backoff="none", initial_delay=0)),
        Node(name="short", task="fleet.short", after=("long",)),
    ),
)
_LENGTHS = {"long": 120 * SECOND, "short": SECOND}  # of the bodies
_HELD = 20  # seconds for which everybody is at work
_PATIENCE = 600  # seconds


class Figures(NamedTuple):
    """How often the store was asked, by what it was asked for, and how long that took here."""

    workers: int
    holding: Counter[str]  # while every worker holds a lease
    dying: Counter[str]  # from the death of half of them until what they held is sent again
    losing: Counter[str]  # from the loss of all messages until every run has come to rest
    cpu: dict[str, float]  # seconds of this process


class CountingStore(MemoryStore):
    """A memory store that counts what it is asked for."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.ms)
        self.asked: Counter[str] = Counter()

    def read(self, run_id: str, fields: Sequence[str] = ()) -> Any:
        """Read a run."""
        self.asked["read"] += 1
        return super().read(run_id, fields)

    def commit(self, change: Any) -> bool:
        """Write a run."""
        self.asked["commit"] += 1
        return super().commit(change)

    def due(self, shard: int, limit: int) -> Any:
        """Take what is due."""
        self.asked["due"] += 1
        return super().due(shard, limit)

    def postpone(self, entries: Any) -> None:
        """Look later."""
        self.asked["postpone"] += 1
        super().postpone(entries)

    def renew(self, leases: Sequence[Lease], lease_ms: int) -> set[Lease]:
        """Renew leases, counted one by one."""
        self.asked["renew"] += len(leases)
        return super().renew(leases, lease_ms)


class Fleet:
    """Virtual workers, each with one process, and a queue."""

    def __init__(self, workers: int) -> None:
        self.clock = Clock()
        self.store = CountingStore(self.clock)
        self.engine = Engine(self.store, TERMS, clock=self.clock.seconds)
        self.alive = set(range(workers))
        self.at_work: dict[int, tuple[Attempt, int]] = {}  # by worker: until when (ms)
        self.queue: list[Delivery] = []
        self.sent: Counter[tuple[str, str, int]] = Counter()  # by run, step and attempt
        self.taking = True  # whether messages of the last step are taken
        self._renewed = 0

    # --- what a dispatcher does ------------------------------------------------------------------

    def send(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], now: int) -> None:  # noqa: ARG002
        """Put messages into the queue."""
        for d in dispatches:
            self.sent[run.id, d.step, d.attempt] += 1
            self.queue.append(
                Delivery(run.id, run.epoch, d.step, d.phase, d.attempt, plan.fingerprint)
            )

    together = nullcontext  # one by one

    def backlog(self, task: str, queue: str | None = None) -> Backlog:  # noqa: ARG002
        """How much waits."""
        return Backlog("fleet", len(self.queue))

    # --- what happens ----------------------------------------------------------------------------

    def start(self, runs: int) -> None:
        """Start as many runs."""
        for n in range(runs):
            command = Start(f"run-{n}", "", f"call-{n}", GRACE)
            _, done, now = self.engine.start(PLAN, command, {})
            self.engine.send(self, PLAN, done.run, done.dispatches, now)

    def second(self) -> None:
        """Let a second pass: bodies end, workers take messages, leases are renewed; a sweep."""
        self.clock.now += SECOND
        for worker, (attempt, until) in list(self.at_work.items()):
            if self.clock.now >= until:
                del self.at_work[worker]
                done = self.engine.complete(attempt, "null").done
                self.engine.send(self, PLAN, done.run, done.dispatches, self.clock.now)
        waiting = [each for each in self.queue if self.taking or each.step == "long"]
        for worker, message in zip(sorted(self.alive - self.at_work.keys()), waiting, strict=False):
            self.queue.remove(message)
            attempt = self.engine.claim(message, f"worker-{worker}", "fleet")
            self.at_work[worker] = attempt, self.clock.now + _LENGTHS[message.step]
        self.store.pulse(LEASE)
        if self.clock.now - self._renewed >= LEASE // 3:
            self._renewed = self.clock.now
            for attempt, _ in self.at_work.values():
                d = attempt.delivery
                self.store.renew([Lease(d.run_id, d.step, d.phase, d.attempt, d.epoch)], LEASE)
        Sweep(self.engine, self).run(seconds=60)

    def die(self, workers: set[int]) -> int:
        """Let workers die with what they hold; return how many attempts that were."""
        self.alive -= workers
        held = self.at_work.keys() & workers
        for worker in held:
            del self.at_work[worker]
        return len(held)

    def until(self, true: Any) -> None:
        """Let seconds pass until something is true."""
        for _ in range(_PATIENCE):
            if true():
                return
            self.second()
        raise AssertionError(f"not within {_PATIENCE} virtual seconds")

    @property
    def at_rest(self) -> int:
        """How many runs have come to rest."""
        return sum(n for (_, status), n in self.store.counts().items() if status.at_rest)

    def count(self, step: str, attempt: int) -> int:
        """How many messages of an attempt of a step were sent."""
        return sum(n for (_, s, a), n in self.sent.items() if (s, a) == (step, attempt))


def simulate(workers: int) -> Figures:
    """Bring as many runs as there are *workers* to their end, through deaths and losses."""
    fleet = Fleet(workers)
    fleet.start(workers)
    fleet.until(lambda: len(fleet.at_work) == workers)
    for _ in range(2 * LEASE // SECOND):  # workers have been up for long: leases are trusted
        fleet.second()
    cpu: dict[str, float] = {}
    with _counted(fleet, cpu, "holding") as holding:
        for _ in range(_HELD):
            fleet.second()
    dead = fleet.die(set(range(workers // 2)))
    assert dead == workers // 2, "they were at work"
    with _counted(fleet, cpu, "dying") as dying:
        fleet.until(lambda: fleet.count("long", 2) == dead)
    fleet.taking = False
    fleet.until(lambda: fleet.count("short", 1) == workers)
    fleet.queue.clear()
    fleet.taking = True
    with _counted(fleet, cpu, "losing") as losing:
        fleet.until(lambda: fleet.at_rest == workers)
    _check(fleet, workers, dead)
    return Figures(workers, holding, dying, losing, cpu)


@contextmanager
def _counted(fleet: Fleet, cpu: dict[str, float], name: str) -> Iterator[Counter[str]]:
    found: Counter[str] = Counter()
    before, began = fleet.store.asked.copy(), time.process_time()
    yield found
    cpu[name] = time.process_time() - began
    found.update(fleet.store.asked - before)


def _check(fleet: Fleet, workers: int, dead: int) -> None:
    """Nothing was lost or done twice but what had to be."""
    events = [e.kind for n in range(workers) for e in fleet.store.history(f"run-{n}")]
    assert fleet.store.counts() == {("fleet", RunStatus.COMPLETED): workers}, "every run completed"
    assert events.count(EventKind.LOST) == dead, "who was alive kept its step"
    assert events.count(EventKind.CLAIMED) == 2 * workers + dead, "nothing was done twice"


def main(words: Sequence[str]) -> None:
    """Print what each fleet has asked of its store, for each worker."""
    logging.getLogger("celeriac").setLevel(logging.CRITICAL)
    print("asked of the store, for each worker concerned; in brackets: CPU seconds of all of it")
    for workers in [int(word) for word in words] or [250, 500, 1000]:
        figures = simulate(workers)
        parts = (("holding", workers), ("dying", workers // 2), ("losing", workers))
        for part, concerned in parts:
            asked: Counter[str] = getattr(figures, part)
            told = ", ".join(f"{name} {n / concerned:.2f}" for name, n in sorted(asked.items()))
            print(f"{workers:6} workers, {part}: {told} ({figures.cpu[part]:.2f})")


if __name__ == "__main__":
    main(sys.argv[1:])
