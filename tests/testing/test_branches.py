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


# --- operators -----------------------------------------------------------------------------------


def act(ctx: StepContext, text: str) -> str:
    """Have an effect."""
    ledger.do(ctx.idempotency_key)
    return f"{ctx.step} {text}"


def back(ctx: StepContext) -> None:
    """Undo it."""
    ledger.undo(ctx.idempotency_key)


@sagas.step
def sign(ctx: StepContext, text: str) -> str:
    """Something that can be undone."""
    return act(ctx, text)


sign.compensation(name="branches.unsign")(back)


@sagas.step(pivot=True)
def pay(text: str) -> str:
    """From here on the run only goes forward."""
    return text


def branches(flow: Flow, text: str) -> list[str]:
    """A fragment: one branch of two steps, and one of one."""
    with flow.parallel():
        with flow.sequence():
            pack = flow.options(name="pack").step(sign, text)
            carry = flow.options(name="carry").step(sign, pack)
        clean = flow.options(name="clean").step(sign, text)
    return [carry, clean]


@sagas.saga(compensation_order="graph")
def move(flow: Flow, text: str) -> list[str]:
    """Undone side by side."""
    return branches(flow, text)


@sagas.saga
def move_for_good(flow: Flow, text: str) -> list[str]:
    """Behind a pivot."""
    return branches(flow, flow.step(pay, text))


def test_a_step_of_a_branch_is_held_and_skipped_before_its_turn(lab: Lab) -> None:
    """What it was given by hand is its result; it is not undone with the others."""
    run = lab.start(move, "x")
    run.pause("look")
    run.skip("carry", "carried by hand", reason="by hand")
    lab.run()
    assert (run.status, ledger.live) == ("paused", set())
    run.resume()
    assert run.result() == ["carried by hand", "clean x"]
    run.cancel("no")
    lab.run()
    assert (run.status, ledger.live) == ("compensated", set())
    assert sorted(run.undone) == ["clean", "pack"]


def test_a_cancel_while_branches_are_at_work_undoes_both(lab: Lab) -> None:
    """What is at work ends first, and nothing new begins."""
    lab.at("clean before body", lambda: lab.find("m").cancel("no"))
    run = lab.start(move, "x", id="m")
    lab.run()
    assert (run.status, ledger.live) == ("compensated", set())
    assert "carry" not in run.done


def test_two_branches_that_gave_up_past_the_pivot_are_seen_to_one_by_one(lab: Lab) -> None:
    """With the first the run rests; it goes on with its result, up to the other one."""
    lab.fail("carry", Abort("no van"), times=1)
    lab.fail("clean", Abort("no broom"), times=1)
    run = lab.start(move_for_good, "x")
    lab.run()
    assert (run.status, run.state().owed) == ("failed", ("clean",))
    run.skip("clean", "it is clean", reason="by hand")
    lab.run()
    assert (run.status, run.state().owed) == ("failed", ("carry",))
    run.retry("carry", reason="there is a van")
    assert run.result() == ["carry pack x", "it is clean"]


def test_two_undos_that_are_owed_are_seen_to_one_by_one(lab: Lab) -> None:
    """One is waived, the other tried again; what comes before them is undone then."""
    lab.fail("undo carry", Abort("no van"), times=1)
    lab.fail("undo clean", Abort("no broom"), times=1)
    run = lab.start(move, "x")
    lab.run()
    run.cancel("no")
    lab.run()
    assert (run.status, set(run.state().owed)) == ("failed", {"carry", "clean"})
    run.waive("clean", reason="leave it")
    run.retry("carry", reason="there is a van")
    lab.run()
    assert run.status == "compensated"
    assert {key.partition(":")[2] for key in ledger.live} == {"clean"}
