"""`saga repair`: proving that all that is stored fits together, and mending it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.terminal import shop

if TYPE_CHECKING:
    from tests.redis_server import RedisServer
    from tests.terminal.conftest import Cli


def fall_asleep(server: RedisServer, run_id: str) -> None:
    """Start a run, and lose its entry in the wake index."""
    shop.ping.start(id=run_id)
    with server.client() as client:
        wake = shop.sagas.runtime.engine.store._keys.of(run_id).wake  # type: ignore[attr-defined]
        assert client.zrem(wake, run_id) == 1


def test_a_sound_store_is_said_to_be_so(cli: Cli) -> None:
    """Where there is nothing to mend, that is what people read."""
    shop.ping.start(id="p-1")
    ended = cli("repair")
    assert (ended.code, ended.lines) == (0, ["Looked at 1 run: all fits together."])


def test_a_fault_is_mended_once(cli: Cli, server: RedisServer) -> None:
    """A run that nobody would wake is named, mended, and found no more."""
    fall_asleep(server, "p-1")
    ended = cli("repair")
    assert ended.code == 0
    assert ended.lines[0].startswith("p-1: asleep (mended): ")
    assert ended.lines[-1] == "Looked at 1 run: 1 fault."
    assert cli("repair").lines == ["Looked at 1 run: all fits together."]


def test_a_dry_run_only_looks(cli: Cli, server: RedisServer) -> None:
    """What a dry run finds is still there afterwards, and the exit code says so."""
    fall_asleep(server, "p-1")
    for _ in range(2):
        ended = cli("repair", "--dry-run", "-o", "json")
        assert ended.code == 1
        [fault] = json.loads(ended.out)["faults"]
        assert (fault["run_id"], fault["what"], fault["mended"]) == ("p-1", "asleep", False)


def test_what_cannot_be_mended_is_an_error(cli: Cli, server: RedisServer) -> None:
    """A run that cannot be read is reported, left alone, and makes the command fail."""
    shop.ping.start(id="p-1")
    with server.client() as client:
        keys = shop.sagas.runtime.engine.store._keys.of("p-1")  # type: ignore[attr-defined]
        client.hset(keys.run("p-1"), "h", "nothing of ours")
    ended = cli("repair", "-o", "jsonl")
    assert ended.code == 1
    assert json.loads(ended.lines[0])["what"] == "unreadable"
