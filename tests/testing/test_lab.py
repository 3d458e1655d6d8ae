"""What the lab does for a user's test: a saga in milliseconds, and whatever can go wrong with it.

Owns: the lab's verbs, one by one, over an application with steps of every kind.  Refuses to know:
storms and explorers.

The file is long because each verb of the lab is shown once.
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from celeriac import (
    Abort,
    CommandRefused,
    ConfigurationError,
    EventKind,
    Flow,
    InputInvalid,
    ResultTimeout,
    RunCompensated,
    RunConflict,
    RunNotFound,
    Sagas,
    StoreUnavailable,
)
from celeriac.testing import Lab, Stuck
from tests.testing import shop
from tests.testing.shop import Order, place_order

ORDER = Order(id="42")


@pytest.fixture(autouse=True)
def log() -> list[tuple[str, object]]:
    """What the shop's steps did, anew for each test."""
    shop.log.clear()
    return shop.log


def names() -> list[str]:
    """The functions that were called."""
    return [name for name, _ in shop.log]


# --- running -----------------------------------------------------------------------------------


def test_a_saga_runs_to_its_end(lab: Lab) -> None:
    """The user's own functions are called, with what their signatures ask for."""
    run = lab.start(place_order, ORDER, id="order-42")
    assert run.status == "running"
    assert names() == []
    lab.run()
    assert run.status == "completed"
    assert shop.log == [
        ("reserve", ("order-42:reserve", 1)),
        ("charge", (30, "hold of 42", None)),
        ("ship", 30),
    ]
    assert run.done == lab.done == ["reserve", "charge", "ship"]
    assert lab.undone == []


def test_a_result_takes_no_real_time(lab: Lab) -> None:
    """`result` lets the lab's time pass, and validates as it always does."""
    lab.fail("charge", times=2)
    run = lab.start(place_order, ORDER)
    assert run.result(timeout=60) == shop.Receipt(tracking="T-42")
    assert run.id == "run-1"
    assert [event.kind for event in run.history()].count(EventKind.CLAIMED) == 5


def test_a_coroutine_has_its_result_at_once(lab: Lab) -> None:
    """`aresult` lets the lab's time pass as `result` does."""
    run = lab.start(place_order, ORDER)
    assert asyncio.run(run.aresult(timeout=60)) == shop.Receipt(tracking="T-42")


def test_a_result_that_takes_longer_than_asked(lab: Lab) -> None:
    """The timeout is the lab's time too."""
    lab.fail("charge", times=2)
    run = lab.start(place_order, ORDER)
    before = lab.now
    with pytest.raises(ResultTimeout):
        run.result(timeout=3)
    assert (lab.now - before).total_seconds() == 3
    assert run.result().tracking


def test_a_declined_card(lab: Lab) -> None:
    """What a step raises ends its run as it does everywhere."""
    run = lab.start(place_order, ORDER, id="order-42")
    lab.fail("charge", shop.DECLINED)
    lab.run()
    assert run.status == "compensated"
    assert run.undone == ["reserve"]
    assert shop.log[-1] == ("release", ("42", "hold of 42", "charge failed"))
    with pytest.raises(RunCompensated, match="declined"):
        run.result()


def test_a_step_that_failed_after_its_effect_is_undone(lab: Lab) -> None:
    """`after=True` is the failure that nobody can tell from a success."""
    run = lab.start(place_order, ORDER)
    lab.fail("charge", Abort("the line went dead"), after=True)
    lab.run()
    assert run.undone == ["charge", "reserve"]
    assert names() == ["reserve", "charge", "refund", "release"]


def test_what_is_owed_can_be_mended_and_retried(lab: Lab) -> None:
    """A compensation that gives up rests in `failed`; an operator's retry works in the lab."""
    run = lab.start(place_order, ORDER)
    lab.fail("ship", Abort("no"))
    lab.fail("undo charge")
    lab.run()
    assert run.status == "failed"
    assert run.state().owed == ("charge",)
    lab.mend("undo charge")
    assert run.retry(reason="the bank is back")
    lab.run()
    assert run.status == "compensated"


def test_cancelling(lab: Lab) -> None:
    """A handle steers its run."""
    run = lab.start(place_order, ORDER)
    lab.run()
    assert run.cancel("changed my mind")
    lab.run()
    assert run.status == "compensated"
    assert run.undone == ["charge", "reserve"]


