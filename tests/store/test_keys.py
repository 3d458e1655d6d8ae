"""The table of keys: complete, true, and one slot for all that is written together."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from celeriac.scheduling import TickEvent, TickEventKind
from celeriac.store import GateChange, Member, Turn, Worker
from celeriac.store.keys import TABLE, KeyPattern, shard_of
from celeriac.store.redis import RedisStore
from celeriac.testing.servers import free_port
from tests.redis_server import RedisServer
from tests.store.runs import a_run, awaiting, due, ending, lease, moving, removed, starting, write
from tests.store.test_bulks import record as a_bulk
from tests.store.test_schedules import record as a_schedule

if TYPE_CHECKING:
    from pathlib import Path


def live(store: RedisStore) -> None:
    """Write everything that a store ever writes."""
    for n in range(40):
        tags = (("tenant", "acme"), ("a=b", "c"))
        run = a_run(f"order-{n}", tags=tags, steps=awaiting(), overdue=n == 0)
        run = write(store, starting(run, fields={"input": "{}"}))
        run = write(store, moving(run, leases={lease(run): 5}, claimed=("bank", 5)))
        if n % 2:
            write(store, ending(run, released=[lease(run)], expire_at=10**15))
    store.pulse(1000, outage_ms=5)
    store.swept(lag_ms=5, took_ms=7)
    store.try_lock("archive", 1000)
    assert store.schedules.commit(None, a_schedule(), [TickEvent(1, TickEventKind.CREATED)])
    change = GateChange("bank", "", "1 {}", take={"a": 1}, join={"x": 5}, look_at=10**14)
    assert store.gates.commit(change)
    assert store.gates.salt()
    store.keep_definition("trip", 1, "saga: trip")
    store.bulks.add(a_bulk(), [Member("order-1", "")])
    going = a_bulk().altered(state="going", changed=1)
    assert store.bulks.commit(a_bulk(), going, [Turn("order-1", "changed")])
    store.presences.announce(Worker("Wanda1", "here", 7, 8, 15_000))


def row_of(key: str) -> KeyPattern:
    """The one row of the table that *key* belongs to."""
    rest = re.fullmatch(r"celeriac:\{\d+\}:(.+)", key)
    assert rest, key
    kind = rest[1].split(":")[0]
    [row] = [row for row in TABLE if row.pattern.split(":")[0] == kind]
    pattern = re.sub(r"<\w+>", ".+", row.pattern)
    assert re.fullmatch(pattern, rest[1]), key
    return row


def test_every_key_is_in_the_table(server: RedisServer, redis_store: RedisStore) -> None:
    """Every key in Redis belongs to a row and has its type; every row occurs; none expires."""
    live(redis_store)
    seen = set()
    with server.client() as client:
        for key in client.scan_iter():
            row = row_of(key)
            assert client.type(key) == row.type, key
            assert client.ttl(key) == -1, f"{key}: live state never expires by itself"
            seen.add(row)
    assert seen == set(TABLE)


def test_removed_runs_leave_nothing(server: RedisServer, redis_store: RedisStore) -> None:
    """Once runs are removed, only keys remain that the table says are kept."""
    for n in range(40):
        run = write(redis_store, starting(a_run(f"order-{n}", tags=(("tenant", "acme"),))))
        run = write(redis_store, moving(run, leases={lease(run): 5}))
        write(redis_store, ending(run, released=[lease(run)], expire_at=1))
    assert sum(removed(redis_store, n, 100) for n in range(8)) == 40
    with server.client() as client:
        left = {row_of(key).pattern for key in client.scan_iter()}
        assert left == {"plan:<fingerprint>", "plans", "sets"}
        assert sum(redis_store.remove_plans(n, 1) for n in range(8)) == 8
        assert {row_of(key).pattern for key in client.scan_iter()} == {"sets"}


def test_a_shard_never_changes() -> None:
    """Where a run lives is fixed for ever: these answers must not change."""
    assert [shard_of(f"order-{n}", 8) for n in range(6)] == [1, 7, 5, 3, 0, 6]
    assert shard_of("Grüße ☕", 1024) == 468


def test_shards_are_filled_evenly() -> None:
    """No shard holds much more than its share."""
    sizes = [0] * 8
    for n in range(8000):
        sizes[shard_of(f"order-{n}", 8)] += 1
    assert max(sizes) < 1200


def test_a_cluster_accepts_everything(server: RedisServer, tmp_path: Path) -> None:
    """On a cluster node, which refuses scripts over several slots, all of it works."""
    if server.version < (7, 0):
        pytest.skip("needs a cluster port of one's own: Redis 7")
    options: dict[str, str | int] = {"cluster-enabled": "yes", "cluster-port": free_port()}
    with RedisServer(tmp_path / "node", options=options) as node, node.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        end = time.monotonic() + 20
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            assert time.monotonic() < end, "the cluster did not come up"
            time.sleep(0.02)
        store = RedisStore(node.url)
        live(store)
        assert len(due(store, "order-2")) == 2
        assert store.renew([lease(a_run(f"order-{n}")) for n in range(0, 40, 2)], 5) == set()
        assert sum(store.counts().values()) == 40
        store.close()
