"""Bugs that are planted in the product, to see that chaos finds them.

Owns: a few of the mistakes that the design names, each a small change to a running worker.
Refuses to know: how they are found.
"""

from __future__ import annotations

import dataclasses
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from celeriac.engine import engine, gates
from celeriac.engine.attempts import Attempt
from celeriac.gating import Verdict
from celeriac.machine import PhaseState

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.engine.engine import Engine
    from celeriac.gating import Record
    from celeriac.machine.commands import Fail

VARIABLE = "CHAOS_PLANT"


def plant(name: str) -> None:
    """Make the product of this process wrong; raise KeyError for a bug that nobody knows."""
    BUGS[name]()


def _no_token() -> None:
    """Whoever asks holds the claim: nobody compares numbers and nonces."""

    def wrong(direction: PhaseState, attempt: int, _holder: str) -> bool:
        return direction.attempt >= attempt

    PhaseState.held_by = wrong  # type: ignore[assignment,method-assign]  # on purpose


def _timeout_is_not_done() -> None:
    """A step that was cut off by its time limit counts as one that had no effect."""
    fail = engine.Engine.fail

    def wrong(self: Engine, attempt: Attempt, command: Fail, *rest: Any, **more: Any) -> Any:
        if command.kind == "timeout":
            command = dataclasses.replace(command, effect=False)
        return fail(self, attempt, command, *rest, **more)

    engine.Engine.fail = wrong  # type: ignore[assignment,method-assign]  # on purpose


def _key_per_attempt() -> None:
    """Each attempt has its effect under a key of its own."""
    key: Any = property(lambda self: f"{self.run.key}-{uuid.uuid4().hex[:4]}:{self.node.name}")
    Attempt.key = key  # type: ignore[method-assign]  # on purpose


def _lets_all_in(kind: str) -> None:
    """Whoever comes to a gate of this kind passes."""
    at_gates: Any = gates
    judge = at_gates.judge

    def wrong(gate: str, record: Record, *rest: Any) -> Verdict:
        found: Verdict = judge(gate, record, *rest)
        return Verdict(True) if record.rule.kind == kind else found

    at_gates.judge = wrong  # on purpose


BUGS: dict[str, Callable[[], None]] = {
    "no-token": _no_token,
    "timeout-is-not-done": _timeout_is_not_done,
    "key-per-attempt": _key_per_attempt,
    "limit-lets-all-in": partial(_lets_all_in, "limit"),
    "rate-lets-all-in": partial(_lets_all_in, "rate"),
}