def test_a_run_that_waits_for_somebody_is_left_alone(lab: Lab) -> None:
    """`run` moves no time for a run that is paused; resuming it goes on."""
    run = lab.start(place_order, ORDER)
    run.pause("stocktaking")
    before = lab.now
    lab.run()
    assert (run.status, run.done) == ("paused", [])
    assert (lab.now - before).total_seconds() < 60
    run.resume()
    lab.run()
    assert run.status == "completed"


def test_an_outside_hand_skips_a_step(lab: Lab) -> None:
    """The verbs that give payloads check them as strictly as the step itself."""
    run = lab.start(place_order, ORDER)
    run.pause()
    with pytest.raises(InputInvalid):
        run.skip("reserve", result=["no text"], reason="by hand")
    run.skip("reserve", result="hold by hand", reason="by hand")
    run.resume()
    lab.run()
    assert ("charge", (30, "hold by hand", None)) in shop.log


def test_time_moves_when_told_to(lab: Lab) -> None:
    """A deadline passes in the lab's time, and what it means happens."""
    lab.fail("charge", times=None)
    lab.lose("reserve", times=None)
    run = lab.start(place_order, ORDER)
    lab.advance("9m")
    assert run.status == "running"
    lab.advance("2m")
    assert run.status == "compensated"
    lab.advance("1d")
    assert run.undone == []


def test_runs_are_removed_after_their_retention(lab: Lab) -> None:
    """Eight days later a run is gone, as it would be."""
    run = lab.start(place_order, ORDER)
    lab.run().advance("8d")
    with pytest.raises(RunNotFound):
        run.state()
    assert "there is none" in repr(run)


def test_several_runs_and_ids(lab: Lab) -> None:
    """Runs live side by side; an id is joined, or refused with another input."""
    first = lab.start(place_order, ORDER, id="a")
    again = lab.start(place_order, ORDER, id="a")
    other = lab.start(place_order, Order(id="43"), id="b", tags={"shop": "1"})
    with pytest.raises(RunConflict):
        lab.start(place_order, Order(id="44"), id="a")
    lab.run()
    assert first.history() == again.history()
    assert other.state().tags == {"shop": "1"}
    assert sorted(lab.done) == ["charge", "charge", "reserve", "reserve", "ship", "ship"]


# --- what goes wrong ---------------------------------------------------------------------------


def test_a_worker_dies_before_a_step(lab: Lab) -> None:
    """Its lease runs out, and the step is tried again: its function was called once."""
    lab.crash_before("ship")
    run = lab.start(place_order, ORDER)
    lab.run()
    assert run.status == "completed"
    assert names().count("ship") == 1
    assert lab.ran.count("ship") == 2
    assert (lab.now - run.history()[0].time).total_seconds() > 15


def test_a_worker_dies_after_a_step(lab: Lab) -> None:
    """What was done is done again under the same key; heartbeats are handed on."""
    lab.crash_after("charge")
    run = lab.start(place_order, ORDER)
    lab.run()
    assert run.status == "completed"
    assert [what for name, what in shop.log if name == "charge"] == [
        (30, "hold of 42", None),
        (30, "hold of 42", {"at": 1}),
    ]


def test_a_client_dies_while_it_starts_a_run(lab: Lab) -> None:
    """Before it was written there is no run; after it, the sweep sends what the client did not."""
    lab.crash("client before commit")
    lost = lab.start(place_order, ORDER, id="a")
    with pytest.raises(RunNotFound):
        lost.status  # noqa: B018 -- asking is what raises
    lab.crash("client before send")
    run = lab.start(place_order, ORDER, id="a")
    lab.run()
    assert run.status == "completed"


def test_a_zombie(lab: Lab) -> None:
    """A worker that is stopped for longer than its lease comes back to a run that went on."""
    lab.stop("charge after body", "40s")
    run = lab.start(place_order, ORDER)
    lab.run()
    assert run.status == "completed"
    late = [event for event in run.history() if event.kind is EventKind.LATE]
    assert [event.data["outcome"] for event in late] == ["completed"]


def test_a_request_that_arrives_after_its_undo(lab: Lab) -> None:
    """The worst there is: nobody reports, and the effect lands when all is undone."""
    lab.late("charge")
    lab.at("charge before body", lambda: lab.find("a").cancel())
    run = lab.start(place_order, ORDER, id="a")
    lab.run()
    assert names() == ["reserve", "refund", "release", "charge"]
    assert run.status == "compensated"


