"""How many round trips to Redis a step takes, counted at the client's socket.

Owns: counting.  Refuses to know: time.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from redis.connection import AbstractConnection

from bench.app import SAGAS, sagas
from celeriac.engine.attempts import Delivery
from celeriac.machine.events import Dispatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine import Node, Phase, Run


class Runner:
    """A worker that runs everything ahead, or nothing."""

    def __init__(self, left: int) -> None:
        self.left = left

    def suits(self, _node: Node, _phase: Phase) -> bool:
        """Whatever it is."""
        return True

    def take(self, _run: Run, _node: Node, _dispatch: Dispatch) -> str:
        """Take what is offered."""
        self.left -= 1
        return "bench"


def trips_per_step(*, ahead: bool) -> float:
    """Drive one run of 10 steps through the engine, and count what is sent for each of them."""
    engine, plan = sagas.runtime.engine, SAGAS[10].planned.plan
    with patch.object(sagas.runtime.dispatcher, "send"):  # no broker here
        run_id = SAGAS[10].start().id
    engine.store.plan(run_id, plan.fingerprint)  # a worker reads it once in its life
    runner = Runner(len(plan.nodes) if ahead else 0)
    dispatch = Dispatch(plan.nodes[0].name, "do", 1, 0)
    following = None
    with counted() as sent:
        for _ in plan.nodes:
            hint = Delivery(run_id, 1, dispatch.step, "do", 1, plan.fingerprint)
            attempt = following or engine.claim(hint, "bench", "celery", ahead=runner)
            done, following = engine.complete(attempt, "null", runner)
            dispatch = next(iter(done.dispatches), dispatch)
    return len(sent) / len(plan.nodes)


@contextmanager
def counted() -> Iterator[list[None]]:
    """Count what any connection sends, pipelines as one."""
    sent: list[None] = []
    send = AbstractConnection.send_packed_command

    def counting(connection: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(None)
        return send(connection, *args, **kwargs)  # type: ignore[no-untyped-call]

    with patch.object(AbstractConnection, "send_packed_command", counting):
        yield sent
