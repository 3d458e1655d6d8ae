"""The repair tool proves that everything fits together, and mends what does not (I13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine.engine import Engine
from celeriac.engine.repair import FAULTS, Repair
from celeriac.store.keys import member, pair
from celeriac.store.redis import RedisStore
from tests.durability.load import Load
from tests.durability.shop import PLAN, Ledger, Shop
from tests.engine.driver import LEASE, TERMS
from tests.model.expected import stored
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from celeriac.machine.runs import Run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all of these."""
    with RedisServer(tmp_path_factory.mktemp("repair")) as found:
        yield found


@pytest.fixture
def shop(server: RedisServer) -> Iterator[Shop]:
    """Runs in every state: just started, at work in both directions, completed, undone."""
    with server.client() as client:
        client.flushall()
    found = Shop(server, Ledger())
    for name in ("done", "undone"):
        found.start(f"{name}-1")
    found.work()
    found.cancel("undone-1")
    found.work()
    for name in ("work", "back"):
        found.start(f"{name}-1")
        assert found.claim()
    found.cancel("back-1")
    found.start("new-1")
    yield found
    found.close()


def repaired(shop: Shop, *, dry_run: bool = False) -> set[tuple[str, str, bool]]:
    """What a repair finds, and whether it mends it."""
    found = Repair(shop.engine, batch=2).run(dry_run=dry_run).faults
    return {(fault.run_id, fault.what, fault.mended) for fault in found}


def by_name(shop: Shop) -> dict[str, Run]:
    """The runs, by what they are called."""
    return {run.id.partition("-")[0]: run for run in shop.runs()}


def test_what_commits_leave_behind_fits_together(shop: Shop, server: RedisServer) -> None:
    """On a sound store there is nothing to mend, and nothing is touched."""
    with server.client() as client:
        before = stored(client, shop.store._keys)
        done = Repair(shop.engine, batch=2).run()
        assert (done.looked_at, done.faults) == (5, ())
        assert stored(client, shop.store._keys) == before


def entries(shop: Shop) -> list[tuple[str, str, str]]:
    """Every derived entry there is: index, member, and what it is called if it is missing."""
    found: list[tuple[str, str, str]] = []
    for run in shop.runs():
        keys = shop.store._keys.of(run.id)
        entry = member(run.started_at, run.id)
        found.append((keys.runs(pair(run)), entry, "not listed"))
        found += [(keys.tag(name, value), entry, "not listed") for name, value in run.tags]
        if run.status.at_rest:
            found.append((keys.expire, run.id, "kept for ever"))
        else:
            found.append((keys.wake, run.id, "asleep"))
        if run.id in ("work-1", "back-1"):
            found.append((keys.wake, f"{run.id}\x1freserve\x1fdo\x1f1", "lease missing"))
    return found


def test_whatever_is_missing_is_put_back(shop: Shop, server: RedisServer) -> None:
    """Any one entry of an index that is lost is found, seen by a dry run, and written again."""
    with server.client() as client:
        whole = stored(client, shop.store._keys)
        for index, entry, what in entries(shop):
            assert client.zrem(index, entry) == 1
            assert {(f, m) for _, f, m in repaired(shop, dry_run=True)} == {(what, False)}
            assert client.zscore(index, entry) is None
            assert {(f, m) for _, f, m in repaired(shop)} == {(what, True)}
            assert stored(client, shop.store._keys) == whole, (index, entry)
            assert repaired(shop) == set()


def test_an_index_that_is_lost_is_made_again(shop: Shop, server: RedisServer) -> None:
    """Any index may be deleted as a whole: it is derived from the runs."""
    with server.client() as client:
        whole = stored(client, shop.store._keys)
        derived = [
            key for key in whole if key.split(":")[2] in ("wake", "runs", "sets", "tag", "expire")
        ]
        assert len(derived) > 10
        for key in derived:
            client.delete(key)
            assert repaired(shop)
            held = stored(client, shop.store._keys)
            sets = {k for k in whole if k.endswith(":sets")}  # pairs that are no more stay away
            assert {k: v for k, v in held.items() if k not in sets} == {
                k: v for k, v in whole.items() if k not in sets
            }
            assert repaired(shop) == set()


