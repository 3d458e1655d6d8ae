"""The contract of a store, about commands for many runs: compared, committed, paged.

Owns: memory, Redis and a cluster.  Refuses to know: the commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.store import BulkRecord, Member, Turn

if TYPE_CHECKING:
    from celeriac.store import Store
    from celeriac.store.redis import RedisStore

RUNS = [Member(f"run-{n}", f"look {n}") for n in range(2_500)]


def record(name: str = "bulk-1", at: int = 1_000) -> BulkRecord:
    """A look at many runs."""
    return BulkRecord(id=name, verb="retry", about="status failed", matched=2_500, looked_at=at)


def test_a_look_is_kept_with_its_runs(store: Store) -> None:
    """However many there are, and in their order."""
    assert store.bulks.read("bulk-1") is None
    store.bulks.add(record(), RUNS)
    assert store.bulks.read("bulk-1") == record()
    assert store.bulks.members("bulk-1", 0, 3_000) == RUNS
    assert store.bulks.members("bulk-1", 2_400, 50) == RUNS[2_400:2_450]
    assert store.bulks.turns("bulk-1", 0, 50) == []
    assert store.bulks.going() == []


def test_it_is_written_if_nobody_was_faster(store: Store) -> None:
    """A refused commit adds no turn."""
    store.bulks.add(record(), RUNS[:2])
    going = record().altered(state="going", begun_at=7)
    assert store.bulks.commit(record(), going)
    assert store.bulks.going() == ["bulk-1"]
    turns = [Turn("run-0", "changed"), Turn("run-1", "refused", "past its pivot")]
    done = going.altered(state="done", changed=1, refused=1)
    assert not store.bulks.commit(record(), done, turns)
    assert store.bulks.commit(going, done, turns)
    assert store.bulks.turns("bulk-1", 0, 50) == turns
    assert store.bulks.turns("bulk-1", 1, 50) == turns[1:]
    assert store.bulks.going() == []


def test_old_ones_go_unless_they_are_going_on(store: Store) -> None:
    """The newest come first; nothing of an old one is left."""
    for n in range(4):
        store.bulks.add(record(f"bulk-{n}", at=n), RUNS[:1])
    assert store.bulks.commit(record("bulk-0", at=0), record("bulk-0", at=0).altered(state="going"))
    assert [each.id for each in store.bulks.newest(2)] == ["bulk-3", "bulk-2"]
    assert store.bulks.remove(3) == 2
    assert [each.id for each in store.bulks.newest(50)] == ["bulk-3", "bulk-0"]
    assert store.bulks.members("bulk-1", 0, 50) == []


def test_what_cannot_be_read_is_as_if_it_were_not_there(redis_store: RedisStore) -> None:
    """It keeps nobody from the others."""
    redis_store.bulks.add(record(), RUNS[:1])
    redis_store.bulks.add(record("bulk-2"), RUNS[:1])
    key = redis_store._keys.shards[0].bulk("bulk-1")
    redis_store._redis.ask("HSET", key, "h", '7 {"id":"bulk-1"}')
    assert redis_store.bulks.read("bulk-1") is None
    assert redis_store.bulks.newest(50) == [record("bulk-2")]
