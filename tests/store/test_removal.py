"""The contract of a store, sixth part: what may be removed, and only while nothing has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celeriac.machine import Node, Plan
from celeriac.machine.runs import RunStatus
from celeriac.store import Change, Expired
from celeriac.store.memory import MemoryStore
from celeriac.store.redis import RedisStore
from tests.store.runs import PLAN, a_run, ending, moving, now, same_shard, starting, write

if TYPE_CHECKING:
    from celeriac.machine.runs import Run
    from celeriac.store import Store
    from tests.redis_server import RedisServer

DAY = 86_400_000
OTHER = Plan(saga="place_order", nodes=(Node(name="reserve", task="shop.other"),))


def ended(store: Store, run_id: str = "order-42", expire_at: int | None = 1) -> Run:
    """A run at rest."""
    return write(store, ending(write(store, starting(a_run(run_id))), expire_at=expire_at))


def all_expired(store: Store) -> list[Expired]:
    """What has expired in all shards."""
    return [each for shard in range(store.shards) for each in store.expired(shard, 100)]


# --- runs --------------------------------------------------------------------------------------


def test_what_has_expired_is_told_as_it_is(store: Store) -> None:
    """The oldest first, each with its run and its time; nothing else is among them."""
    ids = same_shard(store, 6)
    runs = [
        ended(store, run_id, at) for run_id, at in zip(ids, (5, 3, 4, 10**14, None), strict=False)
    ]
    write(store, starting(a_run(ids[5])))
    assert store.expired(0, 10) == [Expired(runs[1], 3), Expired(runs[2], 4), Expired(runs[0], 5)]
    assert store.expired(0, 2) == [Expired(runs[1], 3), Expired(runs[2], 4)]
    assert store.expired(1, 10) == []


def test_a_run_that_changed_since_is_not_removed(store: Store) -> None:
    """Who works again, or is to be kept longer, stays, whatever was found before."""
    reopened, kept_on = ended(store, "reopened"), ended(store, "kept on")
    found = all_expired(store)
    write(store, moving(reopened, to=RunStatus.COMPENSATING))
    write(store, Change(kept_on, kept_on, (), None, expire_at=2))
    assert store.remove(found) == 0
    assert store.read(reopened.id).run is not None
    assert store.read(kept_on.id).run == kept_on
    assert store.remove(all_expired(store)) == 1


def test_a_run_may_be_removed_before_its_time(store: Store) -> None:
    """Without a time to compare, a run at rest goes if it is unchanged; one that works stays."""
    early, never = ended(store, "early", 10**14), ended(store, "never", None)
    live = write(store, starting(a_run("live")))
    stale = replace(early, version=early.version - 1)
    assert store.remove([Expired(stale, None), Expired(live, None)]) == 0
    assert store.remove([Expired(early, None), Expired(never, None)]) == 2
    assert store.read("live").run == live
    assert store.remove([Expired(early, None)]) == 0
    assert store.remove([]) == 0


def test_a_run_is_put_off(store: Store) -> None:
    """It expires later, unless somebody has changed that meanwhile."""
    later, changed = ended(store, "later"), ended(store, "changed")
    found = all_expired(store)
    write(store, Change(changed, changed, (), None, expire_at=2))
    store.put_off([(each, 60_000) for each in found])
    assert all_expired(store) == [Expired(changed, 2)]
    store.put_off([(Expired(later, None), 0)])
    assert {each.run.id for each in all_expired(store)} == {"later", "changed"}
    store.put_off([])


def test_an_entry_without_a_run_is_struck_off(server: RedisServer, redis_store: RedisStore) -> None:
    """What is in the index but gone, or at work, is not found a second time."""
    live, gone = same_shard(redis_store, 2)
    write(redis_store, starting(a_run(live)))
    with server.client() as client:
        expire = redis_store._keys.shards[0].expire
        client.zadd(expire, {live: 1, gone: 1})
        assert redis_store.expired(0, 10) == []
        assert client.zcard(expire) == 0
    assert redis_store.read(live).run is not None


def test_a_run_that_cannot_be_read_is_not_in_the_way(
    server: RedisServer, redis_store: RedisStore
) -> None:
    """It stays, and is looked at again in an hour; the others are found meanwhile."""
    spoilt, good = same_shard(redis_store, 2)
    ended(redis_store, spoilt, 1)
    run = ended(redis_store, good, 2)
    with server.client() as client:
        client.hset(redis_store._keys.of(spoilt).run(spoilt), "h", "[9]")
        assert redis_store.expired(0, 1) == []
        assert redis_store.expired(0, 1) == [Expired(run, 2)]
        again = client.zscore(redis_store._keys.shards[0].expire, spoilt)
    assert again == pytest.approx(now(redis_store) + 3_600_000, abs=60_000)


# --- plans -------------------------------------------------------------------------------------


def kept(store: Store, plan: Plan, shard: int) -> bool:
    """True if a plan is still stored in a shard."""
    if isinstance(store, RedisStore):
        key = store._keys.shards[shard].plan(plan.fingerprint)
        return bool(store._redis.ask("EXISTS", key))
    assert isinstance(store, MemoryStore)
    return plan.fingerprint in store._plans


def follow(store: Store, run_id: str, plan: Plan, started_at: int) -> Run:
    """A run at rest that follows *plan*."""
    run = a_run(run_id, started_at=started_at, plan=plan.fingerprint)
    return write(store, ending(write(store, starting(run, plan=plan)), expire_at=1))


def test_a_plan_nobody_follows_is_removed(store: Store) -> None:
    """Once the runs that may follow it are gone, and nobody has started it for long."""
    shard = store.shard_of("order-42")
    run = follow(store, "order-42", PLAN, now(store) - 3 * DAY)
    assert store.remove_plans(shard, DAY) == 0, "a run follows it"
    assert store.remove([Expired(run, None)]) == 1
    assert store.remove_plans(shard, 4 * DAY) == 0, "it was started not long ago"
    assert kept(store, PLAN, shard)
    assert store.remove_plans(shard, DAY) == 1
    assert store.remove_plans(shard, DAY) == 0
    assert not kept(store, PLAN, shard)


def test_a_plan_is_kept_for_as_long_as_any_run_may_follow_it(store: Store) -> None:
    """An older run of the saga, in whatever status, may follow the plan: then it stays."""
    old, new = same_shard(store, 2)
    shard, then = store.shard_of(old), now(store) - 9 * DAY
    first = follow(store, old, PLAN, then)
    follow(store, new, OTHER, then + 5 * DAY)
    first = write(store, moving(first, to=RunStatus.COMPENSATING))
    assert store.remove_plans(shard, DAY) == 0
    first = write(store, ending(first, RunStatus.FAILED))
    assert store.remove_plans(shard, DAY) == 0
    assert store.remove([Expired(first, None)]) == 1
    assert store.remove_plans(shard, DAY) == 1, "whoever is left started long after its last start"
    assert kept(store, OTHER, shard)


def test_a_plan_that_is_started_again_stays(store: Store) -> None:
    """The newest start counts, and brings back a plan that was removed."""
    first, again = same_shard(store, 2)
    shard = store.shard_of(first)
    run = follow(store, first, PLAN, now(store) - 9 * DAY)
    store.remove([Expired(run, None)])
    newer = follow(store, again, PLAN, now(store))
    store.remove([Expired(newer, None)])
    assert store.remove_plans(shard, DAY) == 0
    assert kept(store, PLAN, shard)
    assert store.remove_plans(shard, 0) == 1
    write(store, starting(a_run(first)))
    assert kept(store, PLAN, shard)


# --- turns -------------------------------------------------------------------------------------


def test_one_at_a_time_has_the_turn(store: Store) -> None:
    """A turn is had by one, for the one work, until it is given back."""
    assert store.try_lock("archive", 60_000)
    assert not store.try_lock("archive", 60_000)
    assert store.try_lock("plans", 60_000)
    store.unlock("archive")
    assert store.try_lock("archive", 60_000)


def test_a_turn_ends_by_itself(store: Store) -> None:
    """Whoever took it may have died."""
    assert store.try_lock("archive", 0)
    assert store.try_lock("archive", 0)


def test_a_turn_may_be_given_back_for_later(store: Store) -> None:
    """After a failure nobody is to try again at once, whoever it is."""
    assert store.try_lock("archive", 0)
    store.unlock("archive", 60_000)
    assert not store.try_lock("archive", 0)
