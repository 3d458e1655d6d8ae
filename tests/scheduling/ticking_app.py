"""The app of the tests with real beats and workers: a schedule that ticks every second.

Owns: the saga and its effect, which is counted in Redis.  Refuses to know: who sweeps.
"""

from __future__ import annotations

import os
from datetime import timedelta

import redis
from celery import Celery

from celeriac import Flow, Sagas, StepContext

URL = os.environ.get("TICKING_URL", "redis://127.0.0.1:1/0")

app = Celery("ticking", broker=URL)
app.conf.update(
    saga_redis_url=URL, saga_lease=3, saga_sweep_interval=0.2, worker_hijack_root_logger=False
)
sagas = Sagas(app)


@sagas.step(effect="none")
def note(ctx: StepContext) -> None:
    """Count each call."""
    with redis.Redis.from_url(URL) as client:
        client.hincrby("effects", ctx.run_id, 1)


@sagas.saga
def count(flow: Flow) -> None:
    """Have one effect."""
    flow.step(note)


each_second = sagas.schedule("each", count, every=timedelta(seconds=1), overlap="allow")
