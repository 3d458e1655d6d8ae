"""Steps that expire, and sleeps whose end is read, in the lab and under the explorer.

Owns: what becomes of bodies and payloads.  Refuses to know: what the state machine decides
(`tests/machine`), and how both are written (`tests/authoring`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import BaseModel

from celeriac import Flow, RunCompensated, Sagas, StepContext
from celeriac.testing import explore
from celeriac.testing.clock import NOON

if TYPE_CHECKING:
    from celeriac.testing import Lab

sagas = Sagas(Celery("offers", set_as_current=False))
BEGAN = datetime.fromtimestamp(NOON / 1000, UTC)  # when the first run of a lab starts
stands: dict[str, bool] = {}  # what was done by key; False: it was undone, and must not come again


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Nothing was done."""
    stands.clear()


class Offer(BaseModel):
    """What is sent."""

    to: str
    valid_from: datetime
    remind: Any = None


@sagas.step
def hold(ctx: StepContext, offer: Offer) -> Offer:
    """Hold the goods, unless they were let go before."""
    stands.setdefault(ctx.idempotency_key, True)
    return offer


@hold.compensation
def let_go(ctx: StepContext, offer: Offer) -> None:
    """Undo it."""
    del offer
    stands[ctx.idempotency_key] = False


@sagas.step(expires="4s")
def send(ctx: StepContext, offer: Offer) -> str:
    """Send the offer, soon or not at all."""
    stands.setdefault(ctx.idempotency_key, True)
    return f"sent to {offer.to}"


@send.compensation
def withdraw(ctx: StepContext, offer: Offer) -> None:
    """Undo it."""
    del offer
    stands[ctx.idempotency_key] = False


@sagas.saga
def offering(flow: Flow, offer: Offer) -> str:
    """Hold, and send."""
    return flow.step(send, flow.step(hold, offer))


@sagas.saga
def announcing(flow: Flow, offer: Offer) -> str:
    """Hold, wait until the offer is valid, and send."""
    held = flow.step(hold, offer)
    flow.sleep_until(held.valid_from)
    return flow.step(send, held)


@sagas.saga
def reminding(flow: Flow, offer: Offer) -> str:
    """Sleep until a moment of which nothing is known but its value."""
    held = flow.step(hold, offer)
    flow.sleep_until(held.remind)
    return flow.step(send, held)


def offer(at: datetime | None = None, remind: object = None) -> Offer:
    """An offer."""
    return Offer(to="eve", valid_from=at or datetime(2026, 1, 1, tzinfo=UTC), remind=remind)


def test_a_step_that_nobody_takes_up_is_not_called(lab: Lab) -> None:
    """It says so, and nothing of it is undone."""
    lab.lose("send", times=None)
    run = lab.start(offering, offer())
    with pytest.raises(RunCompensated, match="no worker took it up in 4 s"):
        run.result()
    failure = run.state().failure
    assert failure is not None
    assert (failure.type, failure.code, failure.effect) == ("StepExpired", "expired", False)
    assert lab.ran == ["hold", "undo hold"]
    assert "send failed (nobody took it up in time): StepExpired, code expired" in run.story
    assert run.state().step("send").status == "failed"


def test_a_message_that_comes_too_late_is_refused(lab: Lab) -> None:
    """Its step has failed, or is about to."""
    lab.delay("send", "5s")
    run = lab.start(offering, offer())
    lab.run()
    lab.advance("1m")
    assert run.status == "compensated"
    assert lab.ran == ["hold", "undo hold"]


def test_one_that_comes_in_time_is_as_any(lab: Lab) -> None:
    """Also one that takes longer than the limit once it has begun."""
    lab.delay("send", "3s")
    lab.slow("send", "1m")
    assert lab.start(offering, offer()).result() == "sent to eve"


def test_whatever_goes_wrong_it_is_sent_once_or_not_at_all() -> None:
    """Crashes, and messages that are lost, late or doubled."""
    report = explore(offering, offer(), fresh=stands.clear, check=_all_or_nothing, pairs=False)
    assert report.ok, report


def _all_or_nothing(run: Any) -> None:
    assert set(stands.values()) in ({True}, {False}, set()), (run.status, stands)
    assert run.status != "completed" or set(stands.values()) == {True}


def test_a_sleep_until_a_moment_of_the_run(lab: Lab) -> None:
    """Of a result, here; no worker is asked for it."""
    until = BEGAN + timedelta(days=3)
    run = lab.start(announcing, offer(until))
    lab.advance("1h")
    assert run.status == "waiting"
    assert run.state().step("sleep").waits_until == until
    lab.run()
    assert run.result() == "sent to eve"
    assert timedelta(0) <= lab.now - until < timedelta(seconds=30)
    assert f"sleep opened (until {until:%Y%m%dT%H%M%SZ})" in run.story


def test_a_moment_that_has_passed(lab: Lab) -> None:
    """Is no wait."""
    assert lab.start(announcing, offer(BEGAN - timedelta(days=1))).result() == "sent to eve"
    assert lab.now - BEGAN < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("2030-01-01T00:00:00", "one without a time zone"),
        ("tomorrow", "text that is none"),
        ("9999-12-31T23:59:59-14:00", "one that is not between the years"),
        ("0001-01-01T00:00:00+14:00", "one that is not between the years"),
        (None, "null"),
        (True, "true or false"),
        (1_900_000_000, "a number"),
        ([], "a list"),
        ({}, "an object"),
    ],
)
def test_a_value_that_is_no_moment(lab: Lab, value: object, what: str) -> None:
    """Fails the sleep, which says what it was given, and all is undone."""
    run = lab.start(reminding, offer(remind=value))
    with pytest.raises(RunCompensated, match=f"sleeps until an aware datetime.* given {what}"):
        run.result()
    assert lab.undone == ["hold"]


def test_a_naive_datetime_of_a_run(lab: Lab) -> None:
    """Whose type says nothing of that."""
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 -- on purpose
    with pytest.raises(RunCompensated, match="one without a time zone"):
        lab.start(announcing, offer(naive)).result()


def test_whatever_goes_wrong_a_sleep_is_read_once() -> None:
    """A crash leaves it read or not; then the sweep reads it."""
    at = datetime(2030, 1, 1, tzinfo=UTC)
    report = explore(announcing, offer(at), pairs=False, fresh=stands.clear, check=_all_or_nothing)
    assert report.ok, report
