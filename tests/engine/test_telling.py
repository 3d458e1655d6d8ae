"""What an attempt tells while it is at work: how far it is, and tags.

Owns: what is written, how often, and by whom.  Refuses to know: how it is shown (`tests/views`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine.context_calls import Progress, tag
from celeriac.errors import CommandRefused, LeaseLost, OutputInvalid, Stopping
from celeriac.machine import EventKind, Plan
from celeriac.views import progress_fields, progress_of
from tests.engine.driver import Shop
from tests.machine.story import budget, saga, step

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A timer that goes off when the test says so."""

    waiting: list[Timer]
    daemon = False

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self.seconds, self.call = seconds, call

    def start(self) -> None:
        """Wait."""
        self.waiting.append(self)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    """The timers that wait, in place of threads."""
    Timer.waiting = []
    monkeypatch.setattr("celeriac.engine.context_calls.threading.Timer", Timer)
    return Timer.waiting


def shop() -> Plan:
    """A step that is tried twice, and one behind it."""
    return saga(step("print", retry=budget(2)), "send")


def shown(at: Shop) -> str:
    """What is shown of the step."""
    run = at.run()
    fields = at.store.look("order-42", progress_fields(run)).fields
    return str(progress_of(run, "print", fields) or "")


def test_the_newest_is_kept_and_no_event(timers: list[Timer]) -> None:
    """A thousand values cost a few writes; the last one is written a little later."""
    at = Shop(shop())
    attempt = at.start_and_claim()
    version, told = at.run().version, Progress(at.engine, attempt, "print")
    at.store.calls.clear()
    for number in range(1_000):
        told(number, 1_000, "labels")
    assert shown(at) == "0 of 1000 labels"
    assert at.store.calls.count("commit") == 1
    (timer,) = timers
    assert timer.seconds <= at.engine.progress_pace
    timer.call()
    assert shown(at) == "999 of 1000 labels"
    assert at.store.calls.count("commit") == 2
    assert at.run().version == version
    assert at.events(EventKind.CLAIMED) == at.store.history("order-42")[1:]


def test_after_a_while_it_is_written_at_once(timers: list[Timer]) -> None:
    """No thread is needed for one value a second."""
    at = Shop(shop())
    told = Progress(at.engine, at.start_and_claim(), "print")
    for number in range(3):
        told(number, None, "")
        assert shown(at) == str(number)
        at.pass_time(1_000)
    assert timers == []


def test_it_is_shown_while_its_attempt_is_at_work(timers: list[Timer]) -> None:
    """Neither when that has ended, nor while the next has said nothing."""
    at = Shop(shop())
    first = at.start_and_claim()
    Progress(at.engine, first, "print")(1, 2, "labels")
    at.fail(first, ConnectionError("out of paper"))
    assert shown(at) == ""
    second = at.next_attempt()
    assert shown(at) == ""
    told = Progress(at.engine, second, "print")
    told(0.5, 2, "")
    assert shown(at) == "0.5 of 2"
    told(1, 2, "")
    at.complete(second)
    timers[-1].call()
    assert shown(at) == ""


def test_an_attempt_that_was_given_up_writes_nothing(timers: list[Timer]) -> None:
    """It is told so: at once, or by its next call if a thread was."""
    at = Shop(shop())
    first = at.start_and_claim()
    told = Progress(at.engine, first, "print")
    told(1, 2, "labels")
    told(2, 2, "labels")
    at.die(first)
    second = at.next_attempt()
    Progress(at.engine, second, "print")(0, 2, "anew")
    timers[0].call()
    assert shown(at) == "0 of 2 anew"
    with pytest.raises(LeaseLost):
        told(2, 2, "labels")
    with pytest.raises(LeaseLost):
        Progress(at.engine, first, "print")(2, 2, "labels")
    with pytest.raises(LeaseLost):
        tag(at.engine, first, "print", {"region": "eu"})
    assert (shown(at), at.run().tags) == ("0 of 2 anew", ())


def test_a_run_that_turned_round_is_told(timers: list[Timer]) -> None:
    """As by a heartbeat."""
    del timers
    at = Shop(shop())
    attempt = at.start_and_claim()
    at.cancel()
    with pytest.raises(Stopping):
        Progress(at.engine, attempt, "print")(1, None, "")
    with pytest.raises(Stopping):
        tag(at.engine, attempt, "print", {"region": "eu"})


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [
        ("3", 10, ""),
        (True, 10, ""),
        (None, 10, ""),
        (-1, None, ""),
        (1, float("nan"), ""),
        (float("inf"), None, ""),
        (10**16, None, ""),
        (1, "10", ""),
        (1, 10, b"labels"),
        (1, 10, None),
    ],
)
def test_what_is_no_progress_is_an_error(done: Any, total: Any, text: Any) -> None:
    """Of the step, which says what to write instead; nothing is written."""
    at = Shop(shop())
    attempt = at.start_and_claim()
    with pytest.raises(OutputInvalid, match="progress of print"):
        Progress(at.engine, attempt, "print")(done, total, text)
    assert at.store.look("order-42", progress_fields(at.run())).fields == {}


def test_no_step_fails_because_nobody_can_look(timers: list[Timer]) -> None:
    """While the store is away nothing is kept, and nobody waits; half a character is replaced."""
    at = Shop(shop())
    told = Progress(at.engine, at.start_and_claim(), "print")
    began = at.clock.now
    at.store.away_until = began + 1
    told(1, 2, "labels")
    told(2, 2, "labels")
    timers[0].call()
    assert at.clock.now == began
    assert shown(at) == ""
    at.pass_time(1_000)
    told(2, 2, "half \ud83d of it")
    assert shown(at) == "2 of 2 half ? of it"


def test_a_text_is_bounded() -> None:
    """Its beginning is kept."""
    at = Shop(shop())
    Progress(at.engine, at.start_and_claim(), "print")(1, 2, "x" * 10_000)
    assert shown(at) == f"1 of 2 {'x' * 199}…"
    (kept,) = at.store.look("order-42", progress_fields(at.run())).fields.values()
    assert len(kept) < 300
    assert len(json.loads(kept)) == 4


@pytest.mark.parametrize("tags", [{"": "x"}, {"a=b": "x"}, {"a": 5}, {"a": "x" * 101}, {"a": "\n"}])
def test_what_is_no_tag_is_an_error(tags: dict[str, Any]) -> None:
    """Of the step; nothing is written."""
    at = Shop(shop())
    attempt = at.start_and_claim()
    with pytest.raises(OutputInvalid, match="print: tags: "):
        tag(at.engine, attempt, "print", tags)
    assert at.run().tags == ()


def test_too_many_tags_are_refused() -> None:
    """In words, and not as a lease that was lost."""
    at = Shop(shop())
    attempt = at.start_and_claim()
    tag(at.engine, attempt, "print", {str(number): "" for number in range(50)})
    with pytest.raises(CommandRefused, match="at most 50"):
        tag(at.engine, attempt, "print", {"more": ""})
