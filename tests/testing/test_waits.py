"""Waits in the lab and under the explorer: signals are sent, and time moves on by itself.

Owns: what becomes of payloads, and that nothing breaks whatever fails meanwhile.  Refuses to know:
what the state machine decides (`tests/machine/test_waits.py`), and how waits are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import BaseModel

from celeriac import (
    CommandRefused,
    Flow,
    InputInvalid,
    PayloadTooLarge,
    RunCompensated,
    Sagas,
    StepContext,
)
from celeriac import Signal as SignalOf
from celeriac.testing import explore

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun

app = Celery("expenses", set_as_current=False)
sagas = Sagas(app)


class Approval(BaseModel):
    """What is sent."""

    by: str


approved = SignalOf("approved", Approval)
paid = SignalOf("paid", int)
holds: dict[str, int] = {}  # amounts by key
closed: set[str] = set()  # keys under which nothing may be held any more


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing is held."""
    forget()


def forget() -> None:
    """Make the world new."""
    holds.clear()
    closed.clear()


@sagas.step
def hold(ctx: StepContext, amount: int) -> int:
    """Hold an amount, unless it was let go before it came."""
    if ctx.idempotency_key not in closed:
        holds[ctx.idempotency_key] = amount
    return amount


@hold.compensation
def let_go(ctx: StepContext) -> None:
    """Hold it no more."""
    closed.add(ctx.idempotency_key)
    holds.pop(ctx.idempotency_key, None)


@sagas.step
def pay(amount: int, by: str) -> str:
    """Pay it."""
    return f"{amount}, approved by {by}"


def came(first: Approval | None) -> bool:
    """A predicate."""
    return first is not None


@sagas.saga
def expense(flow: Flow, amount: int) -> str:
    """Hold, wait for a day, sleep for an hour, pay."""
    held = flow.step(hold, amount)
    approval = flow.wait(approved, timeout="1d")
    flow.sleep("1h")
    return flow.step(pay, held, approval.by)


@sagas.saga
def trip(flow: Flow, amount: int) -> str:
    """Something else, beside a child that waits."""
    with flow.parallel():
        flow.step(hold, amount)
        return flow.child(expense, amount)


@sagas.saga
def journey(flow: Flow, amount: int) -> str:
    """A child with such a child."""
    return flow.child(trip, amount)


@sagas.saga
def order(flow: Flow, amount: int) -> str:
    """Wait for two who answer."""
    flow.step(hold, amount)
    with flow.parallel():
        approval = flow.wait(approved)
        amount = flow.wait(paid)
    return flow.step(pay, amount, approval.by)


@sagas.saga
def reminder(flow: Flow, amount: int) -> str:
    """Wait twice, and go on with a default."""
    held = flow.step(hold, amount)
    first = flow.options(name="first").wait(approved, timeout="1h", on_timeout="continue")
    flow.options(name="second").wait(approved, timeout="1h", on_timeout=Approval(by="nobody"))
    with flow.when(came, first):
        flow.step(pay, held, "somebody")
    return flow.step(pay, held, "the end")


def test_a_run_waits_for_its_signal(lab: Lab) -> None:
    """It is `waiting` until then, and the payload is the result of the wait."""
    run = lab.start(expense, 5)
    lab.run()
    assert run.status == "waiting"
    assert run.state().step("approved").waits_for == "approved"
    assert lab.signal(run, approved, Approval(by="eve")) == "taken"
    lab.run()
    assert run.result() == "5, approved by eve"


def test_an_early_signal_brings_its_payload(lab: Lab) -> None:
    """It was stored long before its wait opened."""
    run = lab.start(expense, 5)
    assert lab.signal(run, approved, Approval(by="ann"), id="a") == "kept"
    assert lab.signal(run, approved, Approval(by="bob"), id="a") == "kept"
    lab.run()
    assert run.result() == "5, approved by ann"
    assert lab.signal(run, approved, Approval(by="bob"), id="a") == "taken"


def test_time_moves_on_by_itself_while_a_run_only_sleeps(lab: Lab) -> None:
    """But not while somebody could still send a signal."""
    run = lab.start(expense, 5)
    before = lab.now
    lab.run()
    assert (lab.now - before).total_seconds() < 60
    lab.signal(run, "approved", {"by": "eve"})
    lab.run()
    assert (lab.now - before).total_seconds() >= 3600


def test_nobody_approves(lab: Lab) -> None:
    """The run is undone when the time is over, and the failure says why."""
    run = lab.start(expense, 5)
    lab.run()
    lab.advance("25h")
    with pytest.raises(RunCompensated, match="no signal 'approved' came in 86400 s") as caught:
        run.result()
    assert caught.value.failure is not None
    assert caught.value.failure.code == "timeout"
    assert holds == {}


def test_a_wait_that_was_ended_says_why(lab: Lab) -> None:
    """It had begun, but nobody was at it, and nothing of it is to be undone."""
    run = lab.start(expense, 5)
    lab.run()
    run.cancel("too dear")
    lab.run()
    ended = run.state().step("approved")
    assert (ended.status.value, ended.because) == ("skipped", "cancelled")


