"""The signals for applications: which is sent when, with what, and that no receiver breaks a run.

Owns: each signal over stories told to the engine.  Refuses to know: Celery's workers.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import celeriac
from celeriac.errors import Abort
from celeriac.machine.commands import Terminate, Waive
from celeriac.machine.runs import RunStatus
from celeriac.observing import signals
from celeriac.observing.signals import (
    saga_compensated,
    saga_completed,
    saga_failed,
    saga_started,
    saga_step_failed,
    send_signals,
)
from celeriac.testing.clock import NOON
from tests.engine.driver import LEASE, Shop
from tests.machine.story import budget, saga, step

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = (saga_started, saga_step_failed, saga_completed, saga_compensated, saga_failed)


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """Every signal that is sent: its name, its sender, and what came with it."""
    found: list[dict[str, Any]] = []

    def hear(signal: Any, **details: Any) -> None:
        found.append({"signal": signal.name, **details})

    with ExitStack() as stack:
        for signal in ALL:
            signal.connect(hear, weak=False)
            stack.callback(signal.disconnect, hear)
        yield found


def shop(*nodes: Any) -> Shop:
    """A shop whose engine sends signals."""
    at = Shop(saga(*(nodes or ("reserve", "charge"))))
    at.engine.observers.add(send_signals)
    return at


def fail(error: Exception) -> Any:
    """A body that raises."""

    def body(**_: Any) -> None:
        raise error

    return body


def test_a_run_that_completes(heard: list[dict[str, Any]]) -> None:
    """It is told when it was accepted, and when it has ended."""
    at = shop()
    at.start()
    at.clock.now += 1_500
    at.work()
    run = {"sender": "place_order", "run_id": "order-42", "saga": "place_order"}
    assert heard == [
        {"signal": "saga_started", **run, "tags": {}},
        {"signal": "saga_completed", **run, "seconds": 1.5},
    ]


def test_a_run_that_is_undone(heard: list[dict[str, Any]]) -> None:
    """Each failed attempt is told, with when it is tried again; and why the run was undone."""
    at = shop()
    at.bodies["shop.charge"] = fail(ConnectionError("the text may be a payload"))
    at.start()
    at.settle_down()
    failed = [each for each in heard if each["signal"] == "saga_step_failed"]
    assert [(each["step"], each["phase"], each["attempt"]) for each in failed] == [
        ("charge", "do", 1),
        ("charge", "do", 2),
    ]
    assert [each["error"] for each in failed] == ["ConnectionError"] * 2
    assert [each["outcome"] for each in failed] == ["failed"] * 2
    assert failed[0]["retry_at"].timestamp() * 1000 == NOON + 1_000
    assert failed[1]["retry_at"] is None
    last = heard[-1]
    assert (last["signal"], last["why"], last["step"]) == ("saga_compensated", "failed", "charge")
    assert "payload" not in str(heard)


def test_a_run_that_somebody_cancelled(heard: list[dict[str, Any]]) -> None:
    """The reason that was given goes along."""
    at = shop()
    at.start()
    at.work()
    at.cancel()
    at.settle_down()
    assert heard[-1]["why"] == "cancelled"
    assert heard[-1]["reason"] == "changed my mind"
    assert [each["signal"] for each in heard] == [
        "saga_started",
        "saga_completed",
        "saga_compensated",
    ]


def test_a_run_that_owes_something(heard: list[dict[str, Any]]) -> None:
    """A failed run names what is owed; once that is waived, it was undone."""
    at = shop()
    at.bodies["shop.charge"] = fail(Abort("no", effect=False))
    at.bodies["shop.undo_reserve"] = fail(ConnectionError())
    at.start()
    at.settle_down()
    assert heard[-1]["signal"] == "saga_failed"
    assert heard[-1]["owed"] == ("reserve",)
    at.command(Waive("reserve", "by hand"))
    assert heard[-1]["signal"] == "saga_compensated"


def test_an_attempt_whose_outcome_nobody_knows(heard: list[dict[str, Any]]) -> None:
    """A worker that died, and a step that was cut off, are failures with an unknown outcome."""
    at = shop(step("reserve", retry=budget(3)))
    at.start()
    at.die(at.next_attempt())
    at.pass_time(2 * LEASE)
    at.fail(at.next_attempt(), TimeoutError(), kind="timeout")
    failed = [each for each in heard if each["signal"] == "saga_step_failed"]
    assert [each["outcome"] for each in failed] == ["unknown", "unknown"]
    assert failed[0]["error"] is None


def test_a_signal_is_sent_once_for_an_event(heard: list[dict[str, Any]]) -> None:
    """Commands given twice, messages that come twice and commits that conflict send nothing."""
    at = shop()
    at.start()
    at.start()
    at.post.waiting *= 2
    at.store.between = lambda: at.store.pulse(1)
    at.work()
    assert [each["signal"] for each in heard] == ["saga_started", "saga_completed"]


def test_a_commit_that_failed_sends_nothing(heard: list[dict[str, Any]]) -> None:
    """Only what was written is told: of two that decided the same, one."""
    at = shop()
    at.start()
    attempt = at.next_attempt()
    other = at.another_engine()
    at.store.between = lambda: other.complete(attempt, '"done"')
    at.complete(attempt, "done")
    at.settle_down()
    assert [each["signal"] for each in heard] == ["saga_started", "saga_completed"]


def test_terminating_is_no_failure(heard: list[dict[str, Any]]) -> None:
    """A run that an operator abandons neither completed, nor was undone, nor owes."""
    at = shop()
    at.start()
    at.command(Terminate("no use"))
    assert [each["signal"] for each in heard] == ["saga_started"]


def test_receivers_cannot_break_a_run(heard: list[dict[str, Any]]) -> None:
    """Receivers that raise keep neither the run nor the other receivers from going on."""

    def stumble(**_: Any) -> None:
        raise ZeroDivisionError

    at = shop()
    at.bodies["shop.charge"] = fail(Abort("no"))
    with ExitStack() as stack:
        for signal in ALL:
            signal.connect(stumble, weak=False)
            stack.callback(signal.disconnect, stumble)
        at.start()
        assert at.settle_down().status is RunStatus.COMPENSATED
    assert heard[-1]["signal"] == "saga_compensated"


def test_a_receiver_may_ask_for_one_saga(heard: list[dict[str, Any]]) -> None:
    """The sender is the saga's name: others are not heard."""
    mine: list[str] = []

    def hear(run_id: str, **_: Any) -> None:
        mine.append(run_id)

    saga_started.connect(hear, sender="place_" + "order", weak=False)
    try:
        at = shop()
        at.start()
        at.start_with(saga("reserve", saga="other"), "other-1")
    finally:
        saga_started.disconnect(hear, sender="place_order")
    assert mine == ["order-42"]
    assert len(heard) == 2


def test_signals_say_what_they_send() -> None:
    """Each signal's list of arguments is what it is really sent with."""
    sent: dict[str, set[str]] = {}

    def hear(signal: Any, sender: str, **details: Any) -> None:
        assert sender == "place_order"
        sent[signal.name] = set(details)

    with ExitStack() as stack:
        for signal in ALL:
            signal.connect(hear, weak=False)
            stack.callback(signal.disconnect, hear)
        at = shop()
        at.start("good")
        at.work()
        at.bodies["shop.charge"] = fail(Abort("no", effect=False))
        at.start("undone")
        at.settle_down("undone")
        at.bodies["shop.undo_reserve"] = fail(ConnectionError())
        at.start("owing")
        at.settle_down("owing")
    assert sent == {signal.name: signal.providing_args for signal in ALL}


def test_they_are_public() -> None:
    """All five are imported from `celeriac`, too."""
    for signal in ALL:
        assert getattr(celeriac, signal.name) is signal
        assert signal.name in celeriac.__all__
    assert signals.saga_failed is saga_failed
