"""What the lease thread asks of a pool: processes have ids, greenlets only look as if.

Owns: `forks`, `has_died`, and a beat over requests of any pool.  Refuses to know: Redis.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from billiard.exceptions import Terminated, WorkerLostError
from celery.concurrency import prefork, solo
from celery.concurrency import thread as threads
from celery.worker import state
from celery.worker.request import Request

from celeriac.errors import StoreUnavailable
from celeriac.store import Lease
from celeriac.workers import LeaseKeeper, forks
from celeriac.workers.headers import HEADER
from celeriac.workers.leases import SagaRequest, has_died

if TYPE_CHECKING:
    from celeriac.store import Store

GREENLET = 140_234_567_890_123  # an id(): no process can have it


class _Autoscaled(prefork.TaskPool):  # type: ignore[misc]  # Celery has no types
    """A pool of somebody's own."""


class _Store:
    """Two shards, of which one may be away."""

    shards = 2

    def __init__(self) -> None:
        self.renewed: list[Lease] = []
        self.lapsed: list[Lease] = []
        self.pulses: list[tuple[set[int], int]] = []
        self.away: set[int] = set()

    def renew(self, leases: list[Lease], _: int) -> None:
        self._do(self.renewed, leases)

    def lapse(self, leases: list[Lease]) -> None:
        self._do(self.lapsed, leases)

    def shard_of(self, run_id: str) -> int:
        return len(run_id) % self.shards

    def pulse(self, _: int, outage: int, shards: set[int]) -> None:
        if shards - self.away:
            self.pulses.append((shards - self.away, outage))
        self._tell(shards & self.away)

    def _do(self, done: list[Lease], leases: list[Lease]) -> None:
        done += [each for each in leases if self.shard_of(each.run_id) not in self.away]
        self._tell({self.shard_of(each.run_id) for each in leases})

    def _tell(self, shards: set[int]) -> None:
        if shards & self.away:
            error = StoreUnavailable("away")
            error.shards = frozenset(shards & self.away)
            raise error


def _gone() -> int:
    """Return the id of a process that has ended and was waited for."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (prefork.TaskPool, True),
        (_Autoscaled, True),
        (threads.TaskPool, False),
        (solo.TaskPool, False),
        (SimpleNamespace, False),
    ],
)
def test_only_prefork_has_processes(pool: Any, expected: bool) -> None:
    """Prefork and what is derived from it forks; every other pool lives in the worker itself."""
    assert forks(pool.__new__(pool)) is expected


@pytest.mark.parametrize("pid", [GREENLET, 2**31])
def test_what_is_not_the_id_of_a_process_has_not_died(pid: int) -> None:
    """The id of a greenlet is asked for without an error, and is never a death."""
    assert not has_died(pid)


@pytest.mark.parametrize(("forking", "dies"), [(True, True), (False, False)])
def test_a_beat_renews_what_is_at_work_in_any_pool(
    monkeypatch: pytest.MonkeyPatch, forking: bool, dies: bool
) -> None:
    """Only where there are processes does an id that is gone mean a lost attempt."""
    lease, store = Lease("order-42", "pay", "do", 1), _Store()
    monkeypatch.setattr("celeriac.workers.leases.lease_of", lambda request: request.lease)
    requests = [SimpleNamespace(id="1", lease=lease, worker_pid=_gone())]
    monkeypatch.setattr(state, "active_requests", requests)
    keeper = LeaseKeeper(cast("Store", store), 15, deque(), forks=lambda: forking)
    keeper._beat()
    assert (store.lapsed, store.renewed) == (([lease], []) if dies else ([], [lease]))


@pytest.mark.parametrize("error", [Terminated(9), WorkerLostError("SIGKILL"), SystemExit(1)])
def test_an_attempt_whose_process_is_gone_is_reported(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whoever has ended it, an operator too."""
    monkeypatch.setattr(Request, "on_failure", lambda *_: None)
    deaths: deque[Lease] = deque()
    request: Any = SagaRequest.__new__(SagaRequest)
    request._task = SimpleNamespace(saga_runtime=SimpleNamespace(deaths=deaths, progress=None))
    request._request_dict = {HEADER: ["order-42", 1, "pay", "do", 1, "plan"]}
    request.on_failure(SimpleNamespace(exception=error))
    assert list(deaths) == [Lease("order-42", "pay", "do", 1)]


def test_a_shard_that_is_away_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each shard is renewed in its own time, hears of its own outage, and is told of once."""
    even, odd = Lease("even", "pay", "do", 1), Lease("odd", "pay", "do", 1)
    store, now = _Store(), [100.0]
    caplog.set_level(logging.WARNING, "celeriac")  # whatever was set in this process before
    monkeypatch.setattr("celeriac.workers.leases.lease_of", lambda request: request.lease)
    monkeypatch.setattr("celeriac.workers.leases.time.monotonic", lambda: now[0])
    requests = [
        SimpleNamespace(id=each.run_id, lease=each, worker_pid=None) for each in (even, odd)
    ]
    monkeypatch.setattr(state, "active_requests", requests)
    deaths: deque[Lease] = deque()
    keeper = LeaseKeeper(cast("Store", store), 15, deaths)

    def beat(at: float) -> tuple[list[Lease], list[tuple[set[int], int]]]:
        now[0] = at
        store.renewed, store.pulses = [], []
        keeper._beat()
        return store.renewed, store.pulses

    assert beat(100) == ([even, odd], [({0, 1}, 0)])
    store.away = {0}
    assert beat(104) == ([], [])  # nothing is due yet
    assert beat(105) == ([odd], [({1}, 0)])
    assert beat(107) == ([], [])  # the one that is away is tried at each beat
    deaths.extend((even, odd))
    requests.clear()
    assert beat(110) == ([], [({1}, 0)])
    assert store.lapsed == [odd]
    store.away = set()
    assert beat(112) == ([], [({0}, 12_000)])
    assert store.lapsed == [odd, even]
    assert beat(115.1) == ([], [({1}, 0)])
    assert beat(117) == ([], [({0}, 0)])
    assert len([each for each in caplog.records if "cannot renew" in each.message]) == 1
