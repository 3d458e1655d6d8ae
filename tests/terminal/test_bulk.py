"""A command for all runs that a filter finds: the question, the pace, the count, the record."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.house.sources import ROOT
from tests.terminal import driven_runs, shop
from tests.terminal.conftest import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.terminal.conftest import Cli


@pytest.fixture
def crowd(empty: None) -> list[str]:  # noqa: ARG001 -- it is the shop that gets the runs
    """Five pings that run, and an order that has completed."""
    ids = [shop.ping.start(id=f"p-{n}").id for n in range(5)]
    driven_runs.completed("o-1")
    return ids


def statuses(ids: list[str]) -> set[str]:
    """Where these runs stand."""
    return {shop.sagas.run(run_id).status.value for run_id in ids}


def test_a_filter_takes_all_that_it_finds(cli: Cli, crowd: list[str]) -> None:
    """And nothing else; each run has who and why in its history."""
    ended = cli("pause", "--saga", "ping", "--yes", "--reason", "bank", "--by", "ada")
    assert (ended.code, ended.out) == (0, "pause: 5 changed.\n")
    assert statuses(crowd) == {"paused"}
    assert shop.sagas.run("o-1").status == "completed"
    data = [shop.sagas.run(run_id).history()[-1].data for run_id in crowd]
    assert data == [{"reason": "bank", "by": "ada"}] * 5


def test_more_than_a_page_is_taken(cli: Cli) -> None:
    """However many runs a filter finds."""
    ids = [shop.ping.start(id=f"p-{n}", tags={"batch": "7"}).id for n in range(230)]
    ended = cli("cancel", "--tag", "batch=7", "-y", "--rps", "100000", "-o", "json")
    told = json.loads(ended.out)
    assert (told["matched"], len(told["changed"]), told["left"]) == (230, 230, 0)
    assert statuses(ids) == {"compensated"}


def test_where_nobody_can_be_asked_nothing_is_changed(cli: Cli, crowd: list[str]) -> None:
    """It says how many runs of which kind it would be about, and what to add."""
    ended = cli("terminate", "--status", "running", "--reason", "x")
    assert ended.code == 2
    assert "5  ping running" in ended.err
    assert "this is about 5 runs" in ended.err
    assert "--yes" in ended.err
    assert statuses(crowd) == {"running"}


@pytest.mark.parametrize("words", [("list",), ("retry", "--dry-run"), ("cancel",)])
def test_a_saga_that_is_not_there_is_told(cli: Cli, crowd: list[str], words: list[str]) -> None:
    """A misspelt name finds nothing, which is not the same as that there is nothing to do."""
    ended = cli(*words, "--saga", "pnig")
    assert ended.code == 0
    assert ended.err.startswith("no saga 'pnig' (did you mean ping?): this app has ")
    assert statuses(crowd) == {"running"}


@pytest.mark.parametrize("filter_", ["--saga", "--failed-step", "--code"])
def test_an_empty_filter_is_not_all_runs(cli: Cli, crowd: list[str], filter_: str) -> None:
    """The variable of a script that was never set makes no run out of many all of them."""
    ended = cli("cancel", "--status", "running", filter_, "", "--yes")
    assert ended.code == 2
    assert f"{filter_[2:].replace('-', '_')} is a name, not '': leave it out" in ended.err
    assert statuses(crowd) == {"running"}


def test_a_filter_that_finds_nothing_is_no_error(cli: Cli, crowd: list[str]) -> None:
    """It says so."""
    ended = cli("cancel", "--saga", "transfer")
    assert (ended.code, ended.out, ended.err) == (0, "cancel: no run.\n", "No run matches.\n")
    assert statuses(crowd) == {"running"}


@pytest.mark.parametrize(
    "words",
    [
        ("--status", "runing"),
        ("--since", "yesterday"),
        ("--tag", "batch"),
        ("--saga", "ping", "--rps", "0"),
        ("--saga", "ping", "--rps", "fast"),
    ],
)
def test_a_filter_that_makes_no_sense_changes_nothing(
    cli: Cli, crowd: list[str], words: tuple[str, ...]
) -> None:
    """It is wrong usage, and says what to give instead."""
    ended = cli("cancel", "--yes", *words)
    assert ended.code == 2
    assert ended.err
    assert statuses(crowd) == {"running"}


def test_each_run_decides_for_itself(cli: Cli, crowd: list[str]) -> None:
    """What one refuses, the others do; the exit code and stderr tell."""
    ended = cli("pause", "--since", "1h", "--yes", "-o", "json")
    assert ended.code == 4
    told = json.loads(ended.out)
    assert (sorted(told["changed"]), list(told["refused"])) == (crowd, ["o-1"])
    assert "o-1: run 'o-1' (completed): it has ended" in ended.err
    again = json.loads(cli("pause", "--saga", "ping", "-y", "-o", "json").out)
    assert (again["changed"], sorted(again["unchanged"])) == ([], crowd)


def test_a_step_of_many_runs(cli: Cli) -> None:
    """Named by an option, where there is no ID before it."""
    for number in range(3):
        driven_runs.failed(f"o-{number}")
    ended = cli("waive", "--status", "failed", "--step", "charge", "--reason", "by hand", "-y")
    assert ended.out == "waive: 3 changed.\n"
    assert statuses(["o-0", "o-1", "o-2"]) == {"compensated"}


def test_the_pace_is_kept(cli: Cli, crowd: list[str]) -> None:
    """Five runs at twenty a second take a fifth of a second, and no less."""
    began = time.monotonic()
    assert cli("pause", "--saga", "ping", "-y", "--rps", "20").code == 0
    assert time.monotonic() - began >= 0.2
    assert statuses(crowd) == {"paused"}


def test_progress_is_told_where_nobody_watches(cli: Cli, crowd: list[str]) -> None:
    """On stderr: of few runs when it is done, of many ten times, and not a line for each."""
    ended = cli("pause", "--saga", "ping", "-y")
    assert ended.err.splitlines() == [f"pause: {len(crowd)} of 5"]
    for number in range(14):
        shop.ping.start(id=f"more-{number}")
    ended = cli("cancel", "--saga", "ping", "-y", "--rps", "1000")
    told = ended.err.splitlines()
    assert len(told) <= 10
    assert told[-1] == "cancel: 19 of 19"


def test_not_every_run_that_refuses_is_a_line(cli: Cli) -> None:
    """Ten are named to people, all of them to programs."""
    for number in range(13):
        driven_runs.completed(f"o-{number:02}")
    ended = cli("pause", "--saga", "place_order", "-y", "-o", "json", "--rps", "1000")
    assert len(json.loads(ended.out)["refused"]) == 13
    told = [line for line in ended.err.splitlines() if not line.startswith("pause: ")]
    assert len(told) == 11
    assert told[-1] == "and 3 more; -o json names them all"


class Terminal:
    """The real command at a terminal, with somebody to answer."""

    def __init__(self, environment: dict[str, str], *words: str) -> None:
        self.ours, theirs = pty.openpty()
        self.child = subprocess.Popen(
            [*COMMAND, *words],
            cwd=ROOT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.seen = ""

    def until(self, text: str) -> None:
        """Read until *text* was printed."""
        while text not in self.seen:
            try:
                more = os.read(self.ours, 4096).decode(errors="replace")
            except OSError:  # the terminal is closed
                more = ""
            assert more, f"it ended without {text!r}: {self.seen}"
            self.seen += more

    def answer(self, text: str) -> None:
        """Type a line."""
        os.write(self.ours, f"{text}\n".encode())

    def end(self) -> int:
        """Wait for its end."""
        try:
            while more := os.read(self.ours, 4096).decode(errors="replace"):
                self.seen += more
        except OSError:
            pass
        os.close(self.ours)
        return self.child.wait(30)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """The terminals a test has opened, which are ended after it."""
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        if each.child.poll() is None:
            each.child.kill()
            each.child.wait(10)


def test_people_are_asked(
    crowd: list[str], environment: dict[str, str], terminals: list[Terminal]
) -> None:
    """No is nothing changed; yes is done, with a bar."""
    for answer, code, status in (("n", 1, "running"), ("y", 0, "paused")):
        terminal = Terminal(environment, "pause", "--saga", "ping")
        terminals.append(terminal)
        terminal.until("pause 5 runs?")
        terminal.answer(answer)
        assert terminal.end() == code, terminal.seen
        assert statuses(crowd) == {status}
    assert "100%" in terminals[-1].seen
    assert "pause: 5 changed." in terminals[-1].seen


def test_an_interrupt_leaves_the_rest(
    crowd: list[str], environment: dict[str, str], terminals: list[Terminal]
) -> None:
    """What has begun is finished, and what was not reached is counted."""
    words = ("pause", "--saga", "ping", "-y", "--rps", "0.5", "-o", "json")
    terminal = Terminal(environment, *words)
    terminals.append(terminal)
    give_up = time.monotonic() + 30
    while "paused" not in statuses(crowd) and time.monotonic() < give_up:
        time.sleep(0.02)  # a condition is awaited: the first run is paused
    terminal.child.send_signal(signal.SIGINT)
    assert terminal.end() == 1
    assert statuses(crowd) == {"running", "paused"}
    assert '"left": ' in terminal.seen


# --- what is owed and what asks ------------------------------------------------------------------


@pytest.fixture
def troubled(empty: None) -> list[str]:  # noqa: ARG001 -- it is the shop that gets the runs
    """Two orders that owe a refund, two mailings that ask, one order that was undone."""
    owed = [driven_runs.failed(f"o-{n}") for n in range(2)]
    asking = [driven_runs.asking(f"m-{n}") for n in range(2)]
    driven_runs.compensated("o-9")
    return [*owed, *asking]


def test_a_retry_leaves_those_that_ask_alone(cli: Cli, troubled: list[str]) -> None:
    """What nobody knows of an e-mail is not answered by sending it again."""
    ended = cli("retry", "--status", "failed", "--yes")
    assert (ended.code, ended.out) == (0, "retry: 2 changed.\n")
    assert "2 owed, 2 ask: those that ask are left alone" in ended.err
    assert "--asking" in ended.err
    assert statuses(troubled[:2]) == {"compensating"}
    assert statuses(troubled[2:]) == {"failed"}


def test_a_retry_takes_those_that_ask_if_it_is_told(cli: Cli, troubled: list[str]) -> None:
    """`--asking` is the answer, and is about those that ask only."""
    ended = cli("retry", "--status", "failed", "--asking", "--yes")
    assert (ended.code, ended.out) == (0, "retry: 2 changed.\n")
    assert statuses(troubled[2:]) == {"running"}
    assert statuses(troubled[:2]) == {"failed"}


def test_the_question_says_how_many_ask(cli: Cli, troubled: list[str]) -> None:
    """Before a command goes to runs that owe and to runs that ask, it says how many of each."""
    ended = cli("terminate", "--status", "failed", "--reason", "x")
    assert ended.code == 2
    assert "2  place_order failed (2 owed)" in ended.err
    assert "2  mailing failed (2 ask)" in ended.err
    assert statuses(troubled) == {"failed"}


@pytest.mark.parametrize(
    "verb", ["cancel", "terminate", "retry", "waive", "pause", "resume", "skip"]
)
def test_a_dry_run_changes_nothing(cli: Cli, troubled: list[str], verb: str) -> None:
    """Every command for many runs can be asked first which runs it is about, without a reason."""
    before = {run_id: len(shop.sagas.run(run_id).history()) for run_id in troubled}
    words = [verb, "--owed", "--dry-run"]
    words += ["--step", "charge"] if verb in ("waive", "skip") else []
    ended = cli(*words)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        "       2  place_order failed (2 owed)",
        f"Would {verb} 2 runs; nothing was changed.",
    ]
    assert sorted(cli(*words, "-o", "ids").out.split()) == troubled[:2]
    assert json.loads(cli(*words, "-o", "json").out) == {"command": verb, "would": ["o-1", "o-0"]}
    assert {run_id: len(shop.sagas.run(run_id).history()) for run_id in troubled} == before


def test_a_dry_run_is_for_a_filter(cli: Cli, troubled: list[str]) -> None:
    """What one run would do is what `show` says."""
    ended = cli("cancel", troubled[0], "--dry-run")
    assert ended.code == 2
    assert "--dry-run is for a filter" in ended.err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--owed",), {"o-0", "o-1"}),
        (("--asking",), {"m-0", "m-1"}),
        (("--owed", "--asking"), {"o-0", "o-1", "m-0", "m-1"}),
        (("--owed", "--status", "running"), set()),
        (("--failed-step", "charge"), {"o-0", "o-1", "o-9"}),
        (("--failed-step", "charge", "--owed"), {"o-0", "o-1"}),
        (("--failed-step", "mail"), {"m-0", "m-1"}),
        (("--code", "declined"), {"o-0", "o-1", "o-9"}),
        (("--code", "declined", "--limit", "1"), {"o-9"}),
        (("--code", "other"), set()),
    ],
)
def test_what_failed_is_found(
    cli: Cli, troubled: list[str], words: tuple[str, ...], found: set[str]
) -> None:
    """By what is owed, by what asks, by the step that failed and by its error code."""
    assert set(cli("list", *words, "-o", "ids").lines) == found, troubled


def test_pages_of_what_failed_go_on_where_they_ended(cli: Cli, troubled: list[str]) -> None:
    """Page by page, every run that is looked for is found once."""
    pages: list[list[str]] = []
    cursor = None
    while not pages or cursor:
        page = shop.sagas.runs(owed=True, asking=True, limit=1, cursor=cursor)
        pages.append([run.id for run in page])
        cursor = page.cursor
    assert sorted(each for ids in pages for each in ids) == sorted(troubled)
    assert cli("list", "--owed", "--limit", "1").err.startswith("There are more: --cursor ")
