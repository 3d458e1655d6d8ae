"""A shop whose state is in a real Redis and whose effects are in a ledger outside of it.

Owns: a saga of three steps, a bank that keeps keys, clients that start runs, and workers in this
process that take messages, act and settle, with a clock that the test moves.  Refuses to know:
what happens to Redis meanwhile.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celeriac.engine.sweep import Sweep
from celeriac.errors import CommandRefused, RunNotFound
from celeriac.failure import Failure
from celeriac.machine.commands import Cancel, Fail, Start
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from tests.engine.driver import GRACE, LEASE, QUEUE, Post
from tests.machine.participants import Account, Participant
from tests.machine.story import saga
from tests.model.faulty_connection import ExactClock, LineEngine, LineStore

if TYPE_CHECKING:
    from collections.abc import Container

    from celeriac.engine.attempts import Attempt
    from celeriac.machine.runs import Run
    from tests.redis_server import RedisServer

PLAN = saga("reserve", "charge", "ship")
STEPS = tuple(node.name for node in PLAN.nodes)


@dataclass
class Ledger:
    """What the participants have on record of each key; it never goes back in time."""

    accounts: dict[str, Account] = field(default_factory=dict)
    kind: Participant = Participant.TOMBSTONE

    def do(self, key: str) -> bool:
        """Ask for an effect; return whether it was granted."""
        self.accounts[key], granted = self.kind.do(self.accounts.get(key, Account()))
        return granted

    def undo(self, key: str, generation: int) -> None:
        """Ask for an effect to be taken back."""
        account = self.accounts.get(key, Account())
        self.accounts[key] = self.kind.undo(account, generation)

    @property
    def doubled(self) -> list[str]:
        """Keys that took effect more than once (I2)."""
        return [key for key, account in self.accounts.items() if account.made > 1]

    def standing(self, key: str) -> int:
        """How many effects of a key stand now."""
        return self.accounts.get(key, Account()).standing


class Shop:
    """Clients and workers over one Redis."""

    def __init__(
        self, server: RedisServer, ledger: Ledger, clock: ExactClock | None = None
    ) -> None:
        self.ledger, self.clock = ledger, clock or ExactClock()
        self.store = LineStore(server, self.clock, [])
        self.engine = LineEngine(self.store, self.clock)
        self.post = Post()
        self.refused: Counter[str] = Counter()

    def close(self) -> None:
        """Give back connections."""
        self.store.close()

    def start(self, run_id: str) -> Run:
        """Start a run; the same id again joins the run that there is."""
        command = Start(run_id, "input", f"call-{run_id}", GRACE, tags=(("tenant", run_id[-1]),))
        plan, done, now = self.engine.start(PLAN, command, {"order": json.dumps(run_id)})
        self.engine.send(self.post, plan, done.run, done.dispatches, now)
        return done.run

    def cancel(self, run_id: str) -> None:
        """Cancel a run, if it can still be."""
        try:
            plan, done, now = self.engine.command(run_id, Cancel("changed my mind"))
        except (CommandRefused, RunNotFound):
            return
        self.engine.send(self.post, plan, done.run, done.dispatches, now)

    # --- working -------------------------------------------------------------------------------

    def claim(self) -> Attempt | None:
        """Take the next message, and its attempt; None if that is refused."""
        message = self.post.waiting.pop(0)
        holder = f"{message.run_id}/{message.step}/{len(self.post.sent)}/{self.clock.now}"
        try:
            return self.engine.claim(message, holder, QUEUE)
        except (CommandRefused, RunNotFound) as error:
            self.refused[type(error).__name__] += 1
            return None

    def act(self, attempt: Attempt) -> bool:
        """Ask the participant for what the attempt is about; return whether it was granted."""
        if attempt.delivery.phase == "do":
            return self.ledger.do(attempt.key)
        self.ledger.undo(attempt.key, attempt.run.step(attempt.node.name).generation)
        return True

    def settle(self, attempt: Attempt, *, granted: bool) -> None:
        """Report how it went, and send what follows."""
        d = attempt.delivery
        if granted:
            done = self.engine.complete(attempt, json.dumps(attempt.key)).done
        else:
            told = Fail(
                *(d.step, d.phase, d.attempt, attempt.holder, d.epoch), kind="abort", effect=False
            )
            done = self.engine.fail(attempt, told, Failure(type="Refused")).done
        self.engine.send(self.post, attempt.plan, done.run, done.dispatches, self.clock.now)

    def work(self, most: int | None = None) -> int:
        """Take messages and see to them until none waits; return how many were taken."""
        taken = 0
        while self.post.waiting and (most is None or taken < most):
            taken += 1
            attempt = self.claim()
            if attempt is not None:
                self.settle(attempt, granted=self.act(attempt))
        return taken

    # --- going on ------------------------------------------------------------------------------

    def pass_time(self, ms: int = 1_000) -> None:
        """Let time pass; workers show that they live, and a sweep comes by."""
        self.clock.now += ms
        self.store.pulse(LEASE * 2 // 3)
        Sweep(self.engine, self.post).run()

    def bring_to_rest(self, most: int = 200) -> list[Run]:
        """Work and sweep until every run is at rest (L1); return them all."""
        for _ in range(most):
            self.work()
            runs = self.runs()
            if all(run.status.at_rest for run in runs):
                return runs
            self.pass_time()
        raise AssertionError(f"after {most} s not every run is at rest: {self.runs()}")

    def runs(self) -> list[Run]:
        """Every run there is."""
        found = (self.store.indexed_runs(shard) for shard in range(self.store.shards))
        return [standing.run for each in found for standing in each]  # type: ignore[union-attr]

    def check_books(self, runs: list[Run], undone_before: Container[str] = ()) -> None:
        """The ledger says what the runs say, as far as it still can (I1, I2).

        Runs in *undone_before* were undone in a time that the state knows nothing of any more.
        """
        assert self.ledger.doubled == []
        wrong = {run.id: told for run in runs if (told := self._contradiction(run))}
        assert {run_id: told for run_id, told in wrong.items() if run_id not in undone_before} == {}

    def _contradiction(self, run: Run) -> str | None:
        """What the ledger says against a run."""
        for name in STEPS:
            standing = self.ledger.standing(f"{run.key}:{name}")
            if run.status is RunStatus.COMPLETED and standing != 1:
                return f"completed, and {name} has {standing} effects standing (I1)"
            owed = run.step(name).undo.state is PhaseStatus.FAILED
            if run.status is not RunStatus.COMPLETED and standing and not owed:
                return f"{run.status}, and {name} stands (I1)"
        return None
