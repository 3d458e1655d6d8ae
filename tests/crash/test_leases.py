"""Leases: a renewal is missed, lost, or not answered, while the attempt is at work.

Owns: what happens to the renewal of a live attempt.  Refuses to know: workers that are stopped
(`test_matrix`) or dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.crash_saga import APPLIED, SENT
from tests.crash.environment import Crashed, CrashWorld, now, wait
from tests.workers.histories import bodies, claims, effects
from tests.workers.kit import LEASE

if TYPE_CHECKING:
    from celeriac.machine import Phase

_RENEWAL = "+2000"  # how the wake script is told the length of a lease


@pytest.mark.parametrize("point", [SENT, APPLIED])
@pytest.mark.parametrize("phase", ["do", "undo"])
def test_a_renewal_missed(crash_world: CrashWorld, point: str, phase: Phase) -> None:
    """An attempt whose worker cannot renew is made again; what it then does counts once."""
    run_id = f"missed-{phase}-{point}"
    work = crash_world.failpoint(point, f"{run_id}:1:pay:{phase}:1:", "hold")
    missed = crash_world.failpoint("lease.renewing", f"{run_id}:pay:{phase}:1", "fail", again=True)
    run = crash_world.start(run_id, "send" if phase == "undo" else "")
    crash_world.hit(work, missed)
    crash_world.world.until(lambda: crash_world.events(run, "lost", "pay"), "it was given up")
    crash_world.world.until(lambda: claims(run, "pay", phase) == [1, 2], "it is made again")
    missed.take_away()
    work.go()
    crash_world.world.until(
        lambda: crash_world.events(run, "late") or _used(crash_world, run_id), "it told, late"
    )
    crash_world.judge(
        [Crashed(run, missed, "compensated" if phase == "undo" else "completed", now())]
    )
    step = "pay" if phase == "do" else "pay.undo"
    assert bodies(crash_world.world, run)[step] == 2
    assert sorted(e for e in effects(crash_world.world, run) if e.endswith("pay"))[:2] == (
        ["again pay", "do pay"] if phase == "do" else ["do pay", "undo pay"]
    )


@pytest.mark.parametrize("point", [SENT, APPLIED])
def test_a_success_after_all_was_undone(crash_world: CrashWorld, point: str) -> None:
    """An attempt that succeeds when its run has been undone makes a new generation undo it."""
    run_id = f"undone-{point}"
    work = crash_world.failpoint(point, f"{run_id}:1:pay:do:1:", "hold")
    missed = crash_world.failpoint("lease.renewing", f"{run_id}:pay:do:1", "fail", again=True)
    run = crash_world.start(run_id, "pay", since=2)
    crash_world.hit(work, missed)
    crash_world.world.until(
        lambda: run.status == "compensated", "it was undone without that attempt"
    )
    missed.take_away()
    work.go()
    crash_world.world.until(lambda: crash_world.events(run, "reopened"), "it told, late")
    crash_world.judge([Crashed(run, work, "compensated", now())])
    assert claims(run, "pay", "undo") == [1, 2]
    done = effects(crash_world.world, run)
    effect = "forbidden pay" if point == SENT else "do pay"
    assert effect in done
    assert done[-1] == "undone pay"


def _used(crash_world: CrashWorld, run_id: str) -> bool:
    run = crash_world.world.kit.sagas.run(run_id)
    return any(event.data.get("late") for event in crash_world.events(run, "completed"))


@pytest.mark.parametrize("point", ["store.asking", "store.answered"])
def test_one_renewal_lost(crash_world: CrashWorld, point: str) -> None:
    """A renewal that gets lost is made up for by the next: nobody loses the attempt."""
    run_id = f"renewed-{point}"
    work = crash_world.failpoint(SENT, f"{run_id}:1:pay:do:1:", "hold")
    lease = f"{run_id}\x1fpay\x1fdo\x1f1"
    lost = crash_world.failpoint(point, (lease, _RENEWAL), "lose")
    run = crash_world.start(run_id)
    crash_world.hit(work, lost)
    wait(crash_world, 2 * LEASE)
    work.go()
    crash_world.judge([Crashed(run, lost, "completed", now())])
    assert claims(run, "pay") == [1]