def test_a_request_that_arrives_while_others_work(lab: Lab) -> None:
    """A late request knows which attempt it is of."""
    lab.late("reserve", "3s")
    run = lab.start(place_order, ORDER, id="a")
    lab.run()
    assert [what for name, what in shop.log if name == "reserve"] == [
        ("a:reserve", 1),
        ("a:reserve", 2),
    ]
    assert run.status == "completed"


def test_a_step_that_takes_too_long(lab: Lab) -> None:
    """The time limit of a step strikes, its outcome is unknown, and it is tried again."""
    lab.slow("charge", "45s")
    run = lab.start(place_order, ORDER)
    lab.run()
    assert run.status == "completed"
    failed = [event for event in run.history() if event.kind is EventKind.FAILED]
    assert [event.data["why"] for event in failed] == ["timeout"]


def test_a_step_that_takes_long_keeps_its_lease(lab: Lab) -> None:
    """Without a time limit, a worker that lives holds its attempt for as long as it takes."""
    lab.slow("ship", "10m")
    run = lab.start(place_order, ORDER)
    lab.run()
    assert run.done == ["reserve", "charge", "ship"]
    assert lab.ran.count("ship") == 1


@pytest.mark.parametrize("trouble", ["lose", "double", "late copy", "delay"])
def test_a_message_goes_astray(lab: Lab, trouble: str) -> None:
    """Lost, doubled, late: each step runs once, and the run completes."""
    lose = {
        "lose": lambda: lab.lose("charge"),
        "double": lambda: lab.double("charge"),
        "late copy": lambda: lab.double("charge", later="1h"),
        "delay": lambda: lab.delay("charge", "2m"),
    }
    fault = lose[trouble]()
    run = lab.start(place_order, ORDER)
    lab.run()
    assert fault.happened == 1
    assert names() == ["reserve", "charge", "ship"]
    assert run.status == "completed"
    assert len(lab.world.observed.refused) == (trouble != "lose")


def test_the_store_is_cut_off(lab: Lab) -> None:
    """A lost request is repeated, a lost reply is recognised: one claim each."""
    lab.cut("charge before claim")
    lab.cut("charge after report")
    run = lab.start(place_order, ORDER)
    lab.run()
    assert names() == ["reserve", "charge", "ship"]
    assert [event.attempt for event in run.history() if event.kind is EventKind.CLAIMED] == [1] * 3


def test_the_store_is_away_when_a_run_is_started(lab: Lab) -> None:
    """The caller hears of it, as from the real one."""
    lab.cut("client before read", times=None)
    with pytest.raises(StoreUnavailable):
        lab.start(place_order, ORDER)


def test_something_happens_in_between(lab: Lab) -> None:
    """`at` is the hand that reaches in at any point."""
    lab.at("ship before claim", lambda: lab.find("a").cancel("too slow"), nth=1)
    run = lab.start(place_order, ORDER, id="a")
    lab.run()
    assert run.status == "compensated"
    assert run.state().reason == "too slow"
    assert "ship" not in names()


def test_a_sweep_dies_in_the_middle(lab: Lab) -> None:
    """The next one goes on where it stopped."""
    lab.lose("charge")
    lab.crash("sweep after commit")
    run = lab.start(place_order, ORDER)
    lab.run()
    assert run.status == "completed"
    assert "sweep     dies after its commit" in lab.story()


# --- tasks of every kind -----------------------------------------------------------------------


def test_adopted_tasks_run_as_celery_would_run_them(lab: Lab) -> None:
    """Their class's own `__call__`, `self.request` and `self.retry` work."""
    run = lab.start(shop.send_parcel, 7, id="p")
    assert run.result(timeout=60) == "label for 7, called"
    assert shop.log == [
        ("frame", "old.print_label"),
        ("print", 7),
        ("call", (0, "p:call_carrier:1")),
        ("call", (1, "p:call_carrier:2")),
    ]


def test_adopted_tasks_are_undone(lab: Lab) -> None:
    """`sagas.compensate` holds in the lab."""
    run = lab.start(shop.send_parcel, 7)
    lab.fail("call_carrier", Abort("no"))
    lab.run()
    assert run.undone == ["print_label"]
    assert shop.log[-1] == ("tear", (7, "label for 7"))


def test_the_settings_of_the_app_hold(lab: Lab) -> None:
    """What would be too large there is too large here."""
    run = lab.start(shop.measure, 3_000)
    lab.run()
    assert run.state().failure is not None
    assert run.state().failure.type == "PayloadTooLarge"  # type: ignore[union-attr]  # see above


