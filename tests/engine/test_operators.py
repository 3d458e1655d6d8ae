"""What an operator does to a run, through its handle: hold it, let it go on, skip a step of it.

Owns: what the handle makes of the commands: payloads, messages, and the snapshot people read.
Refuses to know: when a command is possible (`tests/machine/test_holding.py`, `test_skipping.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.app.handles import RunHandle
from celeriac.errors import CommandRefused, InputInvalid, PayloadTooLarge
from celeriac.machine.expressions import FromStep
from celeriac.machine.policy import RetryRule
from tests.engine.driver import Shop
from tests.machine.story import saga, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine.plans import Plan

LOST = RetryRule(max_attempts=2, after_loss=False)


def plan() -> Plan:
    """Reserve, notify (which honours no key), and ship what was notified."""
    return saga(
        "reserve",
        step("notify", effect="none", on_unknown="operator", retry=LOST),
        step("ship", args={"told": FromStep(step="notify")}),
        result=FromStep(step="notify"),
    )


@pytest.fixture
def shop() -> Shop:
    """A shop with a run that was just started."""
    made = Shop(plan())
    made.start()
    return made


@pytest.fixture
def run(shop: Shop) -> RunHandle[Any]:
    """The handle of that run."""
    return RunHandle("order-42", shop.engine, shop.post)


def lose_notify(shop: Shop) -> None:
    """Reserve, then let the worker die that notifies."""
    shop.finish(shop.next_attempt())
    shop.die(shop.next_attempt())
    shop.pass_time(40_000)


def test_a_held_run_goes_on_where_it_stood(shop: Shop, run: RunHandle[Any]) -> None:
    """Its messages are refused meanwhile, and sent anew at the end."""
    assert run.pause("the bank is down", by="ada")
    assert not run.pause("again", by="bob")
    shop.work()
    shop.pass_time(600_000)
    assert (shop.ran, shop.refused["paused"]) == ([], 1)
    assert run.resume("it is back", by="ada")
    assert shop.settle_down().status == "completed"
    assert shop.tasks == ["reserve", "notify", "ship"]


def test_a_snapshot_says_who_holds_the_run(run: RunHandle[Any]) -> None:
    """Since when and why, for as long as it is held."""
    run.pause("the bank is down", by="ada")
    state = run.state()
    assert run.status == state.status == "paused"
    assert state.hold is not None
    assert (state.hold.by, state.hold.reason) == ("ada", "the bank is down")
    run.resume()
    assert run.state().hold is None


def test_an_unknown_outcome_is_shown_as_a_question(shop: Shop, run: RunHandle[Any]) -> None:
    """Which step it is about, and that it is no compensation that is owed."""
    lose_notify(shop)
    state = run.state()
    assert (state.status, state.owed, state.why) == ("failed", ("notify",), None)
    assert state.step("notify").asks
    assert state.failure is not None
    assert state.failure.code == "lost"


def test_the_result_of_a_skipped_step_goes_on_to_the_next(shop: Shop, run: RunHandle[Any]) -> None:
    """As if the step had returned it."""
    lose_notify(shop)
    assert run.skip("notify", {"mail": 7}, "it is in her inbox", by="ada")
    assert run.state().failure is None
    assert shop.settle_down().status == "completed"
    assert shop.ran[-1] == ("shop.ship", {"told": {"mail": 7}})
    assert run.result() == {"mail": 7}


@pytest.mark.parametrize(
    ("result", "error"), [(object(), InputInvalid), ("x" * 20_000, PayloadTooLarge)]
)
def test_a_result_that_cannot_be_kept_changes_nothing(
    shop: Shop, run: RunHandle[Any], result: Any, error: type[Exception]
) -> None:
    """Neither the run nor its payloads."""
    before = shop.run()
    with pytest.raises(error):
        run.skip("reserve", result)
    assert shop.run() == before
    assert shop.fields("out:reserve") == {}


def test_a_refused_skip_leaves_the_result_that_there_is(shop: Shop, run: RunHandle[Any]) -> None:
    """A recorded result never changes (I15)."""
    shop.finish(shop.next_attempt())
    with pytest.raises(CommandRefused, match="never changes"):
        run.skip("reserve", "another")
    assert shop.fields("out:reserve") == {"out:reserve": "reserve done"}


def test_a_step_there_is_not_is_refused(run: RunHandle[Any]) -> None:
    """With the names there are."""
    with pytest.raises(CommandRefused, match="it has: reserve, notify, ship"):
        run.skip("pay", 1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda run: run.retry("notify"),
        lambda run: run.skip("notify", "yes"),
        lambda run: run.cancel(),
    ],
    ids=["retry", "skip", "cancel"],
)
def test_each_answer_brings_the_run_to_its_end(
    shop: Shop, run: RunHandle[Any], answer: Callable[[RunHandle[Any]], bool]
) -> None:
    """And to the end that it means."""
    lose_notify(shop)
    assert answer(run)
    shop.settle_down_all()
    assert run.status in ("completed", "compensated")
    assert (run.status == "compensated") == (shop.tasks[-1] == "undo_reserve")
