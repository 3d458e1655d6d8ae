"""What only Redis can do to a store: lose scripts, be full, be used by others, be gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis

from celeriac.errors import StoreError, StoreFull
from celeriac.machine import Node, Plan
from celeriac.store import Change, Query
from celeriac.store.commit import spell_change, spell_removal
from celeriac.store.connecting import connection_to
from celeriac.store.keys import Keys
from celeriac.store.redis import RedisStore
from celeriac.store.scripts import COMMIT, Script, Scripts
from tests.processes import until
from tests.store.runs import (
    PLAN,
    a_run,
    due,
    ending,
    lease,
    moving,
    removed,
    same_shard,
    starting,
    write,
)
from tests.store.test_rest import Waiting

if TYPE_CHECKING:
    from tests.redis_server import RedisServer


def everything(server: RedisServer) -> dict[bytes, bytes | None]:
    """All keys, each with what it holds."""
    with redis.Redis(port=server.port, protocol=2) as client:
        return {key: client.dump(key) for key in sorted(client.scan_iter())}


# --- scripts -----------------------------------------------------------------------------------


def test_a_flushed_script_cache_is_healed(server: RedisServer, redis_store: RedisStore) -> None:
    """Every script is loaded again when the server has forgotten it, and runs once."""
    with server.client() as client:
        client.script_flush()
        run = write(redis_store, starting(a_run(), wake_at=1, leases={lease(a_run()): 2}))
        client.script_flush()
        run = write(redis_store, moving(run, 1))
        client.script_flush()
        assert redis_store.renew([lease(run), lease(run, 2)], 60_000) == {lease(run, 2)}
        client.script_flush()
        redis_store.pulse(1000, outage_ms=50)
        client.script_flush()
        redis_store.postpone({due(redis_store, run.id)[0]: 7})
    assert [entry.at for entry in due(redis_store, run.id)] == [7]
    assert len(redis_store.due(7, 1).pulse.outages) == 1
    assert len(redis_store.history(run.id)) == 2


def test_a_server_that_knows_no_flags_gets_the_plain_script(server: RedisServer) -> None:
    """Where the first line of a script cannot be read, the script runs without it."""
    script = Script("commit.lua")
    script.beyond_full = "#!lua flags=no-such-flag\n" + script.plain
    script.beyond_full_digest = "0" * 40
    connection = connection_to(server.url)
    call = spell_change(Keys("celeriac", 8).of("order-42"), starting(a_run()), lambda _: "{}")
    scripts = Scripts(connection)
    assert scripts.run(script, call) == 1
    assert scripts.run(script, call) == 0
    connection.close()


def test_read_and_commit_are_one_round_trip_each(
    server: RedisServer, redis_store: RedisStore
) -> None:
    """A transition costs Redis three commands in two round trips, and no retries."""
    run = write(redis_store, starting(a_run(), fields={"input": "1"}))
    write(redis_store, moving(run))
    with server.client() as client:
        client.config_resetstat()
        found = redis_store.read(run.id, ["input"]).run
        assert found
        write(redis_store, moving(found))
        calls = {
            name.removeprefix("cmdstat_"): stats["calls"]
            for name, stats in client.info("commandstats").items()
        }
    assert calls["evalsha"] == calls["hmget"] == 1
    assert not {"exec", "eval", "get", "watch", "script|load"} & set(calls)


# --- memory full -------------------------------------------------------------------------------


def fill(server: RedisServer) -> None:
    """Make *server* as full as it can be."""
    with server.client() as client:
        client.set("ballast", "x" * 2**21)
        client.config_set("maxmemory", "2mb")


def test_a_start_is_refused_when_memory_is_full(
    own_server: RedisServer, own_store: RedisStore
) -> None:
    """A refused start raises StoreFull, which says what to do, and leaves no key behind."""
    fill(own_server)
    before = everything(own_server)
    with pytest.raises(StoreFull, match="saga_retention"):
        own_store.commit(starting(a_run(tags=(("a", "b"),)), fields={"input": "1"}))
    assert everything(own_server) == before
    assert own_store.read("order-42").run is None


def test_a_fresh_start_is_refused_when_memory_is_full(
    own_server: RedisServer, own_store: RedisStore
) -> None:
    """A run that cannot be replaced stays as it was, to the byte."""
    run = write(own_store, starting(a_run(tags=(("a", "b"),)), fields={"input": "1"}))
    ended = write(own_store, ending(run, expire_at=5))
    fill(own_server)
    before = everything(own_server)
    with pytest.raises(StoreFull):
        own_store.commit(
            starting(replace(run, epoch=2, version=9), before=ended, fresh=True, fields={"x": "y"})
        )
    assert everything(own_server) == before


def test_runs_in_flight_drain_when_memory_is_full(
    own_server: RedisServer, own_store: RedisStore
) -> None:
    """Commits, renewals, sweeps, pulses, waits and removals go on at `maxmemory`."""
    if own_server.version < (7, 0):
        pytest.skip("needs script flags: Redis 7")
    run = write(own_store, starting(a_run(), wake_at=1))
    fill(own_server)
    run = write(own_store, moving(run, 1, leases={lease(run): 2}, fields={"out": "x" * 5_000}))
    own_store.pulse(1000, outage_ms=7)
    assert len(own_store.due(0, 1).pulse.outages) == 1
    own_store.postpone({due(own_store, run.id)[0]: 5})
    assert own_store.renew([lease(run)], 60_000) == set()
    own_store.lapse([lease(run)])
    assert {entry.lease for entry in due(own_store, run.id)} == {None, lease(run)}
    waiting = Waiting(own_store, run.id)
    run = write(own_store, ending(run, released=[lease(run)], expire_at=1))
    assert waiting.end()
    assert own_store.find(Query()).runs == [run]
    assert removed(own_store, own_store.shard_of(run.id), 1) == 1


def test_without_flags_a_full_memory_changes_nothing(
    own_server: RedisServer, own_store: RedisStore
) -> None:
    """On Redis 6.2 commits are refused too when memory is full, and leave all keys alone."""
    run = write(own_store, starting(a_run()))
    own_store._scripts._flags = False
    fill(own_server)
    before = everything(own_server)
    with pytest.raises(StoreFull):
        own_store.commit(ending(run, fields={"out": "1"}, expire_at=5))
    assert everything(own_server) == before


# --- removing ----------------------------------------------------------------------------------


def test_a_run_whose_time_was_put_off_is_not_removed(redis_store: RedisStore) -> None:
    """Who found a run expired removes it only if it is still to be removed at that time."""
    run = write(redis_store, ending(write(redis_store, starting(a_run())), expire_at=1))
    keys = redis_store._keys.of(run.id)
    found = spell_removal(keys, run.id, run, 1)
    write(redis_store, Change(run, run, (), None, expire_at=2))
    assert redis_store._scripts.run(COMMIT, found) == 0
    assert redis_store.read(run.id).run == run
    assert redis_store._scripts.run(COMMIT, spell_removal(keys, run.id, run, 2)) == 1
    assert redis_store.read(run.id).run is None


# --- keys of others ----------------------------------------------------------------------------

TOUCHED = spell_change(
    Keys("celeriac", 8).of("order-42"),
    starting(
        a_run(tags=(("a", "b"),)), expire_at=5, claimed=("bank", 5), leases={lease(a_run()): 5}
    ),
    lambda _: "{}",
).keys


@pytest.mark.parametrize("key", TOUCHED)
def test_a_foreign_key_fails_a_commit_without_a_trace(
    server: RedisServer, redis_store: RedisStore, key: str
) -> None:
    """If any key holds something else, the commit raises StoreError and all keys stay (I12)."""
    with server.client() as client:
        if ":plan:" in key:
            client.rpush(key, "not ours")
        else:
            client.set(key, "not ours")
    before = everything(server)
    change = starting(
        a_run(tags=(("a", "b"),)), expire_at=5, claimed=("bank", 5), leases={lease(a_run()): 5}
    )
    with pytest.raises(StoreError, match="saga_namespace"):
        redis_store.commit(change)
    assert everything(server) == before


def test_a_user_who_may_not_publish_leaves_no_trace(
    own_server: RedisServer, own_store: RedisStore
) -> None:
    """An ACL that forbids the last part of a commit forbids all of it (F7)."""
    run = write(own_store, starting(a_run()))
    with own_server.client() as client:
        client.acl_setuser(
            "worker",
            enabled=True,
            passwords=["+pw"],
            categories=["+@all"],
            keys=["*"],
            reset_channels=True,
        )
    url = own_server.url.replace("127.0.0.1", "worker:pw@127.0.0.1")
    store = RedisStore(url)
    write(store, moving(run))
    before = everything(own_server)
    found = store.read(run.id).run
    assert found
    with pytest.raises(StoreError, match="ACL"):
        store.commit(ending(found, fields={"out": "1"}, expire_at=5))
    assert everything(own_server) == before
    store.close()


def test_foreign_entries_do_not_stop_a_sweep(server: RedisServer, redis_store: RedisStore) -> None:
    """What does not belong into the wake index is removed, and what is due is found."""
    run = write(redis_store, starting(a_run(), wake_at=9))
    foreign = ["", "a\x1fb", "\x1f\x1f\x1f", b"\xff\xfe\x1f"]
    ends = ("do\x1fx", "go\x1f1", "do\x1f-1", "do\x1f")
    foreign += [f"order-42\x1fcharge\x1f{end}" for end in ends]
    with server.client() as client:
        wake = redis_store._keys.of(run.id).wake
        client.zadd(wake, dict.fromkeys(foreign, 5))
        client.zadd(wake, {"minus": float("-inf"), "plus": float("inf"), b"\xff\xfe": 8})
        until(lambda: due(redis_store, run.id, limit=2))
        assert client.zcard(wake) == 3
    found = redis_store.due(redis_store.shard_of(run.id), 10).due
    # Bytes that are no text may still be somebody's id.
    assert [entry.run_id for entry in found] == ["\udcff\udcfe", run.id]


# --- plans, and what is newer ------------------------------------------------------------------


def test_a_plan_that_is_kept_stays_as_it_is(server: RedisServer, redis_store: RedisStore) -> None:
    """No process overwrites a plan that another has stored."""
    first, second = same_shard(redis_store, 2)
    write(redis_store, starting(a_run(first)))
    evil = Plan(saga="place_order", nodes=(Node(name="evil", task="evil"),))
    evil.__dict__["fingerprint"] = PLAN.fingerprint
    other = RedisStore(server.url)
    write(other, starting(a_run(second), plan=evil))
    assert other.plan(second, PLAN.fingerprint) == PLAN
    other.close()


def test_a_plan_is_read_once(server: RedisServer, redis_store: RedisStore) -> None:
    """Plans never change: a process reads each of them once."""
    run = write(redis_store, starting(a_run()))
    redis_store.plan(run.id, PLAN.fingerprint)
    with server.client() as client:
        client.flushall()
    assert redis_store.plan(run.id, PLAN.fingerprint) == PLAN


def test_a_run_of_a_newer_version_is_told_and_kept(
    server: RedisServer, redis_store: RedisStore
) -> None:
    """A head that cannot be read raises StoreError; removing others goes on, without it."""
    newer, old = same_shard(redis_store, 2)
    for run_id in (newer, old):
        run = write(redis_store, starting(a_run(run_id)))
        write(redis_store, ending(run, expire_at=1))
    with server.client() as client:
        client.hset(redis_store._keys.of(newer).run(newer), "h", "[9]")
    with pytest.raises(StoreError, match="newer version"):
        redis_store.read(newer)
    assert removed(redis_store, 0, 10) == 1
    with pytest.raises(StoreError, match="newer version"):
        redis_store.read(newer)
