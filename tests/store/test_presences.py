"""The contract of a store, about its workers: signs of life, and the connections they come over.

Owns: both stores, and what only Redis can do: close connections, start anew, refuse to tell.
Refuses to know: who counts as dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.errors import StoreError
from celeriac.store import Connected, Due, Worker
from celeriac.store.memory import MemoryStore
from celeriac.store.redis import RedisStore
from tests.processes import until
from tests.store.runs import a_run, lease, moving, now, same_shard, starting, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.store import Presence, Store
    from tests.redis_server import RedisServer

ANNA = Worker("Anna_1", "here", 7, 8, 15_000)
OTTO = Worker("Otto_2", "there", 9, 10, 60_000)
FAR = 10**6  # ms


def presence(store: Store, worker: Worker = ANNA) -> Presence:
    """What is known of a worker."""
    return next(each for each in store.presences.known()[1] if each.worker == worker)


def cut(store: Store, link: int) -> None:
    """Close a connection, as a server does whose client is gone, or that was told to."""
    if isinstance(store, MemoryStore):
        store.presences.links.discard(link)
    else:
        assert isinstance(store, RedisStore)
        # The key leads to the server that gave the number, in a cluster.
        key = store._keys.shards[0].workers
        killed, _ = store._redis.ask_all((("CLIENT", "KILL", "ID", link), ("EXISTS", key)))
        assert killed == 1


def test_a_worker_is_known_by_its_newest_sign(store: Store) -> None:
    """When it came is told by the clock of the store, and it comes over one connection."""
    before = now(store)
    store.presences.announce(ANNA)
    first = presence(store)
    store.presences.announce(OTTO)
    store.presences.announce(ANNA)
    time, known = store.presences.known()
    assert sorted(each.worker for each in known) == [ANNA, OTTO]
    second = presence(store)
    assert before <= first.since <= first.seen <= second.seen <= time
    assert second._replace(seen=first.seen) == first
    assert not second.silent
    assert not second.died


def test_a_connection_stands_until_it_is_closed(store: Store) -> None:
    """The store says which connections stand; a worker that lost its own speaks over another."""
    store.presences.announce(ANNA)
    first = presence(store)
    found = store.presences.connected([first.link, first.link + 1_000])
    assert found == (first.server, frozenset((first.link,)))
    cut(store, first.link)
    until(lambda: not store.presences.connected([first.link]).links, "it is closed there as well")
    store.presences.announce(ANNA)
    second = presence(store)
    assert second.link > first.link
    assert second.since >= first.seen
    assert store.presences.connected([first.link, second.link]).links == {second.link}


def test_what_was_found_out_is_kept_until_the_next_sign(store: Store) -> None:
    """A sweep notes what it saw; nothing is noted over a newer sign of life."""
    store.presences.announce(ANNA)
    old = presence(store)
    assert store.presences.note(old, old._replace(silent=True))
    assert store.presences.note(old, old._replace(silent=True, died=17))
    assert presence(store) == old._replace(silent=True, died=17)
    while presence(store).seen == old.seen:  # a millisecond
        store.presences.announce(ANNA)
    assert not store.presences.note(old, old._replace(died=18))
    assert not store.presences.note(old, None)
    new = presence(store)
    assert not new.died
    assert store.presences.note(new, None)
    assert not store.presences.note(new, new)
    assert store.presences.known()[1] == []


def test_a_worker_that_ends_is_forgotten(store: Store) -> None:
    """Whoever ends well says so; saying it twice does nothing."""
    store.presences.announce(ANNA)
    store.presences.announce(OTTO)
    for _ in range(2):
        store.presences.withdraw(ANNA.id)
    assert [each.worker for each in store.presences.known()[1]] == [OTTO]


def test_what_comes_is_read_in_order_and_bit_by_bit(store: Store) -> None:
    """Entries of the wake index are found before their time: timers, and leases that are live."""
    first, second, third = same_shard(store, 3)
    time = now(store)
    run = write(store, starting(a_run(first), wake_at=time - 5))
    write(store, moving(run, time - 5, leases={lease(run): time + FAR // 2}))
    write(store, starting(a_run(second), wake_at=time + FAR))
    write(store, starting(a_run(third), wake_at=time + 3 * FAR))
    expected = [
        Due(first, time - 5, None),
        Due(first, time + FAR // 2, lease(run)),
        Due(second, time + FAR, None),
    ]
    assert list(store.coming(0, 2 * FAR, 0, 10)) == expected
    assert list(store.coming(0, 2 * FAR, 0, 2)) == expected[:2]
    assert list(store.coming(0, 2 * FAR, 2, 10)) == expected[2:]
    assert list(store.coming(1, 2 * FAR, 0, 10)) == []


# --- Redis ---------------------------------------------------------------------------------------


def test_a_server_that_was_started_anew_is_another(
    own_server: RedisServer, own_store: RedisStore
) -> None:
    """It gives the same numbers again: they are told apart by which run of the server it is."""
    own_store.presences.announce(ANNA)
    before = presence(own_store)
    own_server.restart()
    assert own_store.presences.connected([before.link]).server != before.server
    own_store.presences.announce(ANNA)
    after = presence(own_store)
    assert after.server != before.server
    assert after.seen > before.seen


def test_scripts_that_were_flushed(server: RedisServer, redis_store: RedisStore) -> None:
    """A server that has forgotten its scripts is told them again."""
    redis_store.presences.announce(ANNA)
    with server.client() as client:
        client.script_flush()
    redis_store.presences.announce(ANNA)
    assert presence(redis_store).worker == ANNA


@pytest.mark.parametrize("forbidden", ["client|id", "client|list", "info"])
def test_a_server_that_does_not_tell(own_server: RedisServer, forbidden: str) -> None:
    """Where connections cannot be told, that is an error of its own, and no worker is known."""
    with own_server.client() as client:
        client.acl_setuser(
            "mute",
            enabled=True,
            passwords=["+x"],
            keys=["*"],
            commands=["+@all", f"-{forbidden}"],
        )
    store = RedisStore(f"redis://mute:x@127.0.0.1:{own_server.port}/0")
    with pytest.raises(StoreError, match="ACL"):
        store.presences.announce(ANNA)
    assert store.presences.known()[1] == []
    store.close()


def test_what_is_none_of_ours_is_left_out(server: RedisServer, redis_store: RedisStore) -> None:
    """Whatever else is in the place of a worker is passed over."""
    redis_store.presences.announce(ANNA)
    with server.client() as client:
        for number, text in enumerate(("", "x", "5", "5 {}", "5 []", "5 [[1],2]", "x [[],0]")):
            client.hset("celeriac:{0}:workers", f"odd-{number}", text)
    assert [each.worker for each in redis_store.presences.known()[1]] == [ANNA]


def test_a_connection_that_is_closed_at_once(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is cut off while it looks for itself tries again: nobody hides anything."""
    links = redis_store.presences
    looked = links.connected
    seen: list[int] = []

    def cut_first(numbers: Sequence[int]) -> Connected:
        if not seen:
            cut(redis_store, numbers[0])
        seen.append(numbers[0])
        return looked(numbers)

    monkeypatch.setattr(links, "connected", cut_first)
    links.announce(ANNA)
    assert len(seen) == 2
    assert presence(redis_store).link == seen[1]


def test_a_proxy_that_hides_connections(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our own connection is not among those that stand, none can be told from the dead."""
    links = redis_store.presences
    monkeypatch.setattr(links, "connected", lambda _: Connected("another", frozenset()))
    with pytest.raises(StoreError, match="hides"):
        links.announce(ANNA)
