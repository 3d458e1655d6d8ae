"""A message that cannot be sent is its run's business, and nobody else's.

Owns: what a run tells of it, and how it goes on.  Refuses to know: what stands in the way.
"""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.engine.dispatching import BrokerAway
from celeriac.errors import Abort
from celeriac.machine.commands import Pause, Resume, RetryOwed
from celeriac.machine.events import EventKind
from celeriac.machine.runs import RunStatus
from tests.engine.driver import GRACE, Shop
from tests.machine.story import saga

WHY = "not sent: TypeError: this cannot be sent"
MINUTE = 60_000


def shop() -> Shop:
    """A shop that cannot send the messages of `order-42`."""
    at = Shop(saga("reserve", "charge"))
    at.post.chokes_on = "order-42"
    return at


def blocked(at: Shop) -> list[str]:
    """What the run tells of the message, in the order in which it was noted."""
    return [event.data.get("why", "") for event in at.events(EventKind.BLOCKED)]


def test_what_sending_raises_is_kept_in_the_run() -> None:
    """Whoever started the run is told nothing: it is accepted, and says what it waits for."""
    at = shop()
    at.start()
    assert at.run().step("reserve").blocked == WHY
    assert at.run().status is RunStatus.RUNNING


def test_the_reason_goes_as_soon_as_the_message_is_sent() -> None:
    """Noted once, however often it is tried; and the run completes when it can be sent."""
    at = shop()
    at.start()
    at.pass_time(10 * MINUTE)
    tries = len(at.events(EventKind.DISPATCHED))
    assert tries >= 20, "a reason that is gone is found within 20 s"
    assert blocked(at) == [WHY]

    at.post.chokes_on = ""
    at.pass_time(4 * GRACE + 1_000)
    assert at.post.waiting
    assert at.run().step("reserve").blocked == ""
    assert blocked(at) == [WHY, ""]
    assert at.settle_down().status is RunStatus.COMPLETED


def test_where_the_broker_cannot_count_it_is_sent_as_soon() -> None:
    """What was never sent need not be waited for."""
    at = shop()
    at.post.silent = True
    at.start()
    at.post.chokes_on = ""
    at.pass_time(GRACE + 1_000)
    assert at.post.waiting


def test_another_reason_takes_its_place() -> None:
    """The run tells what is in the way now."""
    at = shop()
    at.start()
    at.post.refusal = ValueError("nor can this")
    at.pass_time(MINUTE)
    assert blocked(at) == [WHY, "not sent: ValueError: nor can this"]


def test_an_error_without_a_text_is_a_reason_too() -> None:
    """Nothing about an error may come out instead of it."""

    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    at = shop()
    at.post.refusal = Odd()
    at.start()
    assert at.run().step("reserve").blocked.startswith("not sent: Odd: ")


def test_a_broker_that_is_away_is_no_reason_of_one_run() -> None:
    """Nothing is written then: there may be many such runs, and nothing is wrong with them."""
    at = shop()
    at.post.refusal = BrokerAway("ConnectionRefusedError")
    at.start()
    assert blocked(at) == []
    at.post.chokes_on = ""
    assert at.settle_down().status is RunStatus.COMPLETED


def test_the_store_may_be_away_too() -> None:
    """Then the reason is not noted, and still nothing comes out."""
    at = shop()
    committed = iter([False])

    class Lost(TypeError):
        def __init__(self) -> None:
            next(committed)
            at.store.away_until = at.clock.now + 1_000
            super().__init__("lost")

    at.post.make_refusal = Lost
    at.start()
    assert blocked(at) == []
    at.post.make_refusal = None
    at.pass_time(MINUTE)
    assert blocked(at) == [WHY]


@pytest.mark.parametrize("verb", ["resume", "retry"])
def test_operators_are_told_of_no_error_either(verb: str) -> None:
    """What they asked for is done, and the run tells why nothing comes of it yet."""

    def broken(**_: Any) -> None:
        raise Abort("closed")

    at = shop()
    at.post.chokes_on = ""
    at.bodies["shop.charge"] = at.bodies["shop.undo_charge"] = broken
    at.start()
    if verb == "resume":
        at.command(Pause("wait"))
    else:
        assert at.settle_down().status is RunStatus.FAILED
    at.post.chokes_on = "order-42"
    at.command(Resume() if verb == "resume" else RetryOwed())
    assert blocked(at) == [WHY]
