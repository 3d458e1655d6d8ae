"""`saga bulk …`: one command for many runs, looked at, begun, shown and stopped.

Owns: what each verb prints and how it ends.  Refuses to know: which runs a command is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.terminal import driven_runs, shop

if TYPE_CHECKING:
    from tests.terminal.conftest import Cli


def test_a_command_is_looked_at_begun_and_shown(cli: Cli) -> None:
    """Whoever begins it names how many runs they have seen; the sweep gives it."""
    for n in range(2):
        driven_runs.failed(f"owing-{n}")
    found = cli("bulk", "look", "retry", "--status", "failed", "--reason", "it is back")
    bulk_id = found.lines[0].partition(":")[0]
    assert found.lines[0] == f"{bulk_id}: retry 2 runs, status failed"
    assert found.lines[-1].endswith(f" bulk start {bulk_id} --expected 2")
    listed = cli("bulk", "list").lines[1]
    assert listed.startswith(f"{bulk_id}  retry  status failed  not confirmed  0 of 2")
    refused = cli("bulk", "start", bulk_id, "--expected", "3")
    assert refused.code == 4
    assert "is for 2 runs, not 3" in refused.err
    assert cli("bulk", "start", bulk_id, "--expected", "2").out == f"{bulk_id}: begun\n"
    while cli("bulk", "show", bulk_id, "-o", "json").out.find('"state": "going"') > 0:
        cli("sweep")
    shown = cli("bulk", "show", bulk_id)
    assert "2 of 2" in shown.out
    assert sorted(line.split()[:2] for line in shown.lines[-2:]) == [
        ["owing-0", "changed"],
        ["owing-1", "changed"],
    ]
    assert "it is back" in str(shop.sagas.run("owing-0").history()[-1].data)


def test_what_had_no_turn_is_left_as_it_is(cli: Cli) -> None:
    """Once it is stopped; a second stop says so."""
    shop.ping.start(id="p-1")
    bulk_id = cli("bulk", "look", "pause", "--saga", "ping", "-o", "ids").lines[0]
    cli("bulk", "start", bulk_id, "--expected", "1")
    assert cli("bulk", "stop", bulk_id).out == f"{bulk_id}: stopped\n"
    assert cli("bulk", "stop", bulk_id).out == f"{bulk_id}: it was over\n"
    cli("sweep")
    assert shop.sagas.run("p-1").status == "running"
    told = json.loads(cli("bulk", "show", bulk_id, "-o", "json").out)
    assert (told["state"], told["left"]) == ("stopped", 1)
    assert told["runs"] == [{"run_id": "p-1", "outcome": None, "why": ""}]
    assert cli("bulk", "list", "-o", "ids").lines == [bulk_id]


def test_many_runs_are_shown_in_pages(cli: Cli) -> None:
    """The cursor is told on stderr."""
    for n in range(3):
        shop.ping.start(id=f"p-{n}")
    bulk_id = cli("bulk", "look", "pause", "--saga", "ping", "-o", "ids").lines[0]
    first = cli("bulk", "show", bulk_id, "--limit", "2", "-o", "ids")
    assert first.err == "There are more: --cursor 2\n"
    rest = cli("bulk", "show", bulk_id, "--limit", "2", "--cursor", "2", "-o", "ids")
    assert sorted(first.lines + rest.lines) == ["p-0", "p-1", "p-2"]
    assert rest.err == ""


def test_what_is_not_there_is_told(cli: Cli) -> None:
    """No such command, and no filter at all."""
    assert cli("bulk", "show", "bulk-0").code == 3
    assert cli("bulk", "list").lines[1:] == []
    empty = cli("bulk", "look", "retry")
    assert empty.code == 2
    assert "give either runs or a filter" in empty.err
    assert cli("bulk", "look", "skip", "--status", "failed").code == 2