def test_the_app_is_left_as_it_was(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """No engine, no connection, no log line and no task of its own stays behind."""
    lab.start(place_order, ORDER)
    tasks, sagas = set(shop.app._tasks), set(shop.sagas.defined)
    with caplog.at_level(logging.DEBUG, logger="celeriac"):
        lab.fail("ship", Abort("no"))
        lab.run()
    assert shop.sagas.runtime._engines == {}
    assert shop.sagas.runtime._settings is None
    # Celery makes a task of a promise when it is first asked for: those are the app's own.
    more = {name for name in set(shop.app._tasks) - tasks if not name.startswith(("shop.", "old."))}
    assert (more, set(shop.sagas.defined)) == (set(), sagas)
    assert caplog.records == []
    assert shop.reserve.task.request_stack.top is None


# --- what cannot be ----------------------------------------------------------------------------


def test_a_step_that_is_not_there(lab: Lab) -> None:
    """A wrong name says which there are: at once, or as soon as the lab can know."""
    lab.fail("chrage")
    with pytest.raises(InputInvalid, match=r"no step 'chrage'.*charge"):
        lab.start(place_order, ORDER)
    lab.start(place_order, ORDER)
    for wrong in (lab.fail, lab.lose, lab.crash_after, lab.mend, lab.late):
        with pytest.raises(InputInvalid, match=r"no step 'shop\.charge'"):
            wrong("shop.charge")


@pytest.mark.parametrize(
    "point", ["charge", "charge before", "charge before lunch", "sweep after body"]
)
def test_a_point_that_is_not_there(lab: Lab, point: str) -> None:
    """A point nobody ever gets to would make a test that proves nothing."""
    lab.start(place_order, ORDER)
    with pytest.raises(InputInvalid, match="is not a point"):
        lab.crash(point)


def test_another_app(lab: Lab) -> None:
    """One lab holds one app."""
    app = type(shop.app)("elsewhere", set_as_current=False)
    sagas = Sagas(app)

    @sagas.step(name="elsewhere.one")
    def one(text: str) -> str:
        return text

    @sagas.saga
    def other(flow: Flow, text: str) -> str:
        return flow.step(one, text)

    lab.start(place_order, ORDER)
    with pytest.raises(ConfigurationError, match=r"'elsewhere'.*'lab-shop'"):
        lab.start(other, "x")
    assert Lab().start(other, "x").result() == "x"


def test_what_is_no_saga(lab: Lab) -> None:
    """A step is not started, nor is a function."""
    with pytest.raises(ConfigurationError, match="the lab starts sagas"):
        lab.start(shop.reserve, ORDER)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InputInvalid, match="start a run first"):
        lab.run()


def test_a_step_that_fails_for_ever(lab: Lab) -> None:
    """A run that cannot come to rest ends the test, with its story, instead of hanging it."""
    lab.fail("insist")
    run = lab.start(shop.for_ever)
    with pytest.raises(Stuck, match=r"not all runs are at rest: run-1 \(running\)"):
        lab.run()
    lab.mend("insist")
    lab.run()
    assert run.status == "completed"


def test_an_assertion_in_the_middle_is_the_tests(lab: Lab) -> None:
    """What `at` raises fails the test, and is not taken for an error of the step."""

    def wrong() -> None:
        assert lab.find("a").status == "completed", "not yet"

    lab.at("charge before body", wrong)
    lab.start(place_order, ORDER, id="a")
    with pytest.raises(AssertionError, match="not yet"):
        lab.run()


def test_a_command_that_is_refused(lab: Lab) -> None:
    """Refusals are those of the real client."""
    run = lab.start(place_order, ORDER)
    lab.run()
    with pytest.raises(CommandRefused, match="not owed"):
        run.waive("charge", "no reason")


# --- telling -----------------------------------------------------------------------------------


def test_the_story_tells_runs_apart(lab: Lab) -> None:
    """Each line says when, of which run, who, and what; what the lab did is marked."""
    lab.crash_before("charge")
    first = lab.start(place_order, ORDER, id="a")
    lab.start(place_order, ORDER, id="b")
    lab.run()
    lines = lab.story().splitlines()
    assert any(
        line.startswith("!") and "charge · #1: dies before the body" in line for line in lines
    )
    assert all(" b " not in line for line in first.story.splitlines())
    assert repr(first) == "<run a: completed; reserve completed, charge completed, ship completed>"
