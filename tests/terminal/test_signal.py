"""`saga signal`, and what is said of a run that waits."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.terminal import shop

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli


def test_a_run_that_waits_is_told_what_it_waits_for(cli: Cli) -> None:
    """It says so wherever people look, and how to send it."""
    shop.patient.start(id="p-1")
    shown = cli("show", "p-1").out
    assert "waiting" in shown
    assert "for signal approved until" in shown
    assert "saga signal --payload '...' p-1 approved" in shown
    assert re.search(r"approved waiting for signal approved \(\d+ \S+ left\)", cli("list").out)
    assert cli("list", "--status", "waiting", "-o", "ids").lines == ["p-1"]
    ended = cli("signal", "p-1", "approved", "--payload", '{"sku": "tea"}', "--by", "ada")
    assert ended.lines == ["p-1: signal approved accepted: a wait took it", "p-1: running"]
    told = cli("history", "p-1").out
    assert "signalled: signal approved, by ada" in told
    assert "tea" not in told


def test_the_same_id_counts_once(cli: Cli) -> None:
    """And has the same answer."""
    shop.patient.start(id="p-1")
    words = ("signal", "p-1", "approved", "--payload", '{"sku": "tea"}', "--id", "7", "-o", "json")
    told = [json.loads(cli(*words).out) for _ in range(2)]
    assert [each["changed"] for each in told] == [True, False]
    assert told[0]["status"] == told[1]["status"] == "running"


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("p-1", "approved", "--payload", "{"), 2, "invalid JSON"),
        (("p-1", "approved", "--payload", '{"sku": 3}'), 2, "valid string"),
        (("p-1", "approved"), 2, "valid dictionary"),
        (("p-1", "aproved", "--payload", "1"), 4, "its saga waits for approved"),
        (("nosuch", "approved", "--payload", "1"), 3, "no run"),
    ],
)
def test_what_does_not_fit_is_refused(
    cli: Cli, words: tuple[str, ...], code: int, complaint: str
) -> None:
    """And the run is as it was."""
    shop.patient.start(id="p-1")
    before = shop.sagas.run("p-1").history()
    ended = cli("signal", *words)
    assert (ended.code, complaint in ended.err) == (code, True), ended.err
    assert shop.sagas.run("p-1").history() == before
