"""A sweep is crashed between finding what is due and seeing to it; two do it at once.

Owns: sweeps that die, are stopped or lose their Redis at each of their points, for a message that
was lost and for an attempt that was; two sweeps on one entry; and three causes at once for a run
to turn round.  Refuses to know: what a sweep asks of the store (`test_lost_answers`).
"""

from __future__ import annotations

from signal import SIGCONT
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

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
from tests.proof import sometimes
from tests.workers.histories import claims
from tests.workers.kit import LEASE

if TYPE_CHECKING:
    from celeriac import RunHandle
    from tests.crash.failpoints import Act, Failpoint


class Sweep(NamedTuple):
    """A point of a sweep, and why that sweep has something to do."""

    point: str
    why: str  # message: it was lost; attempt: its child died

    def text(self, run_id: str) -> str:
        """What the point is about when the run in question is seen to."""
        if self.point == "message.publishing":
            return f"{run_id}:1:pay:do:{1 if self.why == 'message' else 2}:"
        return f"{run_id}:pay:do:1" if self.why == "attempt" else f"{run_id}:"


POINTS = ("sweep.taken", "sweep.looking", "message.publishing")
ALL = tuple(Sweep(point, why) for why in ("message", "attempt") for point in POINTS)
REPRESENTATIVE = (Sweep("sweep.looking", "attempt"), Sweep("message.publishing", "message"))
SWEEPS = ALL if everything() else REPRESENTATIVE
FAULTS: tuple[Act, ...] = ("kill", "kill-group", "stop-group", "hold")


@pytest.mark.parametrize("act", FAULTS if everything() else FAULTS[:1])
@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: f"{sweep.point}-{sweep.why}")
def test_a_sweep_crashed(crash_world: CrashWorld, sweep: Sweep, act: Act) -> None:
    """What a sweep had taken and not seen to is taken again, by another one."""
    run_id = f"{act}-{sweep.point}-{sweep.why}"
    run, failpoint = _due(crash_world, run_id, sweep, act)
    crash_world.hit(failpoint)
    more = _heal(crash_world, failpoint, act)
    crash_world.judge([Crashed(run, failpoint, "completed", now())], more)
    assert claims(run, "pay") == ([1] if sweep.why == "message" else [1, 2])


def _due(
    crash_world: CrashWorld, run_id: str, sweep: Sweep, act: Act
) -> tuple[RunHandle[object], Failpoint]:
    """Start a run that a sweep will have to see to, and set the failpoint for that sweep."""
    if sweep.why == "attempt":
        crash_world.failpoint("step.claimed", f"{run_id}:1:pay:do:1:", "kill")
        failpoint = crash_world.failpoint(sweep.point, sweep.text(run_id), act)
        return crash_world.start(run_id), failpoint
    with crash_world.world.fault("drop", only=f"{run_id}:pay:1"):
        run = crash_world.start(run_id)
        crash_world.world.until(
            lambda: crash_world.world.published(f"{run_id}:pay:1", "-"), "it is lost"
        )
        return run, crash_world.failpoint(sweep.point, sweep.text(run_id), act)


def _heal(crash_world: CrashWorld, failpoint: Failpoint, act: Act) -> float:
    """End the fault; return by how many seconds that makes the bound longer."""
    if act == "kill-group":
        crash_world.of(failpoint).kill()
    if act == "stop-group":
        wait(crash_world, 2 * LEASE)
        crash_world.of(failpoint).signal_all(SIGCONT)
    if act != "hold":
        return 0.0
    crash_world.redis.restart()
    failpoint.go()
    return AFTER_OUTAGE + RECONNECT


def test_two_sweeps_at_once(crash_world: CrashWorld) -> None:
    """Two sweeps that see to one entry at the same time send one message."""
    run_id = "two-sweeps"
    with crash_world.world.fault("drop", only=f"{run_id}:pay:1"):
        run = crash_world.start(run_id)
        crash_world.world.until(
            lambda: crash_world.world.published(f"{run_id}:pay:1", "-"), "it is lost"
        )
        failpoints = [
            crash_world.failpoint("sweep.looking", f"{run_id}:", "hold") for _ in range(2)
        ]
    crash_world.hit(*failpoints)
    assert len({failpoint.hits[0]["pid"] for failpoint in failpoints}) == 2
    sometimes.seen(sometimes.DOUBLE_SWEEP)
    for failpoint in failpoints:
        failpoint.go()
    crash_world.judge(Crashed(run, failpoint, "completed", now()) for failpoint in failpoints)
    assert len(crash_world.events(run, "dispatched", "pay")) == 1
    assert len(crash_world.world.published(f"{run_id}:pay:1")) == 1


def test_two_sweeps_give_up_one_attempt(crash_world: CrashWorld) -> None:
    """Two sweeps that find the same lease run out give the attempt up once."""
    run_id = "two-expiries"
    kill = crash_world.failpoint("step.claimed", f"{run_id}:1:pay:do:1:", "kill")
    failpoints = [
        crash_world.failpoint("sweep.looking", f"{run_id}:pay:do:1", "hold") for _ in range(2)
    ]
    run = crash_world.start(run_id)
    crash_world.hit(kill, *failpoints)
    sometimes.seen(sometimes.DOUBLE_SWEEP)
    for failpoint in failpoints:
        failpoint.go()
    crash_world.judge(Crashed(run, failpoint, "completed", now()) for failpoint in failpoints)
    assert len(crash_world.events(run, "lost")) == 1
    assert claims(run, "pay") == [1, 2]


def test_three_causes_at_once(crash_world: CrashWorld) -> None:
    """A failure, an expiry and an operator at the same moment: the run turns round once."""
    run_id = "three-causes"
    performed = crash_world.failpoint("step.performed", f"{run_id}:1:send:do:1:", "hold")
    missed = crash_world.failpoint("lease.renewing", f"{run_id}:send:do:1", "fail", again=True)
    expiry = crash_world.failpoint("sweep.looking", f"{run_id}:send:do:1", "hold")
    run = crash_world.start(run_id, "send")
    crash_world.hit(performed, missed, expiry)
    operator = Thread(target=run.cancel, kwargs={"reason": "enough"})
    performed.go()
    expiry.go()
    operator.start()
    operator.join(20)
    missed.take_away()
    crash_world.judge([Crashed(run, expiry, "compensated", now())])
    assert len(crash_world.events(run, "compensation_started")) == 1
    assert [claims(run, step, "undo")[:1] for step in ("send", "pay", "book")] == [[1], [1], [1]]


def test_an_errback_and_a_sweep_at_once(crash_world: CrashWorld) -> None:
    """An errback and a sweep that look at the same moment undo each step once."""
    run_id = "errback-and-sweep"
    errback = crash_world.failpoint("errback.called", run_id, "hold")
    sweep = crash_world.failpoint("sweep.looking", f"{run_id}:", "hold")
    run = crash_world.start(run_id, "send")
    crash_world.hit(errback, sweep)
    errback.go()
    sweep.go()
    crash_world.judge([Crashed(run, sweep, "compensated", now())])
    assert [claims(run, step, "undo") for step in ("send", "pay", "book")] == [[1], [1], [1]]
