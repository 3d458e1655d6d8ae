"""`saga watch`, `graph` and `undo-plan`, and what the shell completes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery.bin.celery import celery
from click.shell_completion import BashComplete

from tests.house.sources import ROOT
from tests.terminal import driven_runs, shop
from tests.terminal.conftest import COMMAND

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli

# --- watch -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bring", "code"),
    [(driven_runs.completed, 0), (driven_runs.compensated, 10), (driven_runs.failed, 11)],
)
def test_a_watch_ends_with_the_run(cli: Cli, bring: object, code: int) -> None:
    """The exit code is the outcome; where nobody watches, each event is a line."""
    bring("o-1")  # type: ignore[operator]
    ended = cli("watch", "o-1")
    assert ended.code == code
    assert len(ended.lines) == len(shop.sagas.run("o-1").history())
    assert "started" in ended.lines[0]
    assert "finished" in ended.lines[-1]


def test_a_watch_goes_on_until_the_run_has_ended(cli: Cli) -> None:
    """What happens meanwhile is told once."""
    shop.place_order.start(shop.Order(sku="pen"), id="o-1")
    steps = threading.Timer(0.5, driven_runs.do, ("o-1", "reserve", "charge"))
    steps.start()
    ended = cli("watch", "o-1", "--every", "0.1")
    steps.join()
    assert ended.code == 0
    assert len(ended.lines) == len(set(ended.lines)) == len(shop.sagas.run("o-1").history())


def test_a_terminal_gets_a_tree(empty: None, environment: dict[str, str]) -> None:  # noqa: ARG001
    """Kept up to date, with the compensations under their steps."""
    driven_runs.compensated("o-1")
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, "watch", "o-1"], cwd=ROOT, env=environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = ""
    try:
        while more := os.read(ours, 4096):
            seen += more.decode()
    except OSError:
        pass  # the terminal is closed
    os.close(ours)
    assert child.wait(30) == 10
    assert "├─ reserve" in seen
    assert "↶ release" in seen
    assert "compensated after" in seen


# --- graph -------------------------------------------------------------------------------------


def test_a_run_and_a_saga_are_drawn(cli: Cli) -> None:
    """By the id of the one and the name of the other."""
    driven_runs.compensated("o-1")
    assert "o-1: place_order (version 1), compensated" in cli("graph", "o-1").out
    drawn = cli("graph", "place_order").out
    assert "| reserve | --> | charge |" in drawn
    assert ": release : <.. : refund :" in drawn
    assert cli("graph", "o-1", "-o", "mermaid").lines[3] == "flowchart LR"
    assert cli("graph", "o-1", "-o", "svg").out.startswith("<svg ")


def test_what_is_neither_is_not_found(cli: Cli) -> None:
    """With the code for that."""
    ended = cli("graph", "nosuch")
    assert (ended.code, ended.out) == (3, "")


# --- undo-plan ---------------------------------------------------------------------------------


def test_an_undo_plan_says_what_would_happen(cli: Cli) -> None:
    """In order, with the inputs; and it changes nothing."""
    driven_runs.completed("o-1")
    before = shop.sagas.run("o-1").history()
    ended = cli("undo-plan", "o-1")
    assert ended.lines == [
        "o-1: completed",
        "  1. charge: tests.terminal.shop.refund",
        '       order = {"sku": "pen", "quantity": 1}',
        "  2. reserve: tests.terminal.shop.release",
        '       order = {"sku": "pen", "quantity": 1}',
    ]
    told = json.loads(cli("undo-plan", "o-1", "-o", "json").out)
    assert [(each["step"], each["stays"]) for each in told["steps"]] == [
        ("charge", None),
        ("reserve", None),
    ]
    assert shop.sagas.run("o-1").history() == before


def test_an_undo_plan_says_what_cannot_be(cli: Cli) -> None:
    """A run past its pivot, a step without compensation, and a run that did nothing."""
    driven_runs.stuck("s-1")
    assert "only goes forward" in cli("undo-plan", "s-1").out
    shop.ping.start(id="p-1")
    assert "There is nothing to undo." in cli("undo-plan", "p-1").out
    driven_runs.do("p-1", "tick")
    assert "tick stays: it has no compensation" in cli("undo-plan", "p-1").out


# --- completion --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["show", "order-4"], {"order-41", "order-42"}),
        (["retry", "order-42", ""], {"reserve", "charge"}),
        (["graph", "place"], {"place_order"}),
        (["list", "--status", "comp"], {"compensating", "completed", "compensated"}),
        (["cancel", "--saga", "p"], {"place_order", "patient", "ping", "publish"}),
        (["undo"], {"undo-plan"}),
    ],
)
@pytest.mark.usefixtures("empty")
def test_words_are_completed(
    monkeypatch: pytest.MonkeyPatch, words: list[str], offered: set[str]
) -> None:
    """Verbs, runs, steps, sagas and statuses, through Celery's own completion."""
    engine = shop.sagas.runtime.engine
    monkeypatch.setattr(engine, "patience", engine.patience)  # a completion is in a hurry
    for number in (41, 42):
        shop.place_order.start(shop.Order(sku="pen"), id=f"order-{number}")
    shell = BashComplete(celery, {}, "celery", "_CELERY_COMPLETE")
    line = ["-A", "tests.terminal.shop", "saga", *words[:-1]]
    assert {each.value for each in shell.get_completions(line, words[-1])} == offered


@pytest.mark.usefixtures("empty")
def test_the_shell_completes(environment: dict[str, str]) -> None:
    """The real command offers a shell the same."""
    shop.ping.start(id="p-42")
    assert completed(environment, ["show", "p-4"]) == {"p-42"}


def test_a_redis_that_is_away_completes_nothing(environment: dict[str, str]) -> None:
    """And neither waits for long nor says a word."""
    away = {**environment, shop.URL: "redis://127.0.0.1:1/0"}
    assert completed(away, ["show", "o"]) == set()


def completed(environment: dict[str, str], words: list[str]) -> set[str]:
    """What a shell is offered for the last of *words*."""
    line = ["celery", "-A", "tests.terminal.shop", "saga", *words]
    asked = {
        "_CELERY_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("celery"))],
        cwd=ROOT,
        env={**environment, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stderr == ""
    return {line.partition(",")[2] for line in ran.stdout.splitlines() if line}
