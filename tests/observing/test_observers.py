"""Those who watch an engine: what they hear, and that they cannot harm what they watch.

Owns: the hub and its protocol.  Refuses to know: what logs, metrics, traces and signals make of it.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from celeriac.machine.runs import RunStatus
from celeriac.observing.observers import (
    Asked,
    Claiming,
    Committed,
    Notice,
    Observers,
    Refused,
    Settled,
    Starting,
    Swept,
    Working,
)
from tests.engine.driver import Shop, message
from tests.machine.story import saga

if TYPE_CHECKING:
    from collections.abc import Iterator

WORK = Working("order-42", "place_order", "charge", "do", 1, "h")
ASKED = Asked("read", 0.001)


def shop() -> Shop:
    """A shop with two steps."""
    return Shop(saga("reserve", "charge"))


def test_a_run_is_heard_from_start_to_end() -> None:
    """Each kit of a run is told once, in the order in which it happens."""
    at, heard = shop(), list[str]()
    at.engine.observers.add(lambda notice: heard.append(type(notice).__name__))
    at.start()
    at.work()
    attempt = ["Claiming", "Committed", "Committed", "Settled"]
    assert heard == ["Starting", "Committed", *attempt, *attempt]


def test_a_commit_is_told_with_all_it_led_to() -> None:
    """What is told of a commit: the command, the run before and after, and the events."""
    at, heard = shop(), list[Committed]()

    def hear(notice: Notice) -> None:
        if isinstance(notice, Committed):
            heard.append(notice)

    at.engine.observers.add(hear)
    at.start()
    at.work()
    assert [event for each in heard for event in each.events] == at.store.history("order-42")
    assert heard[0].before is None
    assert [each.before for each in heard[1:]] == [each.run for each in heard[:-1]]
    assert heard[-1].run == at.run()


def test_what_changes_nothing_is_not_told() -> None:
    """A heartbeat, a start that joins, and a commit that was decided anew are no news."""
    at, heard = shop(), list[Notice]()
    at.start()
    attempt = at.next_attempt()
    at.engine.observers.add(heard.append)
    at.engine.heartbeat(attempt, '"half way"')
    at.start()
    assert [type(notice) for notice in heard] == [Starting]


def test_a_refused_message_is_told_by_its_reason() -> None:
    """What a message asked for in vain is told with the step, if its plan knows it."""
    at, heard = shop(), list[Notice]()
    at.start()
    at.engine.observers.add(heard.append)
    at.claim(message("charge", plan=at.plan.fingerprint))
    at.claim(message("charge", run_id="nobody", plan=at.plan.fingerprint))
    at.claim(message("no\nsuch step", plan=at.plan.fingerprint))
    at.claim(message("reserve", attempt=7, plan=at.plan.fingerprint))
    assert heard == [
        Refused("not_due", "place_order", "charge", "do"),
        Refused("no_run", "place_order", "charge", "do"),
        Refused("stale", "", "", "do"),
        Refused("stale", "place_order", "reserve", "do"),
    ]


def test_a_sweep_is_told() -> None:
    """A sweep tells how long it took and how much was due."""
    at, heard = shop(), list[Notice]()
    at.post.losing = True
    at.start()
    at.clock.now += 60_000
    at.engine.observers.add(heard.append)
    at.sweep()
    assert [notice for notice in heard if isinstance(notice, Swept)] == [Swept(0.0, 1)]


@pytest.mark.parametrize("moment", [Starting, Claiming, Committed, Settled, Refused, Swept])
def test_an_observer_that_raises_breaks_nothing(moment: type) -> None:
    """Whenever it raises, the run goes on as if nobody had watched."""
    at = shop()

    def stumble(notice: Notice) -> None:
        if isinstance(notice, moment):
            raise ZeroDivisionError

    at.engine.observers.add(stumble)
    at.start()
    at.claim(message("charge", plan=at.plan.fingerprint))
    assert at.settle_down().status is RunStatus.COMPLETED
    at.sweep()


def test_it_is_logged_once_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that always raises fills no log: each kind of error is told once."""
    errors: list[Exception] = [ZeroDivisionError(), KeyError("x"), ZeroDivisionError()]

    def stumble(_: Notice) -> None:
        raise errors[0]

    observers = Observers(stumble)
    with caplog.at_level(logging.ERROR, "celeriac"):
        while errors:
            observers.tell(ASKED)
            errors.pop(0)
    told = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert told == [ZeroDivisionError, KeyError]


def test_the_others_still_hear() -> None:
    """One that raises keeps nothing from the others."""

    def stumble(_: Notice) -> None:
        raise ZeroDivisionError

    heard: list[Notice] = []
    Observers(stumble, heard.append).tell(ASKED)
    assert heard == [ASKED]


def test_contexts_are_entered_and_left_in_order() -> None:
    """What observers return for something that lasts is entered, and left in reverse order."""
    steps: list[str] = []

    def staying(name: str) -> object:
        @contextmanager
        def stay(_: Notice) -> Iterator[None]:
            steps.append(f"+{name}")
            try:
                yield
            finally:
                steps.append(f"-{name}")

        return stay

    observers = Observers(staying("a"), lambda _: None, staying("b"))  # type: ignore[arg-type]
    with observers.during(WORK):
        steps.append("work")
    assert steps == ["+a", "+b", "work", "-b", "-a"]


@pytest.mark.parametrize("when", ["enter", "leave"])
def test_a_context_that_raises_harms_neither_work_nor_its_error(when: str) -> None:
    """It can neither stop the work, nor hide or replace what the work itself raises."""

    @contextmanager
    def stumble(_: Notice) -> Iterator[None]:
        if when == "enter":
            raise ZeroDivisionError
        try:
            yield
        finally:
            raise ZeroDivisionError

    observers = Observers(stumble)
    done = []
    with observers.during(WORK):
        done.append("work")
    assert done == ["work"]
    with pytest.raises(KeyError, match="mine"), observers.during(WORK):
        raise KeyError("mine")


def test_a_context_cannot_swallow_an_error() -> None:
    """An observer that would suppress what the work raises does not get the chance."""

    @contextmanager
    def swallow(_: Notice) -> Iterator[None]:
        try:
            yield
        except KeyError:
            return

    with pytest.raises(KeyError), Observers(swallow).during(WORK):
        raise KeyError


def test_fields_that_observers_want_are_read_along() -> None:
    """What an observer left at the start and at a claim, it sees at the next claim."""
    at, seen = shop(), list[dict[str, str]]()

    def watch(notice: Notice) -> None:
        if isinstance(notice, Starting):
            notice.marks["note"] = "from the start"
        if isinstance(notice, Claiming):
            seen.append(dict(notice.read))
            notice.marks["note:claim"] = notice.step

    at.engine.observers.add(watch, lambda step, _: ("note", "note:claim") if step else ("note",))
    at.start()
    at.work()
    assert [{k: v for k, v in each.items() if k.startswith("note")} for each in seen] == [
        {"note": "from the start"},
        {"note": "from the start", "note:claim": "reserve"},
    ]
    assert not set(at.ran[1][1]) & {"note", "note:claim"}, "a body is not given them"


def test_nothing_is_read_or_written_for_nobody() -> None:
    """Where nobody wants a field, a run has none but its payloads."""
    at = shop()
    at.start()
    at.work()
    assert set(at.store._records["order-42"].fields) == {"out:reserve", "out:charge"}
