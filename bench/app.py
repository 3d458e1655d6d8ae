"""The app that is measured: no-op tasks, once as bare Celery tasks, once as steps of sagas.

Owns: the tasks, and telling when the last of a batch has run.  Refuses to know: how it is timed.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, chain
from redis import Redis

from celeriac import Flow, Saga, Sagas

URL = os.environ.get("BENCH_URL", "redis://localhost:6379/0")
LENGTHS = (3, 10, 30, 100)
DONE, TARGET, READY = "bench:done", "bench:target", "bench:ready"

app = Celery("bench", broker=URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
sagas = Sagas(app)
redis = Redis.from_url(URL, socket_timeout=None)


def tick() -> None:
    """Count one finished chain or saga; both sides pay for it."""
    if redis.incr(DONE) == int(redis.get(TARGET) or 0):
        redis.rpush(READY, 1)


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def bare() -> None:
    """Do nothing."""


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def bare_last() -> None:
    """Do nothing, and be counted."""
    tick()


@sagas.step
def step() -> None:
    """Do nothing."""


@sagas.step
def step_last() -> None:
    """Do nothing, and be counted."""
    tick()


def bare_chain(length: int) -> Any:
    """A Celery chain of *length* no-op tasks."""
    return chain(*[bare.si() for _ in range(length - 1)], bare_last.si())


def _saga(length: int) -> Saga[Any, None]:
    def steps(flow: Flow) -> None:
        for _ in range(length - 1):
            flow.step(step)
        flow.step(step_last)

    return sagas.saga(name=f"noop-{length}")(steps)


SAGAS = {length: _saga(length) for length in LENGTHS}
