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


def trips_per_step() -> float:
    """Drive one run of 10 steps through the engine, and count what is sent for each of them."""
    engine, plan = sagas.runtime.engine, SAGAS[10].planned.plan
    with patch.object(sagas.runtime.dispatcher, "send"):  # no broker here
        run_id = SAGAS[10].start().id
    engine.store.plan(run_id, plan.fingerprint)  # a worker reads it once in its life
    dispatch = Dispatch(plan.nodes[0].name, "do", 1, 0)
    with counted() as sent:
        for _ in plan.nodes:
            hint = Delivery(run_id, 1, dispatch.step, "do", 1, plan.fingerprint)
            done = engine.complete(engine.claim(hint, "bench", "celery"), "null").done
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
