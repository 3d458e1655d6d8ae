"""The app of the tests of schedules whose last run still goes on, and of changes of the clock.

Owns: a schedule of each rule for what overlaps, whose first run waits until it is let go; and one
with a fixed hour.  Refuses to know: who sweeps.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Literal

import redis
from celery import Celery
from celery.schedules import crontab

from celeriac import Flow, Sagas, StepContext

URL = os.environ.get("TICKING_URL", "redis://127.0.0.1:1/0")
RULES: tuple[Literal["skip", "queue", "cancel", "allow"], ...] = (
    "skip",
    "queue",
    "cancel",
    "allow",
)
ZONE = "Europe/Berlin"

app = Celery("rules", broker=URL)
app.conf.update(
    saga_redis_url=URL,
    saga_lease=5,
    saga_sweep_interval=0.2,
    saga_grace=0.7,
    worker_hijack_root_logger=False,
)
sagas = Sagas(app)


@sagas.step
def hold(ctx: StepContext, rule: str) -> None:
    """Count the call; in the first run of a schedule, wait until everybody may go."""
    with redis.Redis.from_url(URL) as client:
        client.hincrby("effects", ctx.run_id, 1)
        if not client.set(f"first:{rule}", ctx.run_id, nx=True):
            return
        while not client.exists("go"):
            ctx.heartbeat()  # raises once the run has turned round
            time.sleep(0.05)  # a condition is awaited


@hold.compensation
def let_go(ctx: StepContext) -> None:
    """Take the call back."""
    with redis.Redis.from_url(URL) as client:
        client.hincrby("effects", ctx.run_id, -1)


@sagas.saga
def held(flow: Flow, rule: str) -> None:
    """Have one effect."""
    flow.step(hold, rule)


for each in RULES:
    sagas.schedule(each, held, each, every=timedelta(seconds=1), overlap=each, catch_up="5s")


@sagas.step(effect="none")
def note(ctx: StepContext) -> None:
    """Count each call."""
    with redis.Redis.from_url(URL) as client:
        client.hincrby("nights", ctx.run_id, 1)


@sagas.saga
def night(flow: Flow) -> None:
    """Have one effect."""
    flow.step(note)


sagas.schedule("night", night, every=crontab(minute=30, hour=2), timezone=ZONE)
