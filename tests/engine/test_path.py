"""A run from its start to its rest when nothing gets lost: values, arguments, attempts.

Owns: what the engine hands to steps and compensations, and what it keeps.  Refuses to know:
faults.
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.errors import Abort, CommandRefused, OutputInvalid, RunConflict
from celeriac.machine.commands import Start
from celeriac.machine.events import EventKind
from celeriac.machine.expressions import Constant, DictOf, FromInput, FromStep, ListOf
from celeriac.machine.plans import Node, Plan, Undo
from celeriac.machine.runs import RunStatus
from celeriac.store import payloads
from tests.engine.driver import GRACE, Shop
from tests.machine.story import budget

ORDER = {"id": "order-42", "amount": 4200, "lines": [{"sku": "SPADE", "quantity": 2}]}


def shop(**values: Any) -> Shop:
    """Three steps that pass values on, with undos that ask for some of them."""
    reserve = Node(
        name="reserve",
        task="shop.reserve",
        args={
            "order": FromInput(input="order"),
            "sku": FromInput(input="order", path=("lines", 0, "sku")),
        },
        retry=budget(),
        undo=Undo(task="shop.release", wants=("order", "result", "error"), retry=budget()),
    )
    charge = Node(
        name="charge",
        task="shop.charge",
        after=("reserve",),
        args={
            "hold": FromStep(step="reserve"),
            "parts": ListOf(items=(FromStep(step="reserve", path=("id",)), Constant(value=7))),
            "how": DictOf(entries={"currency": Constant(value="EUR")}),
            "error": FromInput(input="order", path=("id",)),
        },
        retry=budget(),
        undo=Undo(task="shop.refund", wants=("result", "error"), retry=budget()),
    )
    ship = Node(name="ship", task="shop.ship", after=("charge",), retry=budget())
    plan = Plan(saga="place_order", params=("order",), nodes=(reserve, charge, ship), **values)
    found = Shop(plan)
    found.bodies["shop.reserve"] = lambda **_: {"id": "hold-1"}
    return found


def test_a_start_soon_after_another_asks_nothing() -> None:
    """Who knows what time it is at the store writes a run in one call; a run that is there, not."""
    at = shop()
    at.start("order-1", order=ORDER)
    at.clock.now += 5_000
    at.store.calls.clear()
    at.start("order-2", order=ORDER)
    assert at.store.calls == ["commit"]
    assert at.run("order-2").started_at == at.clock.now
    assert at.start("order-1", order=ORDER).events == ()
    assert at.store.calls == ["commit", "commit", "read"]
    with pytest.raises(RunConflict):
        at.engine.start(at.plan, Start("order-1", "another input", "call-2", GRACE), {})
    at.clock.now += 60_000
    at.store.calls.clear()
    at.start("order-3", order=ORDER)
    assert at.store.calls == ["read", "commit"]


def test_a_run_goes_from_start_to_end() -> None:
    """Each step runs once, with its arguments put together from the input and earlier results."""
    at = shop()
    at.start(order=ORDER)
    run = at.settle_down()

    assert run.status is RunStatus.COMPLETED
    assert at.ran == [
        ("shop.reserve", {"order": ORDER, "sku": "SPADE"}),
        (
            "shop.charge",
            {
                "hold": {"id": "hold-1"},
                "parts": ["hold-1", 7],
                "how": {"currency": "EUR"},
                "error": "order-42",
            },
        ),
        ("shop.ship", {}),
    ]
    assert len(at.post.sent) == 3
    assert at.fields("out:reserve", "out:charge", "out:ship") == {
        "out:reserve": {"id": "hold-1"},
        "out:charge": "charge done",
        "out:ship": "ship done",
    }


def test_a_run_that_fails_is_undone() -> None:
    """Compensations get the forward arguments by name, the result, and the error of the run.

    A forward parameter that is called `error` comes before the error of the run.
    """
    at = shop()

    def no_address(**_: Any) -> None:
        raise Abort("no such address", effect=False)

    at.bodies["shop.ship"] = no_address
    at.start(order=ORDER)
    run = at.settle_down()

    assert run.status is RunStatus.COMPENSATED
    assert at.tasks == ["reserve", "charge", "ship", "refund", "release"]
    refund, release = (arguments for _, arguments in at.ran[-2:])
    assert refund == {"result": "charge done", "error": "order-42"}
    assert release["order"] == ORDER
    assert release["result"] == {"id": "hold-1"}
    assert release["error"]["type"] == "Abort"
    assert release["error"]["message"] == "no such address"


def test_the_undo_of_an_unknown_outcome_has_no_result() -> None:
    """A step that failed may have had an effect; its compensation gets `result=None`."""
    at = shop()

    def down(**_: Any) -> None:
        raise ConnectionError("bank down")

    at.bodies["shop.charge"] = down
    at.start(order=ORDER)
    at.settle_down()
    assert at.tasks == ["reserve", "charge", "charge", "refund", "release"]
    assert at.ran[3][1]["result"] is None
    assert at.ran[4][1]["error"]["type"] == "ConnectionError"


def test_a_cancelled_run_has_no_error() -> None:
    """Nothing failed: compensations are told so."""
    at = shop()
    at.start(order=ORDER)
    at.settle_down()
    at.cancel()
    run = at.settle_down()
    assert run.status is RunStatus.COMPENSATED
    assert at.ran[-1] == (
        "shop.release",
        {"order": ORDER, "result": {"id": "hold-1"}, "error": None},
    )


def test_a_path_that_leads_nowhere_is_a_clear_error() -> None:
    """A recorded value that lost a field says which, before the body runs."""
    at = shop()
    at.bodies["shop.reserve"] = lambda **_: {"number": 1}
    at.start(order=ORDER)
    attempt = at.claim()
    assert attempt is not None
    at.finish(attempt)
    charge = at.claim()
    assert charge is not None
    with pytest.raises(OutputInvalid, match="there is no 'id' in the recorded value"):
        charge.arguments()


def test_attempts_share_a_key_and_a_heartbeat() -> None:
    """The key is stable over attempts and directions; details are left for the next attempt."""
    at = shop()
    at.start(order=ORDER)
    first = at.claim()
    assert first is not None
    at.engine.heartbeat(first, '{"page":3}')
    assert "beat:reserve" not in first.fields
    at.fail(first, ConnectionError("bank down"))

    second = at.claim()
    assert second is not None
    assert second.key == first.key == "order-42:reserve"
    assert second.fields["beat:reserve"] == '{"page":3}'
    at.fail(second, ConnectionError("bank down"))
    undo = at.claim()
    assert undo is not None
    assert undo.delivery.phase == "undo"
    assert undo.key == first.key


def test_a_heartbeat_without_details_asks_only() -> None:
    """It writes nothing, and tells an attempt that does not count any more."""
    at = shop()
    at.start(order=ORDER)
    attempt = at.claim()
    assert attempt is not None
    at.store.calls.clear()
    at.engine.heartbeat(attempt, None)
    assert "commit" not in at.store.calls
    at.cancel()
    with pytest.raises(CommandRefused, match="will be undone"):
        at.engine.heartbeat(attempt, '"details"')
    assert at.fields("beat:reserve") == {}


def test_a_step_takes_three_trips() -> None:
    """Plan apart, a step is one read and two commits: the claim and the result."""
    at = shop()
    at.start(order=ORDER)
    at.store.calls.clear()
    attempt = at.claim()
    assert attempt is not None
    at.finish(attempt)
    assert [call for call in at.store.calls if call != "plan"] == ["read", "commit", "commit"]


def test_a_start_twice_is_one_run() -> None:
    """The same id and input joins, and writes nothing; another input is refused (I10)."""
    at = shop()
    at.start(order=ORDER)
    at.settle_down()
    again = Start("order-42", '{"order": {}}', "call-2", GRACE)
    version = at.run().version
    with pytest.raises(RunConflict):
        at.engine.start(at.plan, again, {"order": '"other"'})
    assert not at.start(order=ORDER).events
    assert at.run().version == version
    assert at.fields("in:order") == {"in:order": ORDER}


def test_a_restart_forgets_the_payloads() -> None:
    """A run that starts anew has its new input, and none of the old results."""
    at = shop()
    at.start(order=ORDER)
    at.settle_down()
    command = Start("order-42", "other", "call-2", GRACE, if_exists="restart")
    at.engine.start(at.plan, command, {"order": '"other"'})
    assert at.fields("in:order", "out:reserve") == {"in:order": "other"}
    assert len(at.events(EventKind.STARTED)) == 2


def test_a_run_keeps_the_plan_it_started_with() -> None:
    """Joining it with another plan of the same saga, deployed meanwhile, changes nothing (I14)."""
    at = shop()
    at.start(order=ORDER)
    newer = shop(version=2).plan
    joined = at.start_with(newer, "order-42", order=ORDER)
    assert joined.run.plan == at.plan.fingerprint != newer.fingerprint
    assert at.settle_down().status is RunStatus.COMPLETED


def test_the_failure_of_each_attempt_is_kept() -> None:
    """The newest failure of a step, and of its undo, are on record."""
    at = shop()

    def broken(**_: Any) -> None:
        raise ValueError("no such hold")

    at.bodies["shop.release"] = broken
    at.start(order=ORDER)
    attempt = at.claim()
    assert attempt is not None
    at.fail(attempt, Abort("sold out"))
    run = at.settle_down()

    assert run.status is RunStatus.FAILED
    assert run.owed == ("reserve",)
    kept = at.fields("err:reserve", "uerr:reserve", payloads.CAUSE)
    assert kept["err:reserve"]["message"] == "sold out"
    assert kept["uerr:reserve"]["type"] == "ValueError"
    assert kept[payloads.CAUSE] == kept["err:reserve"]
