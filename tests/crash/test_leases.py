"""Leases: a renewal is missed, lost, or not answered, while the attempt is at work.

Owns: what happens to the renewal of a live attempt.  Refuses to know: workers that are stopped
(`test_matrix`) or dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.crash_saga import APPLIED, SENT
from tests.crash.environment import Arena, Crashed, now, wait
from tests.workers.histories import bodies, claims, effects
from tests.workers.kit import LEASE

if TYPE_CHECKING:
    from celeriac.machine.plans import Phase

_RENEWAL = "+2000"  # how the wake script is told the length of a lease


@pytest.mark.parametrize("point", [SENT, APPLIED])
@pytest.mark.parametrize("phase", ["do", "undo"])
def test_a_renewal_missed(arena: Arena, point: str, phase: Phase) -> None:
    """An attempt whose worker cannot renew is made again; what it then does counts once."""
    run_id = f"missed-{phase}-{point}"
    work = arena.trap(point, f"{run_id}:1:pay:{phase}:1:", "hold")
    missed = arena.trap("lease.renewing", f"{run_id}:pay:{phase}:1", "fail", again=True)
    run = arena.start(run_id, "send" if phase == "undo" else "")
    arena.hit(work, missed)
    arena.world.until(lambda: arena.events(run, "lost", "pay"), "it was given up")
    arena.world.until(lambda: claims(run, "pay", phase) == [1, 2], "it is made again")
    missed.take_away()
    work.go()
    arena.world.until(lambda: arena.events(run, "late") or _used(arena, run_id), "it told, late")
    arena.judge([Crashed(run, missed, "compensated" if phase == "undo" else "completed", now())])
    step = "pay" if phase == "do" else "pay.undo"
    assert bodies(arena.world, run)[step] == 2
    assert sorted(e for e in effects(arena.world, run) if e.endswith("pay"))[:2] == (
        ["again pay", "do pay"] if phase == "do" else ["do pay", "undo pay"]
    )


@pytest.mark.parametrize("point", [SENT, APPLIED])
def test_a_success_after_all_was_undone(arena: Arena, point: str) -> None:
    """An attempt that succeeds when its run has been undone makes a new generation undo it."""
    run_id = f"undone-{point}"
    work = arena.trap(point, f"{run_id}:1:pay:do:1:", "hold")
    missed = arena.trap("lease.renewing", f"{run_id}:pay:do:1", "fail", again=True)
    run = arena.start(run_id, "pay", since=2)
    arena.hit(work, missed)
    arena.world.until(lambda: run.status == "compensated", "it was undone without that attempt")
    missed.take_away()
    work.go()
    arena.world.until(lambda: arena.events(run, "reopened"), "it told, late")
    arena.judge([Crashed(run, work, "compensated", now())])
    assert claims(run, "pay", "undo") == [1, 2]
    done = effects(arena.world, run)
    effect = "forbidden pay" if point == SENT else "do pay"
    assert effect in done
    assert done[-1] == "undone pay"


def _used(arena: Arena, run_id: str) -> bool:
    run = arena.world.kit.sagas.run(run_id)
    return any(event.data.get("late") for event in arena.events(run, "completed"))


@pytest.mark.parametrize("point", ["store.asking", "store.answered"])
def test_one_renewal_lost(arena: Arena, point: str) -> None:
    """A renewal that gets lost is made up for by the next: nobody loses the attempt."""
    run_id = f"renewed-{point}"
    work = arena.trap(SENT, f"{run_id}:1:pay:do:1:", "hold")
    lease = f"{run_id}\x1fpay\x1fdo\x1f1"
    lost = arena.trap(point, (lease, _RENEWAL), "lose")
    run = arena.start(run_id)
    arena.hit(work, lost)
    wait(arena, 2 * LEASE)
    work.go()
    arena.judge([Crashed(run, lost, "completed", now())])
    assert claims(run, "pay") == [1]
