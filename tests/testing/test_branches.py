"""Branches in the lab and under the explorer: told to stop, joined, and undone together.

Owns: what a step learns of another branch that failed.  Refuses to know: what the state machine
decides (`tests/machine/test_branches.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import Celery

from celeriac import Abort, Flow, Sagas, StepContext, Stopping
from celeriac.testing import explore
from tests.testing import sagas as storms
from tests.testing.ledger import Ledger

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun

app = Celery("branches", set_as_current=False)
sagas = Sagas(app)
ledger = Ledger()
undone_with: list[int | None] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Make the ledger new."""
    ledger.__init__()  # type: ignore[misc]  # the steps know this one
    undone_with.clear()


@sagas.step
def paint(ctx: StepContext, rooms: int, stubborn: bool) -> int:
    """Paint room after room, unless told to stop; who is stubborn ends properly then."""
    done = 0
    for room in range(rooms):
        try:
            ctx.heartbeat(room)
        except Stopping:
            if not stubborn:
                raise
            return done
        ledger.do(ctx.idempotency_key)
        done += 1
    return done


@paint.compensation
def repaint(ctx: StepContext, result: int | None) -> None:
    """Paint it white again."""
    undone_with.append(result)
    ledger.undo(ctx.idempotency_key)


@sagas.step
def plumb(house: str) -> str:
    """Something else."""
    return house


@sagas.saga
def renovate(flow: Flow, house: str, stubborn: bool) -> int:
    """Two branches."""
    with flow.parallel():
        rooms = flow.step(paint, 3, stubborn)
        flow.step(plumb, house)
    return rooms


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_heartbeat_tells_of_a_branch_that_failed(lab: Lab, stubborn: bool) -> None:
    """The step may let the error out, or return what it has: both are undone."""
    lab.fail("plumb", Abort("no water", effect=False))
    lab.stop("paint before heartbeat", "5s", nth=2)
    run = lab.start(renovate, "h", stubborn)
    lab.run()
    assert run.status == "compensated"
    assert undone_with == [1 if stubborn else None]
    failure = run.state().step("paint").failure
    assert (failure.code if failure else None) == (None if stubborn else "stopping")
    assert run.state().failed_step == "plumb"


@pytest.mark.parametrize("saga", [storms.side_by_side, storms.graph_back], ids=lambda s: s.name)
def test_branches_pass_the_explorer(saga: object) -> None:
    """Every path, every fault at every point, and as many pairs as the budget allows."""

    def check(run: LabRun[object]) -> None:
        steps = {node.name for node in storms.sagas.defined[saga.name].planned.plan.nodes}  # type: ignore[attr-defined]
        wanted = steps if run.status == "completed" else set[str]()
        assert {key.partition(":")[2] for key in storms.ledger.live} == wanted

    report = explore(saga, "42", check=check, fresh=storms.fresh, most=500, seconds=150)  # type: ignore[arg-type]
    assert report.ok, report
    assert report.missed == 0
    assert report.levels[1].tried > 100
