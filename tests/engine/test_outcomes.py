"""However a body ends, it is an outcome: classes, texts and attributes that nobody foresees.

Owns: `perform` and `report` over a granted attempt, and the text of exceptions.  Refuses to know:
pools and Celery.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from celeriac.authoring import Shape
from celeriac.engine import Archivist, AttemptFailure, Work, classify_error, perform, report
from celeriac.errors import Abort
from celeriac.failure import ends_who_tells
from celeriac.machine.commands import RetryOwed
from celeriac.machine.plans import Node, Plan
from celeriac.machine.runs import RunStatus
from celeriac.observing import log
from tests.engine.driver import Shop
from tests.machine.story import budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.failure import Failure
    from celeriac.machine import Fail


class Own(BaseException):
    """What a library raises that wants no handler of a step's to see it."""


class Mute(Abort):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise asyncio.CancelledError


class NoText(Exception):
    """Its `str()` returns no text."""

    __str__ = cast("Any", lambda _: None)


class Hidden(type):
    """A class of classes that do not tell their name."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]  # that is the point
        raise RuntimeError


class Nameless(Exception, metaclass=Hidden):
    """Its class has no name that can be read."""


class Codeless(Abort):
    """Its code cannot be had."""

    @property
    def code(self) -> str:
        """Tell nothing."""
        raise RuntimeError

    @code.setter
    def code(self, value: str) -> None:
        """Keep nothing."""


def shop() -> tuple[Shop, Work]:
    """A run of one step, and its first attempt."""
    node = Node(name="pay", task="shop.pay", retry=budget())
    at = Shop(Plan(saga="place_order", params=(), nodes=(node,)))
    at.start()

    def pay() -> str:
        return "paid"

    return at, Work(at.next_attempt(), at.engine, "shop.pay", Shape.of(pay))


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a body that raises *error*."""

    def body() -> None:
        raise error

    return body


def settled(error: BaseException, **how: Any) -> tuple[Shop, Fail, Failure]:
    """Run a step that raises *error*, and record how it ended."""
    at, work = shop()
    ended = perform(work, raising(error), classify_error, **how)
    assert isinstance(ended, AttemptFailure)
    told = report(work, ended)
    at.engine.fail(work.attempt, *told)
    return at, told.command, told.failure


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), GeneratorExit(), Own("mine")], ids=repr
)
def test_what_is_not_an_exception_is_a_failure_too(error: BaseException) -> None:
    """A body's BaseException may have had an effect, and is tried again as any failure."""
    _, command, failure = settled(error)
    assert (command.kind, command.effect, command.retryable) == ("error", None, True)
    assert failure.type == type(error).__name__


def test_a_policy_can_name_what_is_not_an_exception() -> None:
    """`give_up_on` counts for a BaseException; a narrow `retry_on` does not let it in."""
    at, work = shop()
    for rule in ({"give_up_on": (f"{__name__}.Own",)}, {"retry_on": ("builtins.OSError",)}):
        attempt = work.attempt
        node = attempt.node.model_copy(update={"retry": attempt.node.retry.model_copy(update=rule)})
        narrow = work._replace(attempt=attempt._replace(node=node))
        command, *_ = report(narrow, AttemptFailure(Own()))
        assert not command.retryable
    assert at.run().status is RunStatus.RUNNING


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_what_ends_a_process_ends_only_an_attempt_in_a_thread(error: BaseException) -> None:
    """In the main thread the process ends; in another it is an attempt that was cut short."""
    with pytest.raises(type(error)):
        settled(error)
    found: list[Fail] = []
    thread = threading.Thread(target=lambda: found.append(settled(error)[1]))
    thread.start()
    thread.join()
    assert [(each.kind, each.effect, each.retryable) for each in found] == [("timeout", None, True)]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Mute("x", effect=False), "<no text: str() of Mute raised CancelledError>"),
        (Abort("no file caf\udce9", code="caf\udce9", effect=False), r"no file caf\udce9"),
        (Abort("x", code=7, effect=False), "x"),  # type: ignore[arg-type]
        (Codeless("x", effect=False), "x"),
    ],
    ids=["mute", "surrogate", "number", "codeless"],
)
def test_an_abort_stays_an_abort_whatever_its_text(error: Abort, says: str) -> None:
    """What cannot be told about an Abort does not make it one that is tried again."""
    at, command, failure = settled(error)
    assert (command.kind, command.effect, failure.message) == ("abort", False, says)
    assert at.run().status is not RunStatus.RUNNING
    assert at.fields("err:pay")["err:pay"]["message"] == says


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (NoText(), "NoText"),
        (Nameless("x"), "Nameless"),
        (KeyError(NoText()), "KeyError"),
        (ExceptionGroup("two \ud800", [Mute(), NoText()]), "ExceptionGroup"),
    ],
    ids=["no-text", "nameless", "inner", "group"],
)
def test_any_error_can_be_recorded(error: Exception, name: str) -> None:
    """Texts, class names and causes that raise cost their text, not the report."""
    at, command, failure = settled(error)
    assert (command.kind, command.retryable, failure.type) == ("error", True, name)
    assert failure.traceback
    assert at.fields("err:pay")["err:pay"]["type"] == name


