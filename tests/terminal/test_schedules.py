"""`saga schedule …`: looked at, paused, triggered, deleted.

Owns: what each verb prints and how it ends.  Refuses to know: the rules of ticks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.terminal import shop

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli


def test_schedules_are_listed_with_their_next_tick(cli: Cli) -> None:
    """Also before any sweep has seen them."""
    (heading, line) = cli("schedule", "list").lines
    assert heading.lower().split() == ["schedule", "saga", "every", "timezone", "status", "next"]
    assert line.split()[:2] == ["nightly", "place_order"]
    assert "0 3 * * *  Europe/Berlin  new" in line
    found = json.loads(cli("schedule", "list", "-o", "json").out)
    assert found["schedules"][0]["next"][0].endswith(("T01:00:00Z", "T02:00:00Z"))
    assert cli("schedule", "list", "-o", "ids").lines == ["nightly"]
    assert json.loads(cli("schedule", "list", "-o", "jsonl").out)["name"] == "nightly"


def test_an_operator_pauses_and_resumes(cli: Cli) -> None:
    """With a reason and a name, which `show` tells."""
    said = cli("schedule", "pause", "nightly", "--reason", "audit", "--by", "eve")
    assert (said.code, said.out) == (0, "nightly: paused\n")
    shown = cli("schedule", "show", "nightly").out
    assert "nightly: place_order, paused (audit)" in shown
    assert "paused (audit), by eve" in shown
    assert cli("schedule", "resume", "nightly", "--by", "eve").out == "nightly: resumed\n"
    history = json.loads(cli("schedule", "show", "nightly", "-o", "json").out)["history"]
    assert [each["kind"] for each in history] == ["created", "paused", "resumed"]


def test_a_run_is_started_by_hand(cli: Cli) -> None:
    """Its id is told; beside it, another one is refused."""
    said = cli("schedule", "trigger", "nightly", "--id", "now-1", "-o", "ids")
    assert (said.code, said.out) == (0, "now-1\n")
    assert shop.sagas.run("now-1").state().tags == {"schedule": "nightly"}
    assert cli("schedule", "trigger", "nightly", "--id", "now-1").out == "now-1: accepted\n"
    refused = cli("schedule", "trigger", "nightly")
    assert refused.code == 4
    assert "starts nothing beside now-1, since overlap is 'skip'" in refused.err
    assert cli("schedule", "list", "-o", "json", "--help").code == 0


def test_a_schedule_is_deleted_although_the_code_has_it(cli: Cli) -> None:
    """Until somebody resumes it."""
    assert cli("schedule", "delete", "nightly", "--reason", "moved").out == "nightly: deleted\n"
    assert cli("schedule", "list", "-o", "ids").lines == []
    assert cli("schedule", "trigger", "nightly").code == 4
    assert "deleted (moved)" in cli("schedule", "show", "nightly").out
    assert cli("schedule", "resume", "nightly").code == 0
    assert cli("schedule", "list", "-o", "ids").lines == ["nightly"]


def test_a_schedule_that_is_none(cli: Cli) -> None:
    """Ends with 3, whatever is asked."""
    for words in (("show",), ("pause",), ("trigger",)):
        said = cli("schedule", *words, "weekly")
        assert said.code == 3
        assert "no schedule 'weekly' is defined here" in said.err
