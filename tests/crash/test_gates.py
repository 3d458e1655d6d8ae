"""A worker is killed between its place at a gate and its claim; the place comes back by itself.

Owns: that point, in a real process at a real Redis.  Refuses to know: who may pass a gate
(`tests/gating`), and workers that die later (`tests/gates`).
"""

from __future__ import annotations

import subprocess
import sys
import time
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import CommandRefused, Flow, Limit, Saga, Sagas
from celeriac.engine import Delivery
from tests.house.sources import ROOT
from tests.processes import until
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

DYING = """
import os, signal, sys
from celeriac import points
from tests.crash.test_gates import claim, shop

def die(name, about):
    if name == "gate.passed":
        os.kill(os.getpid(), signal.SIGKILL)

points.arm(die)
claim(*shop(sys.argv[1]), "order-1")
"""


def shop(url: str) -> tuple[Sagas, Saga[Any, Any]]:
    """An app with a step that one attempt may be at; leases end after a second."""
    app = Celery("shop", broker=url, set_as_current=False)
    app.conf.update(saga_lease=1.0, saga_sweep_interval=0.5, saga_grace=0.3)
    sagas = Sagas(app)

    @sagas.step(name="charge", limit=Limit(1))
    def charge() -> None:
        pass

    @sagas.saga
    def pay(flow: Flow) -> None:
        flow.step(charge)

    return sagas, pay


def claim(sagas: Sagas, pay: Saga[Any, Any], run_id: str) -> bool:
    """Claim the step of a run, as a worker does with its message; False if it has to wait."""
    engine = sagas.runtime.engine
    delivery = Delivery(run_id, 1, "charge", "do", 1, pay.planned.plan.fingerprint)
    try:
        engine.claim(delivery, "worker-1")
    except CommandRefused as refused:
        return refused.reason not in ("blocked", "not_due")
    return True


def test_a_worker_killed_behind_its_gate(tmp_path: Path) -> None:
    """Its place is taken until its lease has ended; then the next passes, and only he."""
    with RedisServer(tmp_path) as server:
        sagas, pay = shop(server.url)
        for number in (1, 2, 3):
            pay.start(id=f"order-{number}")
        dead = subprocess.run(
            [sys.executable, "-c", DYING, server.url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert dead.returncode == -SIGKILL, dead.stderr
        gates = sagas.runtime.engine.store.gates
        assert gates.read("charge").taken == 1
        assert sagas.run("order-1").state().step("charge").attempts == 0
        assert not claim(sagas, pay, "order-2")
        blocked = sagas.run("order-2").state().step("charge").blocked
        assert blocked == "limit charge: no more than 1 at a time"

        def passes() -> bool:
            sagas.sweep()
            return claim(sagas, pay, "order-2")

        until(passes, "order-2 passes", 20)
        assert not claim(sagas, pay, "order-3")
        assert gates.read("charge").taken == 1


def test_whoever_was_not_heard_of_cannot_claim_with_its_place(tmp_path: Path) -> None:
    """A worker that was stopped behind its gate asks anew when it goes on: its claim conflicts."""
    with RedisServer(tmp_path) as server:
        sagas, pay = shop(server.url)
        pay.start(id="order-1")
        pay.start(id="order-2")
        engine = sagas.runtime.engine
        passed = engine.gates.pass_all
        stopped: list[str] = []

        def stop(passing: Any, command: Any, *rest: Any) -> Any:
            found = passed(passing, command, *rest)
            if not stopped:
                stopped.append(command.holder)
                end = time.monotonic() + 1.2
                until(lambda: time.monotonic() > end, "the lease is over", 5)
                sagas.sweep()
                assert claim(sagas, pay, "order-2")
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.gates, "pass_all", stop)
            assert not claim(sagas, pay, "order-1")
        assert stopped
        states = [sagas.run(f"order-{n}").state().step("charge") for n in (1, 2)]
        assert [each.attempts for each in states] == [0, 1]
