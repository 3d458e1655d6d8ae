"""Crashes of a worker that runs ahead: each leaves what a crash between two messages leaves (I24).

Owns: the points before and after the one commit that settles an attempt and claims the next, in
both directions, and losing its request or its answer.  Refuses to know: what else may be crashed
(`test_matrix`).
"""

from __future__ import annotations

from signal import SIGCONT
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.crash.environment import Crashed, CrashWorld, everything, now, wait
from tests.workers.histories import claims
from tests.workers.kit import LEASE

if TYPE_CHECKING:
    from celeriac import RunHandle
    from celeriac.machine import Phase
    from tests.crash.failpoints import Act, Failpoint

TOLD, CLAIMED = "ahead.told", "ahead.claimed"


class Case(NamedTuple):
    """A point at which what is taken up next is `pay`, in one direction."""

    point: str
    phase: Phase

    @property
    def fails(self) -> str:
        """The step that gives up, if the run is to turn round."""
        return "send" if self.phase == "undo" else ""

    @property
    def status(self) -> str:
        """How the run must end all the same."""
        return "compensated" if self.fails else "completed"

    def expected(self) -> dict[str, list[int]]:
        """The attempts that are claimed of the step before it, and of `pay`.

        Before the commit, the one before is not on record, and is lost; after it, `pay` is.
        """
        before = "send" if self.phase == "undo" else "book"
        told = self.point == TOLD
        return {before: [1, 2] if told else [1], "pay": [1] if told else [1, 2]}


CASES = [Case(point, phase) for point in (TOLD, CLAIMED) for phase in ("do", "undo")]
REPRESENTATIVE = CASES if everything() else [Case(TOLD, "do"), Case(CLAIMED, "undo")]


def _set(crash_world: CrashWorld, case: Case, act: Act) -> tuple[RunHandle[object], Failpoint]:
    run_id = f"{act}-{case.point}-{case.phase}"
    failpoint = crash_world.failpoint(case.point, f"{run_id}:1:pay:{case.phase}:1:", act)
    return crash_world.start(run_id, case.fails), failpoint


def _check(run: RunHandle[object], case: Case) -> None:
    for step, attempts in case.expected().items():
        assert claims(run, step, case.phase) == attempts, (run.id, step)
    assert claims(run, "book") == ([1] if case.fails or case.point == CLAIMED else [1, 2])


def test_children_killed(ahead_crash_world: CrashWorld) -> None:
    """What is lost is what was at work, and is tried again at once."""
    hit = [(case, *_set(ahead_crash_world, case, "kill")) for case in CASES]
    ahead_crash_world.hit(*(failpoint for _, _, failpoint in hit))
    ahead_crash_world.judge(
        Crashed(run, failpoint, case.status, now()) for case, run, failpoint in hit
    )
    for case, run, _ in hit:
        _check(run, case)


@pytest.mark.parametrize("case", REPRESENTATIVE, ids="-".join)
def test_a_worker_killed(ahead_crash_world: CrashWorld, case: Case) -> None:
    """A worker that dies with all its children is taken over by another."""
    run, failpoint = _set(ahead_crash_world, case, "kill-group")
    ahead_crash_world.hit(failpoint)
    ahead_crash_world.of(failpoint).kill()  # buries it
    ahead_crash_world.judge([Crashed(run, failpoint, case.status, failpoint.hits[0]["at"])])
    _check(run, case)


def test_a_worker_stopped(ahead_crash_world: CrashWorld) -> None:
    """A worker that stands still for two leases, before the commit: its report is late."""
    case = Case(TOLD, "do")
    run, failpoint = _set(ahead_crash_world, case, "stop-group")
    ahead_crash_world.hit(failpoint)
    wait(ahead_crash_world, 2 * LEASE)
    ahead_crash_world.of(failpoint).signal_all(SIGCONT)
    ahead_crash_world.judge([Crashed(run, failpoint, case.status, now())])
    assert claims(run, "book")[:2] == [1, 2]
    assert claims(run, "pay")[0] == 1


@pytest.mark.parametrize("point", ["store.asking", "store.answered"])
def test_the_one_commit_cut_off(ahead_crash_world: CrashWorld, point: str) -> None:
    """A request that is lost is asked again, an answer that is lost decided anew: once (I11)."""
    run_id = f"cut-{point}"
    both = (f"run:{run_id}", '"d","book"', '"c","pay"')
    failpoint = ahead_crash_world.failpoint(point, both, "lose")
    run = ahead_crash_world.start(run_id)
    ahead_crash_world.judge([Crashed(run, failpoint, "completed", now())])
    assert claims(run, "book") == claims(run, "pay") == [1]
