"""Sagas whose runs are kept in memory, and whose messages go nowhere.

Owns: giving an app such an engine, and playing the worker.  Refuses to know: what is tested.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from celeriac import Failure
from celeriac.engine import Deferred, Engine
from celeriac.engine.attempts import Delivery
from celeriac.machine.commands import Fail
from celeriac.settings import Terms
from celeriac.store.memory import MemoryStore

if TYPE_CHECKING:
    from celeriac import Sagas
    from celeriac.engine.attempts import Attempt
    from celeriac.machine.plans import Phase


class Nowhere:
    """Where messages go."""

    together = nullcontext

    def send(self, *_: Any) -> None:
        """Send nothing."""


def keep_in_memory(sagas: Sagas) -> MemoryStore:
    """Let this process keep the runs of *sagas* in a new store in memory; return the store."""
    runtime, store = sagas.runtime, MemoryStore()
    engine = Engine(store, Terms.of(runtime.settings), patience=0.0)
    engine.gates.know(runtime.rules)
    runtime._engines[os.getpid()] = engine
    runtime.__dict__["dispatcher"] = Nowhere()
    return store


def claim(sagas: Sagas, run_id: str, step: str, phase: Phase = "do") -> Attempt:
    """Take the next attempt of a step, as a worker does that got its message."""
    engine = sagas.runtime.engine
    run = engine.store.read(run_id).run
    assert run is not None
    number = run.step(step).direction(phase).attempt + 1
    return engine.claim(Delivery(run_id, run.epoch, step, phase, number, run.plan), "worker")


def do(sagas: Sagas, run_id: str, step: str, phase: Phase = "do", output: str = '"done"') -> None:
    """Let a step succeed."""
    sagas.runtime.engine.complete(claim(sagas, run_id, step, phase), output)


def fail(sagas: Sagas, run_id: str, step: str, phase: Phase = "do", text: str = "no") -> None:
    """Let a step fail for good."""
    give_up(sagas, claim(sagas, run_id, step, phase), text)


def give_up(sagas: Sagas, attempt: Attempt, text: str = "no") -> None:
    """Let an attempt be the last."""
    name = attempt.delivery
    token = (name.step, name.phase, name.attempt, "worker", name.epoch)
    command = Fail(*token, "abort", "BankDown", "declined")
    failure = Failure(
        type="BankDown", message=text, code="declined", traceback=f"bank.py, line 7\n{text}"
    )
    sagas.runtime.engine.fail(attempt, command, failure)


def ask_outside(sagas: Sagas, run_id: str, step: str) -> str:
    """Let a step ask somebody outside; return the token that he has then."""
    engine, attempt = sagas.runtime.engine, claim(sagas, run_id, step)
    token = engine.give_token(attempt)
    engine.complete(attempt, Deferred(3_600_000))
    return token
