"""Many runs that slept until the same moment: the sweep tells of them, and commits nothing.

Owns: that whoever takes up what follows ends the sleep, and what becomes of those that nobody takes
up.  Refuses to know: how many share a message (`tests/workers/test_bundles.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine import herds
from celeriac.engine.attempts import Delivery
from celeriac.errors import CommandRefused
from celeriac.machine.awaited import Wait
from celeriac.machine.commands import Pause, Resume
from celeriac.machine.events import EventKind
from celeriac.machine.plans import Node
from celeriac.machine.runs import RunStatus
from celeriac.machine.steps import PhaseStatus
from celeriac.store import Due
from tests.engine.driver import GRACE, QUEUE, TERMS, Shop
from tests.machine.story import saga, step

if TYPE_CHECKING:
    from celeriac.machine import Phase
    from celeriac.machine.events import Dispatch
    from celeriac.machine.runs import Run

NAP = 60_000
MANY = 3 * TERMS.batch


@pytest.fixture(autouse=True)
def _herd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two in a batch are a herd here."""
    monkeypatch.setattr(herds, "HERD", 2)


def asleep(*behind: Any, many: int = MANY, **values: Any) -> Shop:
    """Runs that sleep until the same moment, which is now."""
    wait = Wait(timeout=NAP, on_timeout="continue")
    at = Shop(saga(Node(name="nap", task="", wait=wait), *(behind or ("reserve",)), **values))
    for number in range(many):
        at.start(f"order-{number}")
    at.post.waiting.clear()
    at.pass_time(NAP, sweeping=False)
    at.store.calls.clear()
    return at


def names(many: int = MANY) -> list[str]:
    """The ids of the runs."""
    return [f"order-{number}" for number in range(many)]


def test_a_herd_is_told_of_and_not_woken() -> None:
    """No commit of the sweep: the claim of what follows ends the sleep, in one."""
    at = asleep()
    at.sweep()
    assert sorted(each.run_id for each in at.post.waiting) == sorted(names())
    assert "commit" not in at.store.calls
    assert {at.run(name).shown for name in names()} == {RunStatus.WAITING}
    at.work()
    for name in names():
        assert at.run(name).status is RunStatus.COMPLETED
        kinds = [event.kind for event in at.store.history(name)[1:3]]
        assert kinds == [EventKind.COMPLETED, EventKind.CLAIMED]
        assert at.events(EventKind.COMPLETED, name)[0].data == {"why": "time is over"}


def test_a_herd_is_told_of_once() -> None:
    """What waits to be taken up is left alone by the next sweeps, and by one at the same time."""
    at = asleep()
    at.sweep()
    at.sweep()
    assert len(at.post.waiting) == MANY
    at.pass_time(3 * GRACE)
    assert len(at.post.waiting) == MANY, "they wait in their queue, and none is lost"
    assert "commit" not in at.store.calls
    at.pass_time(3 * GRACE)
    assert len(at.post.waiting) == MANY
    assert {at.run(name).shown for name in names()} == {RunStatus.RUNNING}, "each was woken"
    at.settle_down_all()
    assert at.tasks == ["reserve"] * MANY


def test_what_was_told_in_vain_is_woken_after_a_grace() -> None:
    """A lost message costs a grace, and no more than with a run that was woken (L2)."""
    at = asleep()
    at.post.losing = True
    at.sweep()
    at.post.losing = False
    at.pass_time(GRACE - 1_000)
    assert at.post.waiting == []
    at.pass_time(2_000)
    assert len(at.post.waiting) == MANY
    at.settle_down_all()
    assert at.tasks == ["reserve"] * MANY


def test_a_message_that_comes_twice_wakes_once() -> None:
    """Neither the sleep nor the step happens twice (I20)."""
    at = asleep()
    at.post.copies = 2
    at.settle_down_all()
    assert at.tasks == ["reserve"] * MANY
    for name in names():
        assert len(at.events(EventKind.COMPLETED, name)) == 2


SECOND = Node(name="nap-2", task="", wait=Wait(timeout=NAP, on_timeout="continue"))
NEEDS_MORE: dict[str, tuple[tuple[Node, ...], dict[str, Any]]] = {
    "its message has to come in time": ((step("reserve", expires=60_000),), {}),
    "another sleep follows": ((SECOND, step("reserve")), {}),
    "the deadline has passed": ((step("reserve"),), {"deadline": NAP}),
}


@pytest.mark.parametrize("why", NEEDS_MORE)
def test_what_needs_more_than_a_claim_is_woken(why: str) -> None:
    """Whatever has to be on record before somebody comes with a message."""
    behind, values = NEEDS_MORE[why]
    at = asleep(*behind, **values)
    at.sweep()
    assert at.store.calls.count("commit") == MANY


def test_a_few_are_woken_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no herd, history says at once that they have woken."""
    monkeypatch.setattr(herds, "HERD", MANY)
    at = asleep()
    at.sweep()
    assert {at.run(name).shown for name in names()} == {RunStatus.RUNNING}


def test_a_deadline_is_not_missed_meanwhile() -> None:
    """What was told of is looked at again when its deadline passes, if that is sooner."""
    at = asleep(deadline=NAP + 2_000)
    at.sweep()
    at.post.waiting.clear()
    at.pass_time(3_000)
    assert {at.run(name).status for name in names()} == {RunStatus.COMPENSATED}


def test_whether_it_was_told_of_is_read_off_its_entry() -> None:
    """A commit puts the entry where the sleep ends; whoever tells of it puts it later."""
    at = asleep(many=1)
    run = at.run("order-0")
    assert run.steps.open["nap"].do.limit == at.clock.now
    assert not herds.was_told(run, Due("order-0", at.clock.now, None))
    assert herds.was_told(run, Due("order-0", at.clock.now + GRACE, None))


@pytest.mark.parametrize("moved", [False, True])
def test_what_is_refused_at_a_glance_is_decided_anew(moved: bool) -> None:
    """Several runs are read at once, a moment before they are claimed; they may move meanwhile."""
    at = asleep(many=2)
    at.command(Pause("the bank is down"), "order-0")
    at.sweep()
    plan = at.run("order-0").plan
    hints = [Delivery(f"order-{number}", 1, "reserve", "do", 1, plan) for number in range(2)]
    glances = at.engine.glance_at(hints, NothingAhead())
    if moved:
        at.command(Resume("go on"), "order-0")
    at.store.calls.clear()
    fine = at.engine.claim(hints[1], "one", QUEUE, glance=glances["order-1"])
    assert at.store.calls.count("read") == 0
    assert fine.run.step("reserve").do.state is PhaseStatus.RUNNING
    if moved:
        at.engine.claim(hints[0], "two", QUEUE, glance=glances["order-0"])
        return
    with pytest.raises(CommandRefused, match="waits until it is resumed"):
        at.engine.claim(hints[0], "two", QUEUE, glance=glances["order-0"])


class NothingAhead:
    """Nothing is run ahead."""

    left = 0

    def suits(self, node: Node, phase: Phase) -> bool:
        """No step does."""
        raise AssertionError((node, phase))

    def take(self, run: Run, node: Node, dispatch: Dispatch) -> str:
        """Take up nothing."""
        raise AssertionError((run, node, dispatch))