def test_effect_is_only_what_it_says() -> None:
    """An `effect` that is neither True, False nor None proves nothing."""
    _, command, _ = settled(Abort("x", effect="no"))  # type: ignore[arg-type]
    assert command.effect is None


def test_an_abort_that_does_not_say_its_effect_is_an_abort() -> None:
    """An `effect` that cannot be read promises nothing; it makes of an Abort nothing to retry."""

    class Unsure(Abort):
        @property
        def effect(self) -> bool | None:
            raise RuntimeError("who knows")

        @effect.setter
        def effect(self, _: bool | None) -> None: ...

    _, command, _ = settled(Unsure("x"))
    assert (command.kind, command.effect) == ("abort", None)


@pytest.mark.parametrize("member", ["__repr__", "__str__", "__reduce__"])
def test_an_error_may_end_whoever_tells_it(member: str) -> None:
    """Code of an error's class that ends the process is known before Celery prints or pickles."""

    def leave(_: object) -> str:
        raise SystemExit(1)

    def stumble(_: object) -> str:
        raise ValueError

    assert ends_who_tells(type("Leaving", (ValueError,), {member: leave})("x"))
    assert not ends_who_tells(type("Stumbling", (ValueError,), {member: stumble})("x"))


def test_a_classifier_that_stumbles_leaves_a_failure() -> None:
    """What was raised is recorded, even where it cannot be told what it means."""
    _, work = shop()

    def classify(_: Exception) -> AttemptFailure:
        raise OverflowError

    error = ValueError("first")
    assert perform(work, raising(error), classify) == AttemptFailure(error)


def test_a_validator_that_raises_anything_had_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body never ran, so there is nothing to undo; another attempt may be luckier."""
    _, work = shop()
    monkeypatch.setattr(Shape, "arguments", lambda *_: raising(Own())())
    ended = perform(work, lambda: "never", classify_error)
    assert isinstance(ended, AttemptFailure)
    command, *_ = report(work, ended)
    assert (command.kind, command.effect, command.retryable) == ("error", False, True)


def test_a_line_of_the_log_survives_any_error(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is logged by its text cannot raise out of the call that logs it."""
    with caplog.at_level(logging.WARNING, "celeriac"):
        log.warning("%s", Mute())
        log.warning("%s", Own("caf\udce9"))
    assert [line.getMessage() for line in caplog.records] == [
        "<no text: str() of Mute raised CancelledError>",
        r"caf\udce9",
    ]


def test_an_archive_may_raise_what_has_no_text() -> None:
    """What is told of an archive that failed does not depend on the text of its error."""
    told = Archivist(shop()[0].store, lambda _: None, payloads=False).told(Mute())
    assert told == "Mute: <no text: str() of Mute raised CancelledError>"


class Answerless(Abort):
    """Its answer cannot be had."""

    @property
    def answer(self) -> str:
        """Tell nothing."""
        raise RuntimeError

    @answer.setter
    def answer(self, value: str) -> None:
        """Keep nothing."""


def test_an_answer_that_cannot_be_had_is_none() -> None:
    """The step has failed all the same."""
    at, command, failure = settled(Answerless("declined"))
    assert (command.answers, failure.message) == (False, "declined")
    assert at.fields("ans:pay") == {}


def test_an_answer_goes_with_the_failure_it_came_with() -> None:
    """What a step said before an operator tried it once more is not told any longer."""
    nodes = (
        Node(name="reserve", task="shop.pay", pivot=True),
        Node(name="pay", task="shop.pay", after=("reserve",), retry=budget()),
    )
    at = Shop(Plan(saga="place_order", params=(), nodes=nodes))
    at.start()
    at.engine.complete(at.next_attempt(), '"paid"')

    def fails(error: Abort) -> dict[str, Any]:
        work = Work(at.next_attempt(), at.engine, "shop.pay", Shape.of(lambda: None))
        ended = perform(work, raising(error), classify_error)
        assert isinstance(ended, AttemptFailure)
        at.engine.fail(work.attempt, *report(work, ended))
        return at.fields("ans:pay")

    assert fails(Abort("declined", answer={"code": "05"})) == {"ans:pay": {"code": "05"}}
    at.engine.command("order-42", RetryOwed("pay"))
    assert fails(Abort("closed")) == {"ans:pay": None}
