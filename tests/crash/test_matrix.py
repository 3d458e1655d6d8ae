"""A worker is crashed at every point of an attempt: each run still ends as it must, in time.

Owns: killing a child or a whole worker, stopping a worker for two leases, and restarting Redis, at
each point of the way forward, of a failure, and of the way back.  Refuses to know: lost requests
and replies, clients, sweeps and leases, which have files of their own.
"""

from __future__ import annotations

from functools import partial
from signal import SIGCONT
from typing import TYPE_CHECKING

import pytest

from tests.crash.environment import (
    AFTER_OUTAGE,
    RECONNECT,
    Crashed,
    CrashWorld,
    everything,
    now,
    wait,
)
from tests.crash.matrix import AT_WORK, Case, cases
from tests.workers.histories import claims
from tests.workers.kit import LEASE, Trip

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac import RunHandle
    from tests.crash.failpoints import Act, Failpoint


def _set(crash_world: CrashWorld, case: Case, act: Act) -> tuple[RunHandle[object], Failpoint]:
    """Set the failpoint of a case, and start its run, which will step into it."""
    failpoint = crash_world.failpoint(case.point, case.text(case.name), act)
    return crash_world.start(case.name, case.path.fails), failpoint


def _named(fault: str) -> list[Case]:
    return cases(fault, everything=everything())  # type: ignore[arg-type]


def _groups(found: list[Case], size: int) -> list[tuple[Case, ...]]:
    return [tuple(found[at : at + size]) for at in range(0, len(found), size)]


def _id(value: object) -> str:
    found = value if isinstance(value, tuple) and not isinstance(value, Case) else (value,)
    return "+".join(case.name for case in found if isinstance(case, Case))


def test_children_killed(crash_world: CrashWorld) -> None:
    """A pool child that dies at any point costs its step an attempt at most, all at once."""
    hit = [(case, *_set(crash_world, case, "kill")) for case in _named("kill")]
    crash_world.hit(*(failpoint for _, _, failpoint in hit))
    crash_world.judge(
        Crashed(run, failpoint, case.path.status, now()) for case, run, failpoint in hit
    )
    for case, run, _ in hit:
        assert claims(run, case.path.step, case.path.phase) == case.claims, case.name


@pytest.mark.parametrize("case", _named("kill-group"), ids=_id)
def test_a_worker_killed(crash_world: CrashWorld, case: Case) -> None:
    """A worker that dies with all its children is taken over by another."""
    run, failpoint = _set(crash_world, case, "kill-group")
    crash_world.hit(failpoint)
    crash_world.of(failpoint).kill()  # buries it
    crash_world.judge([Crashed(run, failpoint, case.path.status, failpoint.hits[0]["at"])])
    assert claims(run, case.path.step, case.path.phase) == case.claims


@pytest.mark.parametrize("pair", _groups(_named("stop-group"), 2), ids=_id)
def test_a_worker_stopped(crash_world: CrashWorld, pair: tuple[Case, ...]) -> None:
    """A worker that stands still for two leases is taken over, and then changes nothing."""
    hit = [(case, *_set(crash_world, case, "stop-group")) for case in pair]
    _stand_still(crash_world, [failpoint for _, _, failpoint in hit])
    for case, run, _ in hit:
        if case.point in AT_WORK:
            crash_world.world.until(partial(_late, run), f"{case.name} reported late")
    crash_world.judge(
        Crashed(run, failpoint, case.path.status, now()) for case, run, failpoint in hit
    )
    for case, run, _ in hit:
        assert claims(run, case.path.step, case.path.phase)[:2] == case.claims, case.name


def _late(run: RunHandle[object]) -> bool:
    """True once an attempt that had been given up has told how it ended."""
    return any(event.kind == "late" or event.data.get("late") for event in run.history())


def _stand_still(crash_world: CrashWorld, failpoints: Iterable[Failpoint]) -> None:
    """Let each worker that is stopped in a failpoint go on after two leases.

    Those who are left take over.  If both failpoints are in one worker, the second acts later.
    """
    left = set(failpoints)
    while left:
        crash_world.hit_any(left)
        wait(crash_world, 2 * LEASE)
        for worker in crash_world.workers:
            worker.signal_all(SIGCONT)
        left -= {failpoint for failpoint in left if failpoint.hit}


@pytest.mark.parametrize("pair", _groups(_named("restart"), 3), ids=_id)
def test_redis_restarted(crash_world: CrashWorld, pair: tuple[Case, ...]) -> None:
    """A Redis that is killed at any point, and started again, has lost nothing."""
    hit = [(case, *_set(crash_world, case, "hold")) for case in pair]
    crash_world.hit(*(failpoint for _, _, failpoint in hit))
    crash_world.redis.restart()
    for _, _, failpoint in hit:
        failpoint.go()
    since = now()
    crash_world.judge(
        (Crashed(run, failpoint, case.path.status, since) for case, run, failpoint in hit),
        AFTER_OUTAGE + RECONNECT,
    )


def test_an_undo_that_raises_every_time(crash_world: CrashWorld) -> None:
    """An undo that fails for good is owed, though children die with it; the rest are undone."""
    run_id = "raises-every-time"
    failpoints = [
        crash_world.failpoint("failure.settled", f"{run_id}:1:pay:undo:{attempt}:", "kill")
        for attempt in (1, 2)
    ]
    script = {"send": ["abort-clean"], "pay.undo": ["raise"] * 9}
    run = crash_world.world.kit.trip.start(Trip(script=script), id=run_id)
    crash_world.hit(*failpoints)
    crash_world.judge(
        Crashed(run, failpoint, "failed", failpoint.hits[0]["at"]) for failpoint in failpoints
    )
    assert run.state().owed == ("pay",)
    assert claims(run, "pay", "undo") == [1, 2, 3]
    assert claims(run, "book", "undo") == [1]
