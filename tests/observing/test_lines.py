"""The log lines of the engine: every event has one, on one line, and no payload in it.

Owns: wording and level of what `observe` logs.  Refuses to know: handlers and formats.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.errors import Abort
from celeriac.machine.events import Event, EventKind
from celeriac.observing.observers import log
from celeriac.observing.sentences import sentence, title
from celeriac.testing.clock import NOON
from tests.engine.driver import Shop
from tests.machine.story import saga

if TYPE_CHECKING:
    from collections.abc import Iterator

CARD = "4929-1234-5678"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything the engine logs."""
    with caplog.at_level(logging.DEBUG, "celeriac"):
        yield caplog


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_has_a_sentence(kind: EventKind) -> None:
    """Whatever can happen is told in words, with the run, and the step if there is one."""
    words = kind.value.replace("_", " ")
    if kind is EventKind.BLOCKED:  # by nothing
        words = "no longer blocked"
    if kind is EventKind.QUEUED:  # an event of a gate says which
        words = "blocked: "
    if kind is EventKind.REPORTED:
        words += " (its parent knows)"
    assert sentence("order-42", Event(NOON, kind)) == f"order-42 {words}"
    step = Event(NOON, kind, "charge", "undo", 2, {"reason": "why\nnot", "holder": "abcd"})
    told = sentence("order-42", step)
    assert told.startswith("order-42 · charge · undo #2 ")
    assert told.endswith(r"reason why\nnot")
    assert "abcd" not in told


TOLD: dict[str, tuple[EventKind, dict[str, Any]]] = {
    "lost (lease expired); retry in 0.0 s": (EventKind.LOST, {"why": "lease", "retry": NOON}),
    "lost (took longer than its timeout)": (EventKind.LOST, {"why": "timeout"}),
    "lost (took longer than its timeout of 6 s)": (
        EventKind.LOST,
        {"why": "timeout", "timeout": 6_000},
    ),
    "failed (outcome unknown): SystemExit": (
        EventKind.FAILED,
        {"why": "timeout", "timeout": 6_000, "error": "SystemExit"},
    ),
    "failed: BankDown, code down; retry in 1.5 s": (
        EventKind.FAILED,
        {"error": "BankDown", "code": "down", "retry": NOON + 1_500},
    ),
    "compensation started (charge failed)": (
        EventKind.COMPENSATION_STARTED,
        {"why": "failed", "culprit": "charge"},
    ),
    "compensation started (cancelled): reason too late, by ada": (
        EventKind.COMPENSATION_STARTED,
        {"why": "cancelled", "reason": "too late", "by": "ada"},
    ),
    "dispatched (not claimed in time)": (EventKind.DISPATCHED, {"why": "unclaimed"}),
    "finished: failed, culprit charge": (
        EventKind.FINISHED,
        {"outcome": "failed", "culprit": "charge"},
    ),
}


@pytest.mark.parametrize("words", TOLD)
def test_an_event_is_told_in_plain_words(words: str) -> None:
    """Causes and results read as an operator would say them, not as the names of fields."""
    kind, data = TOLD[words]
    assert sentence("order-42", Event(NOON, kind, data=data)) == f"order-42 {words}"


@pytest.mark.parametrize("sign", ["\n", "\r", "\x1b[31m", "\u2028", "\x00", "\x85"])
def test_nobody_can_forge_a_line(sign: str, lines: pytest.LogCaptureFixture) -> None:
    """A control character in an id, in a word or in an error is escaped in whatever is logged."""
    forged = f"order-42{sign}ERROR all is lost"
    assert title(forged, "charge", "do", 1).isprintable()
    log.warning("%s: not looked at (%s), %d times", forged, ValueError(forged), 3)
    told = lines.records[-1].getMessage()
    assert told.isprintable()
    assert told.endswith("3 times")


def test_events_say_where_they_belong(lines: pytest.LogCaptureFixture) -> None:
    """The line of an event carries run, saga, step, phase and attempt as fields."""
    at = Shop(saga("reserve"))
    at.start()
    at.work()
    found: list[dict[str, Any]] = [vars(record) for record in lines.records]
    claimed = next(each for each in found if each.get("event") == "claimed")
    assert (claimed["run"], claimed["saga"]) == ("order-42", "place_order")
    assert (claimed["step"], claimed["phase"], claimed["attempt"]) == ("reserve", "do", 1)
    finished = next(each for each in found if each.get("event") == "finished")
    assert "step" not in finished


def test_no_payload_is_logged(lines: pytest.LogCaptureFixture) -> None:
    """Neither inputs nor outputs nor the text of an error get into the log."""
    at = Shop(saga("reserve", "charge"))

    def decline(**_: Any) -> None:
        raise Abort(f"declined {CARD}", code="declined")

    at.bodies["shop.reserve"] = lambda **_: CARD
    at.bodies["shop.charge"] = decline
    at.start(card=CARD)
    at.settle_down()
    assert "charge · #1 failed: Abort" in lines.text
    assert CARD not in lines.text


def test_a_quiet_run_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """At INFO a run that goes well is two lines, its start and its end."""
    at = Shop(saga("reserve", "charge", "ship"))
    with caplog.at_level(logging.INFO, "celeriac"):
        at.start()
        at.work()
    assert [record.getMessage() for record in caplog.records] == [
        "order-42 started: saga place_order",
        "order-42 finished: completed",
    ]
