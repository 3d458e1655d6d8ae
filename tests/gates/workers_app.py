"""The app whose real workers stand before gates: `celery -A tests.gates.workers_app …`.

Owns: two sagas and what their steps leave behind: a line when an attempt begins, and one when it
ends.  Refuses to know: what is tested.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from celery import Celery

from celeriac import Breaker, Flow, Limit, Retry, Saga, Sagas, StepContext

PLACES = 2
QUICK = Retry(max_attempts=20, initial_delay=0.1, jitter=False)
BANK = Breaker("bank", failures=3, within="1m", open_for="1s")


class Kit(NamedTuple):
    """An app and its sagas."""

    sagas: Sagas
    limited: Saga[str, None]
    guarded: Saga[str, None]


def build(url: str, folder: Path, name: str = "shop") -> Kit:
    """Make the app; what it leaves for the test is in *folder*."""
    app = Celery(name, broker=url, set_as_current=False)
    app.conf.update(
        saga_lease=2.0,
        saga_sweep_interval=0.2,
        saga_grace=0.7,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        task_default_queue=name,
    )
    sagas = Sagas(app)
    log = folder / "log"

    def note(ctx: StepContext, what: str) -> None:
        with log.open("a") as file:
            file.write(f"{what} {ctx.idempotency_key}#{ctx.attempt} {time.monotonic():.3f}\n")

    @sagas.step(name=f"{name}.pack", retry=QUICK, limit=Limit(PLACES, name="room"))
    def pack(ctx: StepContext, _order: str) -> None:
        note(ctx, "begin")
        time.sleep(0.15)
        note(ctx, "end")

    @sagas.step(name=f"{name}.charge", retry=QUICK, breaker=BANK)
    def charge(ctx: StepContext, _order: str) -> None:
        note(ctx, "asked")
        if (folder / "down").exists():
            raise ConnectionError("the bank is down")

    @sagas.saga
    def limited(flow: Flow, order: str) -> None:
        flow.step(pack, order)

    @sagas.saga
    def guarded(flow: Flow, order: str) -> None:
        flow.step(charge, order)

    return Kit(sagas, limited, guarded)


if "GATES_URL" in os.environ:
    kit = build(os.environ["GATES_URL"], Path(os.environ["GATES_FOLDER"]), os.environ["GATES_NAME"])
    app = kit.sagas.app
