"""`saga cancel`, `terminate`, `retry` and `waive`: what they do, say, refuse and record."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli


def newest(run_id: str, kind: str) -> dict[str, Any]:
    """The data of the newest event of one kind."""
    return [event.data for event in shop.sagas.run(run_id).history() if event.kind == kind][-1]


def test_cancel_undoes_a_run(cli: Cli) -> None:
    """A running saga turns round, and the operator reads that it does."""
    shop.place_order.start(shop.Order(sku="pen"), id="o-1")
    driven_runs.do("o-1", "reserve")
    ended = cli("cancel", "o-1", "--reason", "customer called", "--by", "alice")
    assert (ended.code, ended.lines) == (
        0,
        ["o-1: cancelled; what it did is undone", "o-1: compensating"],
    )
    assert newest("o-1", "compensation_started") == {
        "why": "cancelled",
        "reason": "customer called",
        "by": "alice",
    }


def test_cancel_undoes_what_has_completed(cli: Cli) -> None:
    """A completed run is undone too."""
    driven_runs.completed("o-1")
    assert cli("cancel", "o-1").lines[-1] == "o-1: compensating"


def test_rewind_goes_back_to_a_step(cli: Cli) -> None:
    """What would be undone is shown beforehand; then it goes back, and forward again from there."""
    driven_runs.completed("o-1")
    shown = cli("undo-plan", "o-1", "--to", "charge").lines
    assert [line.split(":")[0].strip() for line in shown[1:] if ". " in line] == ["1. charge"]
    ended = cli("rewind", "o-1", "charge", "--reason", "the wrong card", "--by", "alice")
    assert ended.lines == [
        "o-1: goes back to charge; what came after is undone, and done again",
        "o-1: compensating",
    ]
    assert "goes back to  charge" in cli("show", "o-1").out
    driven_runs.undo("o-1", "charge")
    driven_runs.do("o-1", "charge")
    assert shop.sagas.run("o-1").state().rewinds == 1
    refused = cli("rewind", "o-1", "nosuch")
    assert refused.code == 4
    assert "has no step 'nosuch'" in refused.err


def test_terminate_abandons_a_run(cli: Cli) -> None:
    """A run is left as it is, for a reason that stays in its history."""
    shop.ping.start(id="p-1")
    ended = cli("terminate", "p-1", "--reason", "wrong shop")
    assert ended.lines == ["p-1: terminated; nothing is undone", "p-1: terminated"]
    assert newest("p-1", "terminated")["reason"] == "wrong shop"


def test_retry_and_waive_settle_what_is_owed(cli: Cli) -> None:
    """An owed compensation is tried again, and when it fails again, declared settled."""
    driven_runs.failed("o-1")
    ended = cli("retry", "o-1", "charge", "--reason", "bank is back")
    assert ended.lines == ["o-1: trying again: charge", "o-1: compensating"]
    driven_runs.fail("o-1", "charge", "undo")
    ended = cli("waive", "o-1", "charge", "--reason", "paid by hand")
    assert ended.lines == ["o-1: waived: charge", "o-1: compensated"]


def test_retry_takes_all_that_is_owed(cli: Cli) -> None:
    """Without a step, everything owed is tried again; past the pivot, that is the step itself."""
    driven_runs.stuck("o-1")
    assert cli("retry", "o-1").lines == ["o-1: trying again: notify", "o-1: running"]


def test_the_operator_is_on_record(cli: Cli) -> None:
    """Without `--by`, a command is done in the name of whoever is logged in."""
    shop.ping.start(id="p-1")
    cli("cancel", "p-1")
    assert newest("p-1", "compensation_started")["by"] == getpass.getuser()


@pytest.mark.parametrize(
    "words",
    [
        ("cancel", "o-1"),
        ("terminate", "o-1", "--reason", "twice"),
        ("waive", "o-1", "charge", "--reason", "twice"),
        ("retry", "o-1"),
    ],
)
def test_a_command_given_twice_says_that_nothing_changed(cli: Cli, words: tuple[str, ...]) -> None:
    """The second time is no error, and no event."""
    (driven_runs.failed if words[0] in ("waive", "retry") else driven_runs.completed)("o-1")
    if words[0] == "terminate":
        cli("start", "ping", "--id", "o-1", "--if-exists", "restart")
    first = cli(*words, "-o", "json")
    events = len(shop.sagas.run("o-1").history())
    second, third = cli(*words), cli(*words, "-o", "json")
    assert (second.code, second.lines[0]) == (0, "o-1: nothing changed")
    assert [json.loads(ended.out)["changed"] for ended in (first, third)] == [True, False]
    assert len(shop.sagas.run("o-1").history()) == events


@pytest.mark.parametrize(
    ("bring", "words", "complaint"),
    [
        (
            driven_runs.completed,
            ("terminate", "o-1", "--reason", "x"),
            "there is nothing to abandon",
        ),
        (driven_runs.completed, ("retry", "o-1"), "nothing of it is owed"),
        (driven_runs.completed, ("retry", "o-1", "nosuch"), "has no step 'nosuch'"),
        (driven_runs.failed, ("waive", "o-1", "reserve", "--reason", "x"), "is not owed"),
        (driven_runs.stuck, ("cancel", "o-1"), "it only goes forward"),
    ],
)
def test_what_a_run_does_not_allow_is_refused(
    cli: Cli, bring: Any, words: tuple[str, ...], complaint: str
) -> None:
    """A command that is not possible now ends with 4, says why, and changes nothing."""
    bring("o-1")
    before = shop.sagas.run("o-1").history()
    ended = cli(*words)
    assert (ended.code, ended.out) == (4, "")
    assert complaint in ended.err
    assert shop.sagas.run("o-1").history() == before


@pytest.mark.parametrize(
    "words",
    [
        ("terminate", "o-1"),
        ("terminate", "o-1", "--reason", "  "),
        ("waive", "o-1", "charge"),
        ("waive", "o-1", "--reason", "x"),
        ("cancel", "o-1", "--by", ""),
        ("cancel", "o-1", "--timeout", "5"),
        ("cancel",),
    ],
)
def test_a_command_that_is_not_complete_is_refused(cli: Cli, words: tuple[str, ...]) -> None:
    """What must be said and is not is wrong usage, and changes nothing."""
    driven_runs.failed("o-1")
    before = shop.sagas.run("o-1").history()
    assert cli(*words).code == 2
    assert shop.sagas.run("o-1").history() == before


def test_waiting_for_a_command_tells_the_outcome(cli: Cli) -> None:
    """With `--wait`, the exit code is how the run ended."""
    driven_runs.failed("o-1")
    shop.ping.start(id="p-1")
    shop.ping.start(id="p-2")
    reason = ("--reason", "a test", "--wait")
    assert cli("waive", "o-1", "charge", *reason).code == 10
    assert cli("cancel", "p-1", *reason).code == 10
    assert cli("terminate", "p-2", *reason).code == 13


def test_waiting_for_a_retry_may_end_in_impatience(cli: Cli) -> None:
    """The command is done, and said to be, even if nobody sees its end."""
    driven_runs.failed("o-1")
    ended = cli("retry", "o-1", "--wait", "--timeout", "0.1")
    assert (ended.code, ended.lines[0]) == (1, "o-1: trying again: charge")


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_command_prints_the_run_for_programs(cli: Cli, form: str) -> None:
    """The run as it stands afterwards, and nothing else on stdout."""
    shop.ping.start(id="p-1")
    document = json.loads(cli("cancel", "p-1", "-o", form).out)
    assert (document["status"], document["changed"]) == ("compensated", True)


def test_a_command_prints_the_id_for_pipes(cli: Cli) -> None:
    """`-o ids` is the id, ready for the next command."""
    shop.ping.start(id="p-1")
    assert cli("cancel", "p-1", "-o", "ids").out == "p-1\n"
