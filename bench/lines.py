"""`python -m bench.lines 100 1000 10000`: what a line before a gate costs the Redis it stands in.

Owns: a Redis for the length of it, and runs that wait at a limit and pass it, driven by the engine
alone; round trips and commands of each to join the line, to stand in it, and to pass; whether they
passed in the order in which they came.  Refuses to know: the broker and Celery (`gates`).
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections import deque
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.costs import Cost, cost_of
from celeriac.engine import Backlog, Delivery, Engine, Sweep
from celeriac.errors import CommandRefused
from celeriac.machine import Gate, Node, Plan, Rule, Start
from celeriac.settings import Terms
from celeriac.store.redis import RedisStore
from celeriac.testing.servers import LocalRedis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from celeriac.engine.attempts import Attempt
    from celeriac.machine import Dispatch, Run

PLACES = 5
_SWEEPS = 20
_TERMS = Terms(lease=15_000, grace=600_000, retention=86_400_000, max_payload=10_000, batch=100)
_GATE = Gate(name="bank", rule=Rule(kind="limit", most=PLACES))
_PLAN = Plan(saga="line", nodes=(Node(name="charge", task="line.charge", gates=(_GATE,)),))


class Figures(NamedTuple):
    """What each of those in line has cost."""

    waiting: int  # how many stood there
    joining: Cost  # each, from its start until it stood there
    standing: Cost  # all of them, for the length of a sweep
    nobody: Cost  # a sweep when there was no line
    passing: Cost  # each, from the end of one before until its own
    overtaken: int  # how many passed before somebody who had come earlier


class _Crowd:
    """Runs at one gate, with a worker that takes each message at once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.messages: deque[Delivery] = deque()
        self.inside: deque[Attempt] = deque()
        self.passed: list[str] = []
        engine.gates.send = self._sent

    def _sent(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], now: int) -> None:
        self.engine.send(self, plan, run, dispatches, now)

    def send(self, plan: Plan, run: Run, dispatches: Sequence[Dispatch], _: int) -> None:
        """Put messages into the queue."""
        self.messages += [
            Delivery(run.id, run.epoch, each.step, each.phase, each.attempt, plan.fingerprint)
            for each in dispatches
        ]

    together = nullcontext  # one by one

    def backlog(self, *_: object) -> Backlog:
        """How much waits in the queue."""
        return Backlog("line", len(self.messages))

    def start(self, number: int) -> None:
        """Start a run, and let it come to the gate."""
        command = Start(f"run-{number:05}", "", f"call-{number}", _TERMS.grace)
        _, done, now = self.engine.start(_PLAN, command, {})
        self.engine.send(self, _PLAN, done.run, done.dispatches, now)
        self._take_messages()

    def _take_messages(self) -> None:
        while self.messages:
            with suppress(CommandRefused):
                attempt = self.engine.claim(self.messages.popleft(), "worker", "celery")
                self.inside.append(attempt)
                self.passed.append(attempt.delivery.run_id)

    def leave(self, _: int = 0) -> None:
        """Let the one that is in there the longest end, and the next come in."""
        done = self.engine.complete(self.inside.popleft(), "null").done
        self.engine.send(self, _PLAN, done.run, done.dispatches, 0)
        self._take_messages()

    def sweep(self, _: int = 0) -> None:
        """Sweep once."""
        Sweep(self.engine, self).run()


def measured(waiting: int) -> Figures:
    """Let so many stand in line at a Redis of its own, and then let all of them pass."""
    with (
        tempfile.TemporaryDirectory(prefix="celeriac-lines-") as folder,
        LocalRedis(Path(folder)) as server,
        server.client() as client,
        closing(RedisStore(server.url, shards=8)) as store,
    ):
        return _figures(client, _Crowd(Engine(store, _TERMS)), waiting)


def _figures(client: Redis, crowd: _Crowd, waiting: int) -> Figures:
    for number in range(PLACES):
        crowd.start(number)
    crowd.sweep()  # what all sweeps share is there from now on
    nobody = cost_of(client, _SWEEPS, crowd.sweep)
    joining = cost_of(client, waiting, lambda n: crowd.start(PLACES + n))
    assert len(crowd.passed) == PLACES, "nobody passes while all places are taken"
    standing = cost_of(client, _SWEEPS, crowd.sweep)
    passing = cost_of(client, waiting, crowd.leave)
    while crowd.inside:
        crowd.leave()
    assert len(crowd.passed) == PLACES + waiting, "all have passed, each once"
    assert crowd.engine.store.gates.known() == [], "nothing is left of the gate"
    overtaken = sum(a > b for a, b in zip(crowd.passed, crowd.passed[1:], strict=False))
    return Figures(waiting, joining, standing, nobody, passing, overtaken)


def main(words: Sequence[str]) -> None:
    """Print a line for each length."""
    logging.getLogger("celeriac").setLevel(logging.ERROR)
    print(f"runs in line at a limit of {PLACES}: round trips / commands / CPU of Redis in µs")
    for waiting in [int(word) for word in words] or [100, 1_000]:
        found = measured(waiting)
        told = ", ".join(
            f"{name} {cost.trips:.1f} / {cost.commands:.0f} / {cost.cpu:.0f}"
            for name, cost in found._asdict().items()
            if isinstance(cost, Cost)
        )
        print(f"{waiting:6}: {told}; {found.overtaken} overtaken")


if __name__ == "__main__":
    main(sys.argv[1:])
