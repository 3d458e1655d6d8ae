"""The app that is measured: the same work as bare Celery tasks and as steps of sagas.

Owns: the tasks, what puts them together on both sides, and telling when what was started has run.
Refuses to know: how it is timed.

The environment says where and how it runs: `CELERY_BROKER_URL` (Celery's own) names a Redis,
`BENCH_AHEAD=0` turns running ahead off, `BENCH_PROFILE` is a folder for samples of its workers.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from celery import Celery, chain
from redis import Redis

from bench import sampling
from celeriac import Abort, Flow, Limit, Saga, Sagas, StepContext

if TYPE_CHECKING:
    from datetime import datetime

LENGTHS = (3, 10, 30, 100)
FAN = 10  # steps of which all but the last stand side by side
SLOW = "bench-slow"  # a queue beside the usual one
LEFT, ENDED = "bench:left", "bench:ended"
LIVE = "bench:live"
HELD = "bench:held"
PLACES = 4  # of the gate
_HOW_LONG = {"short": 0.02, "slow": 0.1}  # seconds that a step of the mixed load sleeps

app = Celery("bench", broker="redis://localhost:6379/0")
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)
if os.environ.get("BENCH_AHEAD") == "0":
    app.conf.saga_run_ahead = 0
if folder := os.environ.get("BENCH_PROFILE"):
    sampling.install(folder)
sagas = Sagas(app)


@cache
def redis() -> Redis:
    """Return this process's client of the Redis in which the ends are told."""
    return Redis.from_url(app.conf.broker_url, socket_timeout=None, decode_responses=True)


def count_down() -> None:
    """Count one end; the last one tells when its body was called.  Both sides pay for it."""
    now = time.perf_counter()  # on one machine, one clock for all processes
    if redis().decr(LEFT) == 0:
        redis().rpush(ENDED, now)


# --- bare tasks -----------------------------------------------------------------------------------


class Declined(Exception):
    """What a bare task raises when it has to be given up."""


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def bare() -> None:
    """Do nothing."""


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def bare_last() -> None:
    """Do nothing, and be counted."""
    count_down()


@app.task  # type: ignore[untyped-decorator]  # Celery has no types
def bare_decline() -> None:
    """Refuse; the worker logs it, as it logs the failure of a saga's step."""
    raise Declined("card declined")


@app.task(bind=True)  # type: ignore[untyped-decorator]  # Celery has no types
def undo_two(_self: Any, _failed: str) -> None:
    """Undo two tasks, the last one first.

    Bound, so that it is sent as a message: called inside the worker, an errback loses whatever goes
    wrong in it.  For the same reason each undo is a task, which can be retried.
    """
    chain(bare.si(), bare_last.si()).apply_async()


def bare_chain(length: int) -> Any:
    """Return a Celery chain of *length* no-op tasks."""
    return chain(*[bare.si() for _ in range(length - 1)], bare_last.si())


def bare_failing() -> Any:
    """Return a chain of three whose last task refuses, and whose errback undoes the first two."""
    return chain(bare.si(), bare.si(), bare_decline.si()).on_error(undo_two.s())


# --- sagas ----------------------------------------------------------------------------------------


@sagas.step
def step() -> None:
    """Do nothing."""


@sagas.step
def step_last() -> None:
    """Do nothing, and be counted."""
    count_down()


@sagas.step
def step_undone_last() -> None:
    """Do nothing."""


@step_undone_last.compensation
def undo_last() -> None:
    """Undo nothing, and be counted."""
    count_down()


@sagas.step
def step_undone() -> None:
    """Do nothing."""


@step_undone.compensation
def undo() -> None:
    """Undo nothing."""


@sagas.step
def decline() -> None:
    """Refuse."""
    raise Abort("card declined", code="card_declined", effect=False)


@sagas.step
def nap(kind: str) -> None:
    """Sleep as long as such a step does."""
    time.sleep(_HOW_LONG[kind])


@sagas.step(queue=SLOW)
def nap_apart(kind: str) -> None:
    """Sleep in the slow queue."""
    time.sleep(_HOW_LONG[kind])


@sagas.step
def nap_last(kind: str, name: str, began: float) -> None:
    """Sleep, and tell what ended and how long that took."""
    time.sleep(_HOW_LONG[kind])
    redis().rpush(ENDED, f"{name} {time.perf_counter() - began}")


def _noop(length: int) -> Saga[Any, None]:
    def steps(flow: Flow) -> None:
        for _ in range(length - 1):
            flow.step(step)
        flow.step(step_last)

    return sagas.saga(name=f"noop-{length}")(steps)


def _napping(name: str, length: int) -> Saga[float, None]:
    def steps(flow: Flow, began: float) -> None:
        for _ in range(length - 1):
            flow.step(nap, "short")
        flow.step(nap_last, "short", name, began)

    return sagas.saga(name=name)(steps)


@sagas.step
def each(item: int) -> int:
    """Do nothing for an element."""
    return item


@each.compensation
def undo_each(item: int) -> None:
    """Undo nothing for an element."""


@sagas.saga
def fan(flow: Flow) -> None:
    """Branches of one step each, but for the last step, which waits for them."""
    with flow.parallel():
        for _ in range(FAN - 1):
            flow.step(step)
    flow.step(step_last)


@sagas.saga
def mapping(flow: Flow, items: list[int]) -> None:
    """A step for each element, and one that is counted."""
    flow.map(each, items)
    flow.step(step_last)


@sagas.saga
def unmapping(flow: Flow, items: list[int]) -> None:
    """A step for each element, all of which are undone, before one that is counted then."""
    flow.step(step_undone_last)
    flow.map(each, items)
    flow.step(decline)


def sleeping_until(moment: datetime) -> Saga[Any, None]:
    """Return a saga of nothing before *moment*, and a step then that is counted.

    A worker need not have it: it knows the step, and the plan comes with the run.
    """

    def sleep(flow: Flow) -> None:
        flow.sleep_until(moment)
        flow.step(step_last)

    return sagas.saga(name=f"until-{moment:%H%M%S%f}")(sleep)


@sagas.step
def pass_by(began: float) -> None:
    """Do nothing, and tell how long it took until then."""
    redis().rpush(LIVE, time.perf_counter() - began)


@sagas.saga
def passing(flow: Flow, began: float) -> None:
    """Three steps, of which the last tells how long they took."""
    flow.step(step)
    flow.step(step)
    flow.step(pass_by, began)


_LINE = Limit(PLACES, name="bench-line")


@sagas.step(limit=_LINE)
def stay(ctx: StepContext) -> str:
    """Keep a place, with nobody at work, until it is told to end."""
    redis().rpush(HELD, ctx.token)
    return ctx.later("1d")


@sagas.step(limit=_LINE)
def enter() -> None:
    """Do nothing, and be counted."""
    count_down()


@sagas.saga
def staying(flow: Flow) -> None:
    """Take a place of the gate."""
    flow.step(stay)


@sagas.saga
def entering(flow: Flow) -> None:
    """Pass the gate."""
    flow.step(enter)


SAGAS = {length: _noop(length) for length in LENGTHS}
short, long = _napping("short", 3), _napping("long", 100)


@sagas.saga
def failing(flow: Flow) -> None:
    """Two steps that are undone, since the third refuses."""
    flow.step(step_undone_last)
    flow.step(step_undone)
    flow.step(decline)


@sagas.saga
def detour(flow: Flow, began: float) -> None:
    """Three steps, the second of which is in the slow queue."""
    flow.step(nap, "short")
    flow.step(nap_apart, "slow")
    flow.step(nap_last, "short", "detour", began)
