"""The contract of a store, about schedules: compared, committed, read by many.

Owns: memory, Redis and a cluster.  Refuses to know: the rules of schedules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.scheduling import Definition, Interval, Record, TickEvent, TickEventKind
from celeriac.store import UnreadableSchedule
from tests.store.runs import now

if TYPE_CHECKING:
    from celeriac.store import Store
    from celeriac.store.redis import RedisStore

EVENT = TickEvent(5, TickEventKind.STARTED, 5, "nightly-x")


def record(name: str = "nightly") -> Record:
    """What is known of a schedule that was just created."""
    definition = Definition(saga="close", timetable=Interval(period=1000), catch_up=1000)
    return Record(name=name, definition=definition, born=1, confirmed=1, last=1)


def test_a_record_is_kept_if_nobody_was_faster(store: Store) -> None:
    """Also when it is new; a refused one leaves no event."""
    first = record()
    assert store.schedules.commit(None, first, [EVENT])
    assert not store.schedules.commit(None, first, [EVENT])
    second = first.changed(last=2)
    assert store.schedules.commit(first, second, [])
    assert not store.schedules.commit(first, first.changed(last=3), [EVENT])
    _, found = store.schedules.read(("nightly", "other"))
    assert found == {"nightly": second}
    assert store.schedules.history("nightly") == [EVENT]


def test_many_are_read_at_once_with_the_time(store: Store) -> None:
    """In any shard; their names are known."""
    names = [f"schedule-{n}" for n in range(20)]
    for name in names:
        assert store.schedules.commit(None, record(name), [])
    time, found = store.schedules.read(names)
    assert list(found) == names
    assert abs(time - now(store)) < 10_000
    assert store.schedules.names() == sorted(names)
    assert store.schedules.history("nobody") == []


def test_the_newest_events_are_kept(store: Store) -> None:
    """However many there were."""
    found = record()
    assert store.schedules.commit(None, found, [])
    events = [TickEvent(n, TickEventKind.STARTED) for n in range(250)]
    assert store.schedules.commit(found, found.changed(last=2), events)
    assert [each.at for each in store.schedules.history("nightly")] == [*range(50, 250)]


def test_what_cannot_be_read_is_told(redis_store: RedisStore) -> None:
    """It keeps nobody from the others."""
    assert redis_store.schedules.commit(None, record(), [])
    key = redis_store._keys.of("broken").schedule("broken")
    redis_store._redis.ask("HSET", key, "h", '1 {"name":"broken"}')
    _, found = redis_store.schedules.read(("broken", "nightly"))
    assert found["nightly"] == record()
    assert found["broken"] == UnreadableSchedule("broken", "definition: Field required")