@pytest.mark.parametrize("depth", [1, 2])
def test_the_lab_stops_where_a_child_waits(lab: Lab, depth: int) -> None:
    """Its parents do nothing meanwhile; and they go on with it."""
    run: LabRun[Any] = lab.start(trip if depth == 1 else journey, 5, id="t")
    lab.run()
    child = lab.find("t.expense" if depth == 1 else "t.trip.expense")
    assert (child.status, run.status) == ("waiting", "running")
    assert lab.ran == ["hold", "hold"], "also what is beside it has ended"
    child.signal(approved, Approval(by="eve"))
    assert run.result() == "5, approved by eve"


def test_an_id_is_one_of_its_signal(lab: Lab) -> None:
    """Whoever sends two signals about one order may call both by its number."""
    run = lab.start(order, 5)
    lab.run()
    assert run.signal(approved, Approval(by="eve"), id="5") == "taken"
    assert run.signal(paid, 7, id="5") == "taken"
    assert run.signal(approved, Approval(by="eve"), id="5") == "taken", "the first answer"
    lab.run()
    assert run.result() == "7, approved by eve"


def test_defaults_take_the_place_of_payloads(lab: Lab) -> None:
    """What comes after a timeout is for the next wait."""
    run = lab.start(reminder, 5)
    lab.run()
    lab.advance("61m")
    assert run.state().step("first").status == "completed"
    assert lab.signal(run, approved, Approval(by="eve")) == "taken"
    lab.run()
    assert run.done == ["hold", "first", "second", "came", "pay-2"]
    other = lab.start(reminder, 5)
    lab.run()
    lab.advance("3h")
    assert other.status == "completed"


@pytest.mark.parametrize(
    ("payload", "problem"),
    [({"by": 3}, InputInvalid), (None, InputInvalid), ({"by": "x" * 300_000}, PayloadTooLarge)],
)
def test_a_payload_that_does_not_fit_is_refused(lab: Lab, payload: Any, problem: Any) -> None:
    """With nothing written."""
    run = lab.start(expense, 5)
    before = run.history()
    with pytest.raises(problem):
        run.signal("approved", payload)
    assert run.history() == before
    with pytest.raises(CommandRefused) as caught:
        run.signal("nonsense", payload)
    assert caught.value.reason == "unknown_signal"


def test_a_namesake_of_a_signal_checks_nothing(lab: Lab) -> None:
    """What fits counts is said by the signal that its saga waits for."""
    run = lab.start(expense, 5)
    lab.run()
    namesake = SignalOf("approved", int)
    with pytest.raises(InputInvalid, match="payload of signal 'approved'"):
        run.signal(namesake, 3)
    assert run.status == "waiting"
    assert not [event for event in run.history() if event.kind == "signalled"]


@pytest.mark.parametrize("given", ["", 5, "x" * 201, "half a letter \udcff"])
def test_an_id_that_nobody_could_tell_is_refused(lab: Lab, given: Any) -> None:
    """With nothing written, and shortly."""
    run = lab.start(expense, 5)
    before = run.history()
    with pytest.raises(InputInvalid, match="id: 1 to 200 characters") as caught:
        run.signal(approved, Approval(by="eve"), id=given)
    assert len(str(caught.value)) < 100
    assert run.history() == before


def test_an_answer_to_nothing_is_no_signal_for_any_wait(lab: Lab) -> None:
    """An empty field of a form, say: whoever left the step out has said so."""
    run = lab.start(expense, 5)
    with pytest.raises(InputInvalid, match="step: give the name of the wait"):
        run.signal(approved, Approval(by="eve"), step="")
    assert not [event for event in run.history() if event.kind == "signalled"]


def test_what_is_no_name_is_the_name_of_no_signal(lab: Lab) -> None:
    """Whatever it is."""
    run = lab.start(expense, 5)
    with pytest.raises(CommandRefused, match="does not wait for"):
        run.signal("half a letter \udcff", 3)
    for odd in (None, 5, ["approved"]):
        with pytest.raises(InputInvalid, match="give a Signal, or the name of one"):
            run.signal(odd, 3)  # type: ignore[call-overload]


def test_an_operator_may_take_the_place_of_a_signal(lab: Lab) -> None:
    """With a payload that the signal could have brought."""
    run = lab.start(expense, 5)
    lab.run()
    with pytest.raises(InputInvalid, match="payload of signal"):
        run.skip("approved", {"by": 3}, "by phone")
    run.skip("approved", {"by": "phone"}, "by phone")
    lab.run()
    assert run.result() == "5, approved by phone"


def test_a_payload_is_in_no_event_and_no_message(lab: Lab) -> None:
    """It is a payload (X2)."""
    run = lab.start(expense, 5)
    lab.signal(run, approved, Approval(by="a secret"))
    lab.run()
    assert "a secret" not in "".join(event.dump() for event in run.history())
    assert "a secret" not in run.story


def approve(run: LabRun[Any]) -> None:
    """Approve, however often it is asked for."""
    run.signal(approved, Approval(by="eve"), id="the one")


def nothing_is_left(run: LabRun[Any]) -> None:
    """What is held is held by runs that were paid."""
    assert (run.status == "completed") == bool(holds)


def test_it_holds_whatever_fails() -> None:
    """Each crash, loss and cancel, with a signal that is sent when the run waits."""
    found = explore(expense, 5, check=nothing_is_left, fresh=forget, pairs=False, meanwhile=approve)
    assert found.ok, found
    assert found.tried > 50


def test_it_holds_when_nobody_sends_anything() -> None:
    """Timeouts alone."""
    found = explore(expense, 5, check=nothing_is_left, fresh=forget, pairs=False)
    assert found.ok, found
