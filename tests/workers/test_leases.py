"""What the lease thread asks of a pool: processes have ids, greenlets only look as if.

Owns: `forks`, `has_died`, and a beat over requests of any pool.  Refuses to know: Redis.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from celery.concurrency import prefork, solo
from celery.concurrency import thread as threads
from celery.worker import state

from celeriac.store import Lease
from celeriac.workers import LeaseKeeper, forks
from celeriac.workers.leases import has_died

if TYPE_CHECKING:
    from celeriac.store import Store

GREENLET = 140_234_567_890_123  # an id(): no process can have it


class _Autoscaled(prefork.TaskPool):  # type: ignore[misc]  # Celery has no types
    """A pool of somebody's own."""


class _Store:
    def __init__(self) -> None:
        self.renewed: list[Lease] = []
        self.lapsed: list[Lease] = []

    def renew(self, leases: list[Lease], _: int) -> None:
        self.renewed += leases

    def lapse(self, leases: list[Lease]) -> None:
        self.lapsed += leases

    def pulse(self, *_: int) -> None:
        """Nobody asks."""


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
