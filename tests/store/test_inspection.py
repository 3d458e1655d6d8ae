"""The contract of a store, fifth part: looking at all that is kept, and dropping an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.store import IndexedRun, UnreadableRun
from celeriac.store.redis import RedisStore
from tests.store.runs import a_run, due, ending, lease, moving, removed, starting, write

if TYPE_CHECKING:
    from celeriac.machine.runs import Run
    from celeriac.store import Store
    from tests.redis_server import RedisServer


def indexed_runs(store: Store) -> dict[str, IndexedRun]:
    """Every run there is, looked at three at a time."""
    found = {}
    for shard in range(store.shards):
        for each in store.indexed_runs(shard, 3):
            assert isinstance(each, IndexedRun)
            found[each.run.id] = each
    return found


def at_work(store: Store, run_id: str = "order-42") -> Run:
    """A run with an attempt at work."""
    run = write(store, starting(a_run(run_id)))
    return write(store, moving(run, 7, leases={lease(run): 5}))


def test_a_run_stands_as_it_was_written(store: Store) -> None:
    """A standing tells the run, its timer, its leases and when it may be removed."""
    run = at_work(store)
    standing = indexed_runs(store)[run.id]
    assert standing.run == run
    assert (standing.wake_at, standing.expire_at) == (7, None)
    assert (standing.listed, standing.planned) == (True, True)
    assert standing.now > 1_700_000_000_000
    ended = write(store, ending(run, released=[lease(run)], expire_at=9))
    standing = indexed_runs(store)[run.id]
    assert (standing.run, standing.wake_at, standing.expire_at) == (ended, None, 9)
    assert standing.leases == {}


def test_every_run_is_looked_at(store: Store) -> None:
    """However small the batches are, no run is missed, and one that is gone is not told."""
    for n in range(40):
        run = write(store, starting(a_run(f"order-{n}", tags=(("tenant", "acme"),))))
        write(store, ending(run, expire_at=1))
    assert len(indexed_runs(store)) == 40
    assert removed(store, 0, 100) > 0
    assert 0 < len(indexed_runs(store)) < 40


def test_every_entry_of_the_wake_index_is_told(store: Store) -> None:
    """Timers and leases are told with the run they speak of."""
    run = at_work(store)
    shard = store.shard_of(run.id)
    found = {entry.lease: entry for entry in store.entries(shard, 1) if entry.kind == "wake"}
    assert found.keys() == {None, lease(run)}
    assert all(entry.run == run for entry in found.values())


def test_an_entry_is_dropped_unless_its_run_has_gone_on(store: Store) -> None:
    """What was found is removed; not if the run has changed since."""
    run = at_work(store)
    shard = store.shard_of(run.id)
    [entry] = [e for e in store.entries(shard) if e.kind == "wake" and e.lease is None]
    run = write(store, moving(run, 9))
    assert not store.drop(entry)
    assert [each.at for each in due(store, run.id) if each.lease is None] == [9]
    [entry] = [e for e in store.entries(shard) if e.kind == "wake" and e.lease is None]
    assert store.drop(entry)
    assert [each for each in due(store, run.id) if each.lease is None] == []


def test_what_cannot_be_read_is_told(server: RedisServer, redis_store: RedisStore) -> None:
    """A head that is not ours does not hide the others, nor end the walk."""
    for n in range(9):
        write(redis_store, starting(a_run(f"order-{n}")))
    with server.client() as client:
        client.hset(redis_store._keys.of("order-3").run("order-3"), "h", "{}")
    found = [each for n in range(8) for each in redis_store.indexed_runs(n, 2)]
    assert [each.run_id for each in found if isinstance(each, UnreadableRun)] == ["order-3"]
    assert len(found) == 9


def test_a_namespace_may_hold_any_character(server: RedisServer) -> None:
    """What SCAN takes for a pattern is only a name here."""
    store = RedisStore(server.url, namespace="shop[1]*?\\", shards=1)
    run = write(store, starting(a_run()))
    assert indexed_runs(store)[run.id].run == run
    store.close()
