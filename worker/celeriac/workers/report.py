"""What a worker says of itself when the doctor asks all workers, and how it asks them.

Owns: the control command `celeriac_report`, its answer in both directions, and which beats a worker
got ticks from.  Refuses to know: which answers are good.

A worker answers from its main process, so one whose pool is busy answers too; one with a solo pool
does not while it is at work.  The answer holds no payload and no password.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

import celery
from celery.worker.control import inspect_command
from celery.worker.request import Request
from pydantic import BaseModel, ValidationError

from celeriac.errors import SagaError
from celeriac.workers.state_url import redis_url
from celeriac.workers.urls import place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celery import Celery

COMMAND = "celeriac_report"
CALL_SECONDS = 2.0  # how long answers are waited for
_BEATS_KEPT = 20
#: The clock a worker answers with, in seconds.
clock: Callable[[], float] = time.time


class Ticks(BaseModel):
    """The ticks of one beat that a worker got; ages are seconds, by the worker's clock."""

    first: float
    last: float
    timely: float | None  # the last that had not expired when it came; None: none ever


class Worker(BaseModel):
    """What one worker says of itself."""

    celeriac: str  # versions
    celery: str
    now: float  # seconds since the epoch, by its clock
    namespace: str
    shards: int
    lease: float
    state: str  # where it keeps runs
    pool: str
    prefetch: int
    reject_on_worker_lost: bool
    tasks: frozenset[str]
    queues: frozenset[str]
    beats: dict[str, Ticks] = {}
    gates: dict[str, dict[str, Any]] = {}  # the numbers of each, as its code has them


@dataclass(frozen=True, slots=True)
class WorkerReports:
    """Who answered."""

    workers: Mapping[str, Worker] = field(default_factory=dict)
    ahead: Mapping[str, int] = field(
        default_factory=dict
    )  # ms that a worker's clock is before ours
    strangers: Sequence[str] = ()  # workers that know no Celeriac, or another version's words


def ask_workers(app: Celery, seconds: float = CALL_SECONDS) -> WorkerReports:
    """Ask all workers to report; takes *seconds*, since nobody knows how many there are."""
    asked_at = time.time()
    workers: dict[str, Worker] = {}
    ahead: dict[str, int] = {}
    strangers = []

    def answered(body: dict[str, Any]) -> None:
        between = (asked_at + time.time()) / 2
        for name, said in body.items():
            try:
                workers[name] = worker = Worker.model_validate(said)
                ahead[name] = round((worker.now - between) * 1000)
            except ValidationError:
                strangers.append(name)

    app.control.broadcast(COMMAND, reply=True, timeout=seconds, callback=answered)
    return WorkerReports(workers, ahead, sorted(strangers))


# --- a worker's side -----------------------------------------------------------------------------


class _Seen(NamedTuple):
    first: float
    last: float
    timely: float | None


_beats: dict[str, _Seen] = {}


@inspect_command(name=COMMAND)  # type: ignore[untyped-decorator]  # Celery has no types
def report(state: Any, **_: Any) -> dict[str, Any]:
    """What Celeriac's doctor asks: versions, settings, tasks, queues and the clock."""
    sagas = getattr(state.app, "celeriac", None)
    if sagas is None:
        return {"error": "this worker's app has no sagas"}
    worker, app = state.consumer.controller, state.app
    settings = sagas.runtime.settings
    return Worker(
        celeriac=metadata.version("celeriac"),
        celery=celery.__version__,
        now=clock(),
        namespace=settings.namespace,
        shards=settings.shards,
        lease=settings.lease,
        state=_state(app, settings),
        pool=type(worker.pool).__module__.rpartition(".")[2],
        prefetch=worker.prefetch_multiplier,
        reject_on_worker_lost=bool(app.conf.task_reject_on_worker_lost),
        tasks=frozenset(name for name in app.tasks if not name.startswith("celery.")),
        queues=frozenset(queue.name for queue in state.consumer.task_consumer.queues),
        beats=_ages(clock()),
        gates={
            name: rule.model_dump(exclude_defaults=True)
            for name, rule in sagas.runtime.rules.items()
        },
    ).model_dump(mode="json")


def _state(app: Celery, settings: Any) -> str:
    try:
        return place(redis_url(app, settings))
    except SagaError as error:
        return f"nowhere ({error})"


def _ages(now: float) -> dict[str, Ticks]:
    return {
        beat: Ticks(
            first=now - seen.first,
            last=now - seen.last,
            timely=None if seen.timely is None else now - seen.timely,
        )
        for beat, seen in _beats.items()
    }


class Tick(Request):  # type: ignore[misc]  # Celery has no types
    """A message of the sweep's task: a worker's main process notes which beat sent it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Here, because Celery does nothing more with one that has expired.
        _note(str(self.request_dict.get("origin") or "?"), expired=_expired(self.expires))


def _note(beat: str, *, expired: bool) -> None:
    now = clock()
    before = _beats.pop(beat, _Seen(now, now, None))
    _beats[beat] = _Seen(before.first, now, before.timely if expired else now)
    while len(_beats) > _BEATS_KEPT:
        del _beats[next(iter(_beats))]  # the one not heard of for longest


def _expired(expires: Any) -> bool:
    if not isinstance(expires, datetime):
        return False
    aware = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
    return aware.timestamp() < clock()


def forget() -> None:
    """Forget all beats: a pool child that was forked starts with none."""
    _beats.clear()


os.register_at_fork(after_in_child=forget)
