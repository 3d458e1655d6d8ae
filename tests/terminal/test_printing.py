"""How it looks: colours and columns, on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from celeriac import Event, EventKind
from celeriac.terminal.printing import Printer
from celeriac.terminal.screen import aligned, fitted, lined
from celeriac.views import times
from tests.house.sources import ROOT
from tests.terminal import driven_runs
from tests.terminal.conftest import COMMAND

START = Event(1_700_000_000_000, EventKind.STARTED, data={"saga": "ping"})


def on_a_terminal(environment: dict[str, str], *words: str) -> str:
    """What the real command shows when its stdout is a terminal."""
    ours, its = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [*COMMAND, *words], cwd=ROOT, env=environment, stdout=its, stderr=subprocess.DEVNULL
        )
        os.close(its)
        shown = b""
        try:
            while part := screen.read(65536):
                shown += part
        except OSError:  # how Linux says that the other side of a terminal is closed
            pass
        assert process.wait(30) == 0
    return shown.decode()


@pytest.mark.usefixtures("empty")
def test_a_terminal_gets_colours(environment: dict[str, str]) -> None:
    """On a terminal, what failed is red, in lists and in what is shown of a run."""
    driven_runs.failed("o-1")
    environment["TERM"] = "xterm-256color"
    environment.pop("NO_COLOR", None)
    assert "\x1b[31mfailed" in on_a_terminal(environment, "list")
    assert "\x1b[31mfailed" in on_a_terminal(environment, "show", "o-1")


@pytest.mark.usefixtures("empty")
def test_colours_can_be_switched_off(environment: dict[str, str]) -> None:
    """NO_COLOR is honoured: nothing but text and line ends reaches the terminal."""
    driven_runs.failed("o-1")
    environment.update(TERM="xterm-256color", NO_COLOR="1")
    shown = on_a_terminal(environment, "show", "o-1")
    assert "failed" in shown
    assert "\x1b" not in shown


@pytest.mark.usefixtures("empty")
def test_a_run_is_a_line_of_a_narrow_terminal(environment: dict[str, str]) -> None:
    """The ID is never cut and the reason is there; the saga gives way."""
    run_id = driven_runs.failed("0199f3c2-6d5e-7c1a-9a51-0123456789ab")
    driven_runs.held("o-2")
    shown = on_a_terminal({**environment, "COLUMNS": "80", "NO_COLOR": "1"}, "list")
    heading, second, first = shown.splitlines()
    assert max(map(len, (heading, first, second))) <= 80
    assert heading.split() == ["ID", "SAGA", "STATUS", "AGE", "WHY"]
    assert re.fullmatch(rf"{run_id}  place…  failed  +\d+ s +owed: charge \[d.*…", first)
    assert re.fullmatch(r"o-2 +ping    paused  +\d+ s +by ada: the bank.*…", second)


def test_what_must_not_be_cut_is_not() -> None:
    """Where a terminal is too narrow for the rest, lines are longer than it; wide letters count."""
    assert fitted(("id", "why"), [("order-42", "because of that")], 10, [1]) == [
        ["order-42", "becau…"]
    ]
    assert fitted(("id", "why"), [("1", "原因は在庫切れです")], 12, [1]) == [["1", "原因は…"]]
    assert fitted(("id", "why"), [("1", "short")], 80, [1]) == [["1", "short"]]


@pytest.mark.usefixtures("empty")
def test_a_history_shows_what_failed_in_red(environment: dict[str, str]) -> None:
    """What went wrong is found at once; all else has no colour."""
    driven_runs.failed("o-1")
    environment["TERM"] = "xterm-256color"
    environment.pop("NO_COLOR", None)
    _, *lines = on_a_terminal(environment, "history", "o-1").splitlines()
    red = [line for line in lines if "\x1b[31m" in line]
    assert [line for line in lines if "failed: BankDown" in line or "finished: failed" in line]
    assert red == [line for line in lines if "failed: " in line or "finished: failed" in line]


def test_a_history_is_red_without_rich() -> None:
    """The plain columns have the same colours."""
    failed = ["o-1", "failed: BankDown"]
    _, fine, wrong = lined(("run", "what"), [("o-1", "started"), failed], ["", "red"])
    assert (fine, wrong) == (
        "o-1  started",
        "\x1b[31mo-1\x1b[0m  \x1b[31mfailed: BankDown\x1b[0m",
    )


@pytest.fixture
def no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich is not installed, and stdout is a terminal."""
    monkeypatch.setitem(sys.modules, "rich.console", None)


@pytest.mark.usefixtures("no_rich")
def test_rich_is_an_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without rich, a terminal gets the plain columns that a pipe gets."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Printer(colour=False).history("p-1", [START])
    assert capsys.readouterr().out.splitlines() == [
        "TIME                      AFTER     STEP  WHAT HAPPENED",
        "2023-11-14 22:13:20.000Z  +0.000 s        started: saga ping",
    ]


def test_columns_are_aligned() -> None:
    """Each column is as wide as its widest cell, and lines have no blanks at their end."""
    assert aligned(("id", "status"), [("order-42", "ok"), ("1", "")]) == [
        "ID        STATUS",
        "order-42  ok",
        "1",
    ]


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=-5), "0 s ago"),  # the clock of Redis is ahead of ours
        (timedelta(seconds=119), "119 s ago"),
        (timedelta(minutes=2), "2 min ago"),
        (timedelta(minutes=119), "119 min ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=400), "400 d ago"),
    ],
)
def test_times_are_told_as_people_do(passed: timedelta, text: str) -> None:
    """How long ago something was is told in a unit that fits."""
    assert times.when(datetime.now(UTC) - passed - timedelta(milliseconds=10)).endswith(text)


def test_what_is_to_come_is_told_as_people_do() -> None:
    """A deadline is so far ahead until it has passed."""
    soon = datetime.now(UTC) + timedelta(minutes=3, seconds=10)
    assert times.due(soon) == f"{soon:%Y-%m-%d %H:%M:%S}Z, in 3 min"
    assert times.due(datetime(2026, 1, 1, tzinfo=UTC)).startswith("2026-01-01 00:00:00Z, ")
    assert times.due(datetime(2026, 1, 1, tzinfo=UTC)).endswith(" ago")
    assert times.due(None) == ""


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "+0.000 s"), (59_999, "+59.999 s"), (3_725_000, "+1:02:05")]
)
def test_time_after_the_start_is_exact_at_first(ms: int, text: str) -> None:
    """Milliseconds matter in the first minute, not after hours."""
    assert times.after(ms) == text
