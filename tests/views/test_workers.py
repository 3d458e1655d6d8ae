"""Workers and servers as people are shown them.

Owns: their words.  Refuses to know: how a death is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.store import Worker
from celeriac.store.memory import MemoryStore
from celeriac.views import servers_of, workers_of

if TYPE_CHECKING:
    import pytest

ANNA = Worker("Anna_1", "here", 7, 8, 15_000)
OTTO = Worker("Otto_2", "there", 9, 10, 60_000)


def test_a_worker_is_alive_silent_or_dead() -> None:
    """By its newest sign of life; the one that is longest there comes first."""
    now = [1_000_000]
    store = MemoryStore(lambda: now[0])
    assert workers_of(store) == ()
    store.presences.announce(ANNA)
    now[0] += 5_000
    store.presences.announce(OTTO)
    anna, otto = workers_of(store)
    assert (anna.id, anna.pid, anna.state, anna.lease) == ("Anna_1", 7, "alive", 15.0)
    assert (otto.state, otto.seen.timestamp()) == ("alive", now[0] / 1000)
    now[0] += 1
    assert [each.state for each in workers_of(store)] == ["silent", "alive"]
    found = next(each for each in store.presences.known()[1] if each.worker == ANNA)
    assert store.presences.note(found, found._replace(died=now[0]))
    assert [each.state for each in workers_of(store)] == ["dead", "alive"]


def test_a_server_is_told_by_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not say is left open; a store in memory has none."""
    store = MemoryStore()
    assert servers_of(store) == ()
    said = {
        "redis_version": "7.2.4",
        "server_name": "valkey",
        "valkey_version": "8.1.0",
        "used_memory": "1048576",
        "maxmemory": "0",
        "connected_clients": "7",
        "uptime_in_seconds": "90",
        "aof_enabled": "1",
    }
    monkeypatch.setattr(store, "servers", lambda: {"b": said, "a": {}})
    silent, valkey = servers_of(store)
    assert (silent.version, silent.memory, silent.appends) == ("", None, None)
    assert (valkey.name, valkey.version) == ("b", "valkey 8.1.0")
    assert (valkey.memory, valkey.memory_limit, valkey.clients) == (1_048_576, None, 7)
    assert (valkey.uptime, valkey.appends) == (90, True)
