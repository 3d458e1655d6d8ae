"""`saga show` of a run that stands still: what it waits for, and what to start.

Owns: what is said where nobody sweeps, and where nobody takes messages.  Refuses to know: what
workers answer (`tests/workers/test_hindrances.py`).
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.app import find_hindrances
from celeriac.engine import Unreachable
from celeriac.terminal import control
from tests.terminal import shop

if TYPE_CHECKING:
    from celeriac import RunHandle
    from celeriac.store import DueBatch
    from tests.redis_server import RedisServer
    from tests.terminal.conftest import Cli

MARK = "celeriac:{0}:sweep"


@pytest.fixture
def run(server: RedisServer, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> RunHandle[None]:
    """A run that began five minutes ago, and that nobody has looked at since."""
    del cli  # it empties the shop
    found = shop.ping.start(id="p-1")
    look = found.look()
    later = look[2] + 300_000
    monkeypatch.setattr(type(found), "look", lambda _: (look[0], look[1], later))
    with server.client() as client:
        client.hset(MARK, mapping={"at": look[2] - 120_000, "lag": 0, "took": 1})
    return found


@pytest.mark.usefixtures("run")
def test_a_forgotten_beat(cli: Cli) -> None:
    """It is due, nobody sweeps, and the command that starts a beat can be copied."""
    ended = cli("show", "p-1")
    assert "  due 5 min ago; no sweep for 2 min" in ended.lines
    assert any(line.startswith("  celery -A shop beat ") for line in ended.lines)


@pytest.mark.usefixtures("run")
def test_a_queue_that_nobody_serves(cli: Cli) -> None:
    """The queue is named, and the command that starts a worker for it."""
    ended = cli("show", "p-1")
    told = "  tick waits 5 min in queue celery; nobody takes from it: no worker answers"
    assert told in ended.lines
    assert any(line.startswith("  celery -A shop worker -Q celery ") for line in ended.lines)


@pytest.mark.usefixtures("run")
def test_programs_are_told_too(cli: Cli) -> None:
    """As a list of sentences, left out for a run that goes on."""
    told = json.loads(cli("show", "p-1", "-o", "json").out)["hindrances"]
    assert [text.partition(";")[0] for text in told] == [
        "due 5 min ago",
        "tick waits 5 min in queue celery",
    ]


def test_a_broker_that_is_away(run: RunHandle[None], monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is asked then: nobody could be reached."""
    away = Unreachable()
    monkeypatch.setattr(shop.sagas.runtime.dispatcher, "backlog", lambda *_: away)
    texts = [each.text for each in find_hindrances(shop.sagas.runtime, *run.look())]
    assert texts[1:] == ["tick waits 5 min; the broker cannot be reached"]


def test_workers_that_were_there_a_moment_ago(
    run: RunHandle[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was alive within the lease may only be slow to answer: none is to be started."""
    store = shop.sagas.runtime.engine.store
    store.pulse(1_000)
    plan, found, now = run.look()
    monkeypatch.setattr(type(store), "due", _five_minutes_on(store.due(0, 0)))
    texts = [each.text for each in find_hindrances(shop.sagas.runtime, plan, found, now)]
    assert texts[1].startswith("tick waits 5 min in queue celery with 1 message; no worker answers")
    assert texts[1].endswith("one was alive 0 s ago")


def _five_minutes_on(batch: DueBatch) -> Any:
    pulse = batch.pulse._replace(last=batch.pulse.last + 300_000)
    return lambda *_: batch._replace(pulse=pulse)


def test_whoever_waits_is_told_the_cause(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, after a while, beside what is printed for programs."""
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    monkeypatch.setattr("celeriac.app.hindrances._PATIENCE", 0)
    ended = cli("start", "ping", "--id", "p-3", "--wait", "--timeout", "1", "-o", "json")
    assert json.loads(ended.out)["status"] == "running"
    lines = [line for line in ended.err.splitlines() if line.startswith("p-3: ")]
    told = "nobody takes from it: no worker answers (celery -A shop worker -Q celery)"
    assert [line.partition("waits 0 s ")[2] for line in lines] == [f"in queue celery; {told}"]
    assert "p-3' is running after 1 s; it goes on" in ended.err


def test_a_run_that_goes_on_waits_for_nothing(cli: Cli) -> None:
    """Nobody is asked about a run whose message was sent just now."""
    found = shop.ping.start(id="p-2")
    began = time.monotonic()
    assert find_hindrances(shop.sagas.runtime, *found.look()) == []
    assert time.monotonic() - began < 1
    found.pause("wait")
    assert "hindrances" not in json.loads(cli("show", "p-2", "-o", "json").out)
