"""A client is crashed at every point of a start: the run is accepted and goes on, or never was.

Owns: clients in processes of their own that are killed or stopped, whose Redis is restarted, or
who lose a request or an answer.  Refuses to know: what happens to workers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from celeriac import RunConflict, RunNotFound
from tests.crash.crash_saga import CrashInput
from tests.crash.environment import (
    AFTER_OUTAGE,
    RECONNECT,
    Crashed,
    CrashWorld,
    everything,
    now,
    wait,
)
from tests.processes import environment
from tests.proof.checker import asked
from tests.workers.histories import claims
from tests.workers.kit import LEASE

if TYPE_CHECKING:
    from tests.crash.failpoints import Act, Failpoint

_ROOT = Path(__file__).parents[2]

#: The points of a start, in their order; before the second nothing has happened.
POINTS = (
    "start.asked",
    "start.accepted",
    "message.publishing",
    "message.published",
    "start.published",
)
REPRESENTATIVE = ("start.asked", "message.publishing", "message.published")


class Client(NamedTuple):
    """A client at work, and the failpoint that it will step into."""

    run_id: str
    point: str
    failpoint: Failpoint
    process: subprocess.Popen[str]

    def ends(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it said."""
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out.strip()


def _points() -> list[str]:
    return [point for point in POINTS if everything() or point in REPRESENTATIVE]


def _client(crash_world: CrashWorld, name: str, point: str, act: Act) -> Client:
    run_id = f"{name}-{point}"
    text = f"{run_id}:1:book:do:1:" if point.startswith("message.") else run_id
    return _start(crash_world, run_id, point, text, act)


def _start(
    crash_world: CrashWorld, run_id: str, point: str, text: str | tuple[str, ...], act: Act
) -> Client:
    failpoint = crash_world.failpoint(point, text, act)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.crash.client",
            crash_world.redis.url,
            str(crash_world.folder),
            run_id,
        ],
        cwd=_ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a stop is for it alone
    )
    crash_world.starts[run_id] = asked(crash_world.saga, CrashInput(), run_id, "unknown")
    return Client(run_id, point, failpoint, process)


def test_clients_killed(crash_world: CrashWorld) -> None:
    """A client that dies before its commit leaves nothing; after it, the run is accepted."""
    clients = [_client(crash_world, "killed", point, "kill") for point in _points()]
    for client in clients:
        assert client.ends()[0] == -signal.SIGKILL, client.point
    for client in clients:
        if client.point == "start.asked":
            with pytest.raises(RunNotFound):
                crash_world.world.kit.sagas.run(client.run_id)
        else:
            with pytest.raises(RunConflict):
                crash_world.saga.start(CrashInput(fails="pay"), id=client.run_id)
    since = now()
    # Whoever tries again gets the same run.
    crash_world.judge(
        Crashed(crash_world.start(c.run_id), c.failpoint, "completed", since) for c in clients
    )
    for client in clients:
        run = crash_world.world.kit.sagas.run(client.run_id)
        swept = {event.data["why"] for event in crash_world.events(run, "dispatched", "book")}
        unsent = client.point in ("start.accepted", "message.publishing")
        assert swept == ({"unclaimed"} if unsent else set()), client.point
        assert claims(run, "book") == [1]
        assert len(crash_world.events(run, "started")) == 1


def test_clients_stopped(crash_world: CrashWorld) -> None:
    """A client that stands still for two leases after its commit keeps nobody waiting."""
    clients = [_client(crash_world, "stopped", point, "stop-group") for point in _points()]
    crash_world.hit(*(client.failpoint for client in clients))
    kit, since = crash_world.world.kit, now()
    accepted = [client for client in clients if client.point != "start.asked"]
    crash_world.judge(
        Crashed(kit.sagas.run(c.run_id), c.failpoint, "completed", since) for c in accepted
    )
    wait(crash_world, 2 * LEASE)
    for client in clients:
        os.killpg(client.process.pid, signal.SIGCONT)
    for client in clients:
        assert client.ends() == (0, "accepted"), client.point
    crash_world.judge(
        Crashed(kit.sagas.run(c.run_id), c.failpoint, "completed", now()) for c in clients
    )
    for client in clients:
        run = kit.sagas.run(client.run_id)
        assert [claims(run, step) for step in ("book", "pay", "send")] == [[1], [1], [1]]


def test_redis_restarted_under_clients(crash_world: CrashWorld) -> None:
    """A client whose Redis is restarted in the middle of a start has its run accepted."""
    clients = [_client(crash_world, "restarted", point, "hold") for point in _points()]
    crash_world.hit(*(client.failpoint for client in clients))
    crash_world.redis.restart()
    for client in clients:
        client.failpoint.go()
    for client in clients:
        assert client.ends() == (0, "accepted"), client.point
    kit, since = crash_world.world.kit, now()
    crash_world.judge(
        (Crashed(kit.sagas.run(c.run_id), c.failpoint, "completed", since) for c in clients),
        AFTER_OUTAGE + RECONNECT,
    )
    for client in clients:
        assert len(crash_world.events(kit.sagas.run(client.run_id), "started")) == 1


def test_requests_and_answers_of_clients_lost(crash_world: CrashWorld) -> None:
    """A start whose request or answer is lost is asked for again, and is one start."""
    clients = []
    for point in ("store.asking", "store.answered"):
        run_id = f"lost-{point}"
        text = (f"run:{run_id}", ',"s","')  # an event of its start
        clients.append(_start(crash_world, run_id, point, text, "lose"))
    for client in clients:
        assert client.ends() == (0, "accepted"), client.point
    kit, since = crash_world.world.kit, now()
    crash_world.judge(
        Crashed(kit.sagas.run(c.run_id), c.failpoint, "completed", since) for c in clients
    )
    for client in clients:
        run = kit.sagas.run(client.run_id)
        assert len(crash_world.events(run, "started")) == 1
        assert claims(run, "book") == [1]
