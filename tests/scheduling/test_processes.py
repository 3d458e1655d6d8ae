"""Schedules with real beats, workers and sweeps: each tick once, whatever their number.

Owns: two beats, three sweeps, a clock that is an hour wrong, and nobody for a while.  Refuses to
know: the rules of ticks (`test_judging`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from celery import Celery

from celeriac import Sagas
from tests.chaos import clock
from tests.house.sources import ROOT
from tests.processes import until
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from celeriac import ScheduleEvent

CELERY = (sys.executable, "-m", "celery", "-A", "tests.scheduling.ticking_app")
SECOND = 1_000


@contextmanager
def running(environment: Mapping[str, str], folder: Path, *words: str) -> Iterator[None]:
    """A process of the app."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [*CELERY, *words],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # a worker that has nothing left to do may take longer
            os.killpg(process.pid, SIGKILL)
            process.wait(10)


def started(events: list[ScheduleEvent]) -> list[int]:
    """The ticks whose runs were started, in seconds."""
    return [round(e.tick.timestamp()) for e in events if e.kind == "started" and e.tick]


def test_each_tick_has_one_run_whoever_sweeps(tmp_path: Path) -> None:
    """Two beats, three sweeps, one of them an hour off; after an outage, the newest tick only."""
    with RedisServer(tmp_path / "redis") as server:
        environment = {**os.environ, "TICKING_URL": server.url}
        skewed = dict(environment)
        library = clock.build(tmp_path) if clock.possible() else None
        if library is not None:
            hour_off = clock.Clock(library, "ticking")
            hour_off.set(3600.0)
            skewed |= hour_off.env
        app = Celery("observer", broker=server.url, set_as_current=False)
        app.conf.update(saga_redis_url=server.url)
        observer = Sagas(app).schedule_named("each")
        with ExitStack() as all_of_it:
            for n in (1, 2):
                words = ("beat", "-s", str(tmp_path / f"beat-{n}"), "--pidfile=")
                all_of_it.enter_context(running(environment, tmp_path, *words))
            for env in (environment, skewed):
                sweep = running(env, tmp_path, "saga", "sweep", "--every", "0.1")
                all_of_it.enter_context(sweep)
            worker = running(environment, tmp_path, "worker", "-c", "2")
            all_of_it.enter_context(worker)
            with server.client() as client:
                until(lambda: client.hlen("effects") >= 4, timeout=60)
        events = observer.history()
        ticks = started(events)
        assert ticks == [*range(ticks[0], ticks[0] + len(ticks))], events
        assert [e for e in events if e.kind == "skipped"] == []
        with server.client() as client:
            until(lambda: server_time(client) >= (ticks[-1] + 3) * SECOND, timeout=30)
            again = running(environment, tmp_path, "saga", "sweep", "--every", "0.1")
            worker = running(environment, tmp_path, "worker", "-c", "1")
            with again, worker:
                runs = len(ticks) + 2
                until(lambda: client.hlen("effects") >= runs, timeout=60)
            (missed,) = [e for e in observer.history() if e.kind == "skipped"]
            assert missed.why == "late"
            later = started(observer.history())[len(ticks)]
            assert missed.count == later - ticks[-1] - 1
            assert {int(each) for each in client.hgetall("effects").values()} == {1}


def server_time(client: Any) -> int:
    """What time it is at Redis, in ms."""
    seconds, micros = client.time()
    return int(seconds) * SECOND + int(micros) // SECOND
