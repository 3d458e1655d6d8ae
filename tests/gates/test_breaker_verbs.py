"""Operators at gates: what `saga breakers` shows, and breakers opened and closed by hand.

Owns: the verbs, in Python and as typed.  Refuses to know: the rules (`tests/gating`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from celery.bin.base import CLIContext
from click.testing import CliRunner

from celeriac import GateState, InputInvalid
from celeriac.observing.metrics.gauges import standing
from celeriac.terminal.cli import saga
from tests.crash.test_gates import claim
from tests.gates.workers_app import build
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gates.workers_app import Kit


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    """An app with a breaker and a limit, and no worker."""
    with RedisServer(tmp_path / "redis") as redis:
        found = build(redis.url, tmp_path)
        yield found
        found.sagas.runtime.close()


def gate(kit: Kit, name: str) -> GateState:
    """How a gate stands."""
    return next(each for each in kit.sagas.gates() if each.name == name)


def test_gates_are_seen_before_anybody_came(kit: Kit) -> None:
    """By the code of the app."""
    assert [(each.name, each.kind) for each in kit.sagas.gates()] == [
        ("bank", "breaker"),
        ("room", "limit"),
    ]
    assert gate(kit, "bank").state == "closed"
    assert gate(kit, "room").state is None


def test_a_breaker_is_opened_and_closed_by_hand(kit: Kit) -> None:
    """Nothing passes meanwhile; whoever waits says who has done it, and goes on then."""
    kit.sagas.open_breaker("bank", by="eve")
    run = kit.guarded.start("x", id="order-1")
    assert not claim(kit.sagas, kit.guarded, run.id)
    assert run.state().steps[0].blocked == "breaker bank is open (by eve)"
    seen = gate(kit, "bank")
    assert (seen.state, seen.by, seen.waiting, seen.until) == ("open", "eve", 1, None)
    assert seen.since is not None
    assert [each.run for each in kit.sagas.gate("bank").line] == ["order-1"]
    kit.sagas.close_breaker("bank", by="eve")
    assert gate(kit, "bank").state == "closed"
    assert claim(kit.sagas, kit.guarded, run.id)
    assert gate(kit, "bank").waiting == 0


def test_what_is_no_breaker_is_refused(kit: Kit) -> None:
    """With the names of those that there are."""
    for name in ("nobody", "room"):
        with pytest.raises(InputInvalid, match="there are: bank"):
            kit.sagas.open_breaker(name)


def test_the_verbs_as_they_are_typed(kit: Kit) -> None:
    """A table for people, JSON for programs, and what is wrong."""

    def typed(*words: str) -> tuple[int, str]:
        context = CLIContext(app=kit.sagas.app, no_color=True, workdir=None)
        done = CliRunner().invoke(saga, ["breakers", *words], obj=context)
        return done.exit_code, done.output

    code, table = typed("list")
    assert code == 0
    assert "until 3 failures in 60 s" in table
    assert "2 at a time" in table
    assert typed("open", "bank", "--by", "eve") == (0, "bank: opened\n")
    found = json.loads(typed("list", "--output", "json")[1])["gates"]
    seen = [(each["name"], each["state"], each["by"]) for each in found]
    assert ("bank", "open", "eve") in seen
    assert typed("close", "bank")[0] == 0
    code, shown = typed("show", "bank")
    assert (code, shown.splitlines()[0]) == (0, "bank: breaker, until 3 failures in 60 s")
    assert json.loads(typed("show", "room", "-o", "json")[1])["holders"] == []
    assert typed("show", "nobody")[0] == 3
    code, wrong = typed("close", "nobody")
    assert code == 2
    assert "there is no breaker 'nobody'" in wrong


def test_gates_are_measured(kit: Kit) -> None:
    """How a breaker stands, and how many wait before it; what waited is counted."""
    kit.sagas.open_breaker("bank")
    run = kit.guarded.start("x", id="order-1")
    assert not claim(kit.sagas, kit.guarded, run.id)
    samples = standing(kit.sagas.runtime.engine.store)
    found = {each.name: each.value for each in samples if each.labels == ("bank",)}
    assert found == {
        "celeriac_gate_inside": 0,
        "celeriac_gate_waiting": 1,
        "celeriac_breaker_state": 2,
    }
