"""`saga pause`, `resume` and `skip`: what they do, say, refuse and record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli


def test_a_run_is_held_and_let_go(cli: Cli) -> None:
    """Who holds it and why is shown for as long as it lasts, and stays in the history."""
    shop.ping.start(id="p-1")
    ended = cli("pause", "p-1", "--reason", "the bank is down", "--by", "ada")
    assert ended.lines == ["p-1: paused; nothing further is taken up", "p-1: paused"]
    shown = cli("show", "p-1").out
    assert "by ada: the bank is down" in shown
    assert "saga resume p-1" in shown
    assert cli("list", "--status", "paused", "-o", "ids").lines == ["p-1"]
    assert cli("resume", "p-1", "--by", "bob").lines == ["p-1: resumed", "p-1: running"]
    assert "the bank is down" not in cli("show", "p-1").out
    told = [(e.kind.value, e.data.get("by")) for e in shop.sagas.run("p-1").history()[-2:]]
    assert told == [("paused", "ada"), ("resumed", "bob")]


def test_a_question_is_shown_and_answered(cli: Cli) -> None:
    """A step nobody knows the outcome of is skipped with the result it had."""
    driven_runs.asking("m-1")
    shown = cli("show", "m-1").out
    assert "asks" in shown
    assert "whether mail took effect" in shown
    assert "asks: mail" in cli("list").out
    ended = cli("skip", "m-1", "mail", "--result", "3", "--reason", "it is in her inbox")
    assert ended.lines == ["m-1: skipped: mail", "m-1: completed"]
    assert shop.sagas.run("m-1").result() == 3


@pytest.mark.parametrize(
    ("result", "complaint"),
    [("{", "invalid JSON"), ('"three"', "valid integer"), ("@nosuch.json", "cannot be read")],
)
def test_a_result_that_cannot_be_is_refused(cli: Cli, result: str, complaint: str) -> None:
    """It ends with 2, says why, and the run is as it was."""
    driven_runs.asking("m-1")
    before = shop.sagas.run("m-1").history()
    ended = cli("skip", "m-1", "mail", "--result", result, "--reason", "x")
    assert ended.code == 2
    assert complaint in ended.err
    assert shop.sagas.run("m-1").history() == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("skip", "p-1", "--reason", "x"), 2),
        (("skip", "p-1", "tick"), 2),
        (("skip", "p-1", "tick", "--step", "tick", "--reason", "x"), 2),
        (("skip", "p-1", "nosuch", "--reason", "x"), 4),
        (("pause", "nosuch"), 3),
        (("pause",), 2),
        (("pause", "p-1", "--saga", "ping"), 2),
        (("pause", "--saga", "ping", "--wait"), 2),
    ],
)
def test_what_is_not_complete_or_not_possible_changes_nothing(
    cli: Cli, words: tuple[str, ...], code: int
) -> None:
    """With the exit code that says which."""
    shop.ping.start(id="p-1")
    before = shop.sagas.run("p-1").history()
    assert cli(*words).code == code
    assert shop.sagas.run("p-1").history() == before


def test_programs_read_who_holds_a_run_and_what_is_asked(cli: Cli) -> None:
    """In the documents of a run."""
    driven_runs.held("p-1")
    driven_runs.asking("m-1")
    hold = json.loads(cli("show", "p-1", "-o", "json").out)["hold"]
    assert (hold["by"], hold["reason"]) == ("ada", "the bank is down")
    (mail,) = json.loads(cli("show", "m-1", "-o", "json").out)["steps"]
    assert (mail["status"], mail["asks"]) == ("unknown", True)
