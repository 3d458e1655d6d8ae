"""Running ahead in the engine: an attempt is settled and the next one claimed, in one commit.

Owns: what that commit leaves, whoever comes between or whatever call is lost, and how many calls a
run takes.  Refuses to know: which conditions a worker makes (`tests/workers`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from celeriac.engine.answers import Goes
from celeriac.errors import Abort
from celeriac.machine.commands import Cancel, Command, Pause, Resume
from celeriac.machine.events import EventKind
from celeriac.machine.expressions import FromInput, FromStep
from celeriac.machine.plans import Plan, Undo
from celeriac.machine.runs import RunStatus
from celeriac.store import Lease
from tests.engine.driver import LEASE, Shop
from tests.machine.story import budget, saga, step

if TYPE_CHECKING:
    from celeriac.engine.attempts import Attempt
    from celeriac.machine import Node, Phase
    from celeriac.machine.events import Dispatch
    from celeriac.machine.runs import Run

DECLINED = Abort("declined", effect=False)


@dataclass
class Runner:
    """A worker that runs ahead, as far as it is said to."""

    left: int = 10
    unsuited: str = ""
    willing: bool = True
    asked: list[str] = field(default_factory=list)

    def suits(self, node: Node, _phase: Phase) -> bool:
        """Whether it could run the step."""
        return node.name != self.unsuited

    def take(self, _run: Run, _node: Node, dispatch: Dispatch) -> str:
        """Take what is offered, under a nonce of its own."""
        if not self.willing:
            return ""
        self.asked.append(dispatch.step)
        self.left -= 1
        return f"ahead-{len(self.asked)}"


def shop() -> Plan:
    """Three steps, of which each takes what is in the input and what the one before made."""
    undo = Undo(task="shop.undo_reserve", wants=("order", "result", "error"), retry=budget(3))
    reserve = step("reserve", args={"order": FromInput(input="order")}, undo=undo)
    charge = step("charge", args={"reserved": FromStep(step="reserve")})
    ship = step("ship", args={"to": FromInput(input="to"), "bill": FromStep(step="charge")})
    return saga(reserve, charge, ship)


def begun(plan: Plan, runner: Runner) -> tuple[Shop, Attempt]:
    """A run whose first step is at work."""
    at = Shop(plan)
    at.start(order=42, to="home")
    at.store.calls.clear()
    attempt = at.claim(ahead=runner)
    assert attempt is not None
    return at, attempt


def test_a_run_takes_one_message_and_a_call_a_step() -> None:
    """Nothing is read again: what follows was read along, or made on the way."""
    runner = Runner()
    at, first = begun(shop(), runner)
    second = at.go_on(first, runner, "reserved")
    assert second is not None
    assert second.arguments() == {"reserved": '"reserved"'}
    assert second.key == "order-42:charge"
    assert at.store.leases("order-42") == {Lease("order-42", "charge", "do", 1)}
    third = at.go_on(second, runner, "bill")
    assert third is not None
    assert third.arguments() == {"to": '"home"', "bill": '"bill"'}
    assert at.go_on(third, runner, "shipped") is None
    assert at.store.calls == ["plan", "read", "commit", "commit", "commit", "commit"]
    assert len(at.post.sent) == 1
    told = [(event.kind.value, event.step) for event in at.store.history("order-42")]
    steps = ["reserve", "charge", "ship"]
    each = [(kind, name) for name in steps for kind in ("claimed", "completed")]
    assert told == [("started", ""), *each, ("finished", "")]
    assert at.run().status is RunStatus.COMPLETED


def test_a_failure_is_undone_on_the_way() -> None:
    """What is undone first is taken up along with the failure, with the cause; nothing is read."""
    runner = Runner()
    at, first = begun(shop(), runner)
    second = at.go_on(first, runner, "reserved")
    assert second is not None
    undo = at.go_on(second, runner, error=DECLINED)
    assert undo is not None
    assert (undo.delivery.step, undo.delivery.phase) == ("reserve", "undo")
    given = undo.arguments()
    assert (given["order"], given["result"]) == ("42", '"reserved"')
    assert json.loads(given["error"])["type"] == "Abort"
    assert at.go_on(undo, runner) is None
    assert at.run().status is RunStatus.COMPENSATED
    assert at.store.calls == ["plan", "read", "commit", "commit", "commit", "commit"]


def test_what_was_not_read_is_read_before_the_commit() -> None:
    """A step whose payloads nobody read along gets them all the same."""
    at, first = begun(shop(), Runner(left=0))
    second = at.go_on(first, Runner(), "reserved")
    assert second is not None
    third = at.go_on(second, Runner(), "bill")
    assert third is not None
    assert third.arguments() == {"to": '"home"', "bill": '"bill"'}
    assert at.store.calls == ["plan", "read", "commit", "commit", "read", "commit"]


def test_what_a_group_needs_is_read_once_the_run_has_come_to_it() -> None:
    """Its nodes are those of a visit, which the plan at the claim did not have."""
    given = {"order": FromInput(input="order")}
    decide = step("decide", group="manual", args=given)
    tell = step("tell", group="manual", after=("decide",), args={"to": FromInput(input="to")})
    nodes = (step("ask", group="entry"), decide, tell)
    at, first = begun(Plan(saga="pay", params=("order", "to"), nodes=nodes), Runner(left=0))
    second = at.engine.complete(first, Goes("manual"), Runner()).following
    assert second is not None
    assert second.arguments() == {"order": "42"}
    third = at.go_on(second, Runner())
    assert third is not None
    assert third.arguments() == {"to": '"home"'}
    assert at.store.calls == ["plan", "read", "commit", "read", "commit", "commit"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_is_lost(when: str) -> None:
    """The report decided anew finds its claim granted, or makes it: once, under one nonce (I11)."""
    runner = Runner()
    at, first = begun(shop(), runner)
    at.store.cut = (len(at.store.calls) + 1, when)
    second = at.go_on(first, runner, "reserved")
    assert second is not None
    assert runner.asked == ["charge"]
    claimed = [event.step for event in at.events(EventKind.CLAIMED)]
    assert claimed == ["reserve", "charge"]
    third = at.go_on(second, runner, "bill")
    assert third is not None
    assert third.arguments() == {"to": '"home"', "bill": '"bill"'}
    at.go_on(third, runner)
    assert at.run().status is RunStatus.COMPLETED


@pytest.mark.parametrize("command", [Pause("hold on"), Cancel("changed my mind")], ids=["p", "c"])
def test_whoever_comes_between_is_obeyed(command: Command) -> None:
    """Paused or cancelled just before the commit: the report stands, and nothing is taken up."""
    runner = Runner()
    at, first = begun(shop(), runner)
    at.store.between = lambda: at.command(command)
    assert at.go_on(first, runner, "reserved") is None
    assert at.run().steps["reserve"].do.attempt == 1
    assert at.fields("out:reserve") == {"out:reserve": "reserved"}
    assert "charge" not in [event.step for event in at.events(EventKind.CLAIMED)]
    if isinstance(command, Pause):
        at.command(Resume())
        assert at.settle_down().status is RunStatus.COMPLETED
    else:
        assert at.settle_down().status is RunStatus.COMPENSATED


def test_a_worker_that_dies_ahead() -> None:
    """The attempt it had claimed is lost as any other, and made again under the same key (I24)."""
    runner = Runner()
    at, first = begun(shop(), runner)
    second = at.go_on(first, runner, "reserved")
    assert second is not None
    at.die(second)
    at.pass_time(LEASE + 1_000)
    again = at.next_attempt()
    assert (again.delivery.step, again.delivery.attempt) == ("charge", 2)
    assert again.key == second.key
    at.complete(second, "bill of a zombie")
    at.finish(again)
    assert at.settle_down().status is RunStatus.COMPLETED


def test_what_is_not_taken_up() -> None:
    """A fork, another attempt, a step that refuses, one that does not suit, an unwilling worker.

    Each is sent as a message instead.
    """
    fork = saga("reserve", step("charge", after=("reserve",)), step("pack", after=("reserve",)))
    refuses = saga("reserve", step("charge", ahead=False))
    for plan, runner in (
        (fork, Runner()),
        (refuses, Runner()),
        (saga("reserve", "charge"), Runner(left=0)),
        (saga("reserve", "charge"), Runner(willing=False)),
        (saga("reserve", "charge"), Runner(unsuited="charge")),
    ):
        at, first = begun(plan, runner)
        assert at.go_on(first, runner, "reserved") is None
        assert not runner.asked
        assert at.post.waiting
        assert at.settle_down().status is RunStatus.COMPLETED
    runner = Runner()
    at, first = begun(shop(), runner)
    assert at.go_on(first, runner, error=ConnectionError("busy")) is None
    assert not runner.asked
    assert at.settle_down().status is RunStatus.COMPLETED


def test_a_result_that_came_between_is_given_to_its_undo() -> None:
    """What was read along says that a lost step left nothing; its late report says what."""
    lost = step("charge", retry=budget(1))
    plan = saga("reserve", lost, compensation_order="forward")
    at = Shop(plan)
    at.start()
    at.finish(at.next_attempt())
    late = at.next_attempt()
    at.die(late)
    at.pass_time(LEASE + 1_000)
    at.pass_time(2 * LEASE)
    runner = Runner()
    undo = at.claim(ahead=runner)
    assert undo is not None
    assert (undo.delivery.step, undo.delivery.phase) == ("reserve", "undo")
    at.store.between = lambda: at.complete(late, "bill of a zombie")
    following = at.go_on(undo, runner)
    assert following is not None
    assert following.arguments() == {"result": '"bill of a zombie"'}