STRAYS: dict[str, Callable[[Shop, redis.Redis], Any]] = {
    "awake at rest": lambda shop, client: client.zadd(
        shop.store._keys.of("done-1").wake, {"done-1": 5}
    ),
    "lease left behind": lambda shop, client: client.zadd(
        shop.store._keys.of("work-1").wake, {"work-1\x1freserve\x1fdo\x1f7": 5}
    ),
    "without a run": lambda shop, client: client.zadd(
        shop.store._keys.of("nobody").wake, {"nobody": 5}
    ),
    "listed wrongly": lambda shop, client: client.zadd(
        shop.store._keys.of("done-1").runs("place_order:failed"),
        {member(by_name(shop)["done"].started_at, "done-1"): 0},
    ),
    "removed too early": lambda shop, client: client.zadd(
        shop.store._keys.of("work-1").expire, {"work-1": 5}
    ),
}


@pytest.mark.parametrize("what", STRAYS)
def test_what_does_not_belong_is_removed(shop: Shop, server: RedisServer, what: str) -> None:
    """An entry that should not be there is found, seen by a dry run, and removed."""
    with server.client() as client:
        whole = stored(client, shop.store._keys)
        STRAYS[what](shop, client)
        assert {(f, m) for _, f, m in repaired(shop, dry_run=True)} == {(what, False)}
        assert {(f, m) for _, f, m in repaired(shop)} == {(what, True)}
        assert stored(client, shop.store._keys) == whole
        assert repaired(shop) == set()


LOSSES: dict[str, Callable[[Shop, redis.Redis], Any]] = {
    "unreadable": lambda shop, client: client.hset(
        shop.store._keys.of("work-1").run("work-1"), "h", "[1,2"
    ),
    "plan lost": lambda shop, client: client.delete(
        shop.store._keys.of("work-1").plan(PLAN.fingerprint)
    ),
    "history differs": lambda shop, client: client.rpop(
        shop.store._keys.of("work-1").log("work-1")
    ),
}


@pytest.mark.parametrize("what", LOSSES)
def test_what_is_lost_is_reported(shop: Shop, server: RedisServer, what: str) -> None:
    """What a run has lost of itself cannot be made up: it is told, and left alone."""
    with server.client() as client:
        LOSSES[what](shop, client)
        before = client.dump(shop.store._keys.of("work-1").run("work-1"))
        assert ("work-1", what, False) in repaired(shop)
        assert {f for _, f, _ in repaired(shop)} == {what}
        assert client.dump(shop.store._keys.of("work-1").run("work-1")) == before


def test_a_run_that_is_gone_leaves_no_entries(shop: Shop, server: RedisServer) -> None:
    """Where only the run itself was deleted, what speaks of it is removed."""
    with server.client() as client:
        client.delete(shop.store._keys.of("work-1").run("work-1"))
        assert {f for _, f, _ in repaired(shop)} == {"without a run"}
        assert repaired(shop) == set()
        held = stored(client, shop.store._keys)
    left = [key for key, value in held.items() if "work-1" in str(value)]
    assert left == [shop.store._keys.of("work-1").log("work-1")]  # for whoever wants to know


def test_a_run_that_was_asleep_comes_to_rest(shop: Shop, server: RedisServer) -> None:
    """After the repair the sweep finds what it had lost: everything goes on."""
    with server.client() as client:
        for shard in shop.store._keys.shards:
            client.delete(shard.wake)
    shop.post.waiting.clear()
    shop.pass_time(10 * LEASE)
    assert not shop.post.waiting, "nobody can know of them"
    assert {f for _, f, _ in repaired(shop)} == {"asleep", "lease missing"}
    runs = shop.bring_to_rest()
    assert len(runs) == 5
    shop.check_books(runs)


def test_runs_that_go_on_meanwhile_are_no_fault(server: RedisServer) -> None:
    """On a store that is written to all the time nothing is found, and nothing goes wrong."""
    with server.client() as client:
        client.flushall()
    load, store = Load(server.url, pause=0.02), RedisStore(server.url, shards=2)
    engine = Engine(store, TERMS)
    with load.running():
        load.wait_for(50)
        for _ in range(3):
            assert Repair(engine, batch=10).run(dry_run=True).faults == ()
            assert Repair(engine, batch=10).run().faults == ()
            load.wait_for(20)
    assert load.refusals == 0
    assert load.lost().writes == 0
    store.close()


def test_every_fault_is_tried(shop: Shop) -> None:
    """No fault is known that these tests do not make."""
    made = {*STRAYS, *LOSSES, *(what for _, _, what in entries(shop))}
    assert made == set(FAULTS)
