"""`saga complete`, and what is said of a step whose result comes from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.terminal import shop
from tests.terminal.driven_runs import ask_outside

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli

ORDER = shop.Order(sku="tea")


def test_a_result_is_brought_by_whoever_has_the_token(cli: Cli) -> None:
    """What the run waits for is said; the token is shown nowhere."""
    shop.place_order.start(ORDER, id="o-1")
    token = ask_outside("o-1", "reserve")
    shown = [cli(*words).out for words in (("show", "o-1"), ("list",), ("history", "o-1"))]
    assert "for its result from outside until" in shown[0]
    assert "reserve waiting for its result from outside (" in shown[1]
    assert "deferred (a result is to come from outside within 3600 s)" in shown[2]
    assert not [text for text in shown if token.partition(".")[2] in text]
    for who in ("ada", "bob"):  # the same from another is the same
        ended = cli("complete", "-", "--result", '"tea"', "--by", who, stdin=token + "\n")
        assert (ended.code, ended.lines) == (0, ["result taken"]), ended.err
    assert "completed (said outside): by ada" in cli("history", "o-1").out
    other = cli("complete", token, "--result", '"coffee"')
    assert (other.code, "another result came with it" in other.err) == (4, True)
    assert token not in other.err


def test_a_failure_is_brought_too(cli: Cli) -> None:
    """With what `Abort` has to say."""
    shop.place_order.start(ORDER, id="o-1")
    token = ask_outside("o-1", "reserve")
    words = ("--fail", "no shelf", "--code", "no_shelf", "--no-effect")
    assert cli("complete", token, *words).lines == ["failure taken"]
    failure = shop.sagas.run("o-1").state().failure
    assert failure is not None
    assert (failure.message, failure.code, failure.effect) == ("no shelf", "no_shelf", False)


def test_a_late_result_is_refused_and_on_record(cli: Cli) -> None:
    """Whoever brings it hears that it does not count."""
    shop.place_order.start(ORDER, id="o-1")
    token = ask_outside("o-1", "reserve")
    shop.sagas.run("o-1").cancel()
    ended = cli("complete", token, "--result", '"tea"')
    assert (ended.code, "no longer counts" in ended.err) == (4, True)
    assert "completed (said outside)" in cli("history", "o-1").out
    assert shop.sagas.run("o-1").export(payloads=True)["payloads"]["out:reserve"] == "tea"


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("x.y",), 3, "no attempt has this token"),
        (("TOKEN", "--result", "{"), 2, "invalid JSON"),
        (("TOKEN", "--result", "7"), 2, "valid string"),
        (("TOKEN", "--result", "1", "--fail", "no"), 2, "either --result or --fail"),
        (("TOKEN", "--code", "no"), 2, "go with --fail"),
    ],
)
def test_what_does_not_fit_is_refused(
    cli: Cli, words: tuple[str, ...], code: int, complaint: str
) -> None:
    """And the run is as it was."""
    shop.place_order.start(ORDER, id="o-1")
    token = ask_outside("o-1", "reserve")
    before = shop.sagas.run("o-1").history()
    ended = cli("complete", *(token if word == "TOKEN" else word for word in words))
    assert (ended.code, complaint in ended.err) == (code, True), ended.err
    assert shop.sagas.run("o-1").history() == before
