"""How many round trips to Redis a step takes, counted at the client's socket.

Owns: counting.  Refuses to know: time.
"""

from __future__ import annotations

from typing import Any

from redis.connection import AbstractConnection

from bench.app import SAGAS, sagas
from celeriac.engine import Delivery
from celeriac.models import Dispatch


def trips_per_step() -> float:
    """Drive one run of 10 steps through the engine, and count what is sent for each of them."""
    engine, plan = sagas.runtime.engine, SAGAS[10].planned.plan
    sagas.runtime.courier.send = lambda *_: None  # type: ignore[method-assign]  # no broker here
    run_id = SAGAS[10].start().id
    dispatch = Dispatch(plan.nodes[0].name, "do", 1, 0)
    with _Counted() as sent:
        for _ in plan.nodes:
            hint = Delivery(run_id, 1, dispatch.step, "do", 1, plan.fingerprint)
            done = engine.complete(engine.claim(hint, "bench", "celery"), "null")
            dispatch = next(iter(done.dispatches), dispatch)
    return sent.count / len(plan.nodes)


class _Counted:
    """Counts calls to the socket of any connection."""

    def __enter__(self) -> _Counted:
        self.count, self._send = 0, AbstractConnection.send_packed_command

        def send(connection: Any, *args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return self._send(connection, *args, **kwargs)

        AbstractConnection.send_packed_command = send  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        AbstractConnection.send_packed_command = self._send  # type: ignore[method-assign]
