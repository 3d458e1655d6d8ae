"""What only a cluster can do to a store: lose a node, move a slot, have several clocks.

Owns: that each command finds its node, and that a node that is away is in nobody's way but that of
its own shards.  Refuses to know: what every store promises (`test_commit` and the others).
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from celeriac.engine.engine import Engine
from celeriac.errors import StoreError, StoreUnavailable
from celeriac.store import Connected, Query, Worker, wait_for_rest
from celeriac.store.keys import Keys
from celeriac.store.redis import RedisStore
from celeriac.store.slots import SLOTS, SlotMap, guides_of, slot_of, slot_of_command
from tests.engine.driver import TERMS
from tests.house.sources import ROOT
from tests.processes import until
from tests.store.runs import a_run, due, ending, lease, moving, starting, write
from tests.store.test_rest import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.machine import Run
    from tests.cluster import Cluster
    from tests.redis_server import RedisServer

KEYS = Keys("celeriac", 8).shards
WAKES = [keys.wake for keys in KEYS]


def live(store: RedisStore, count: int = 16, **values: object) -> list[Run]:
    """Some runs that go on, in all shards, each with a live attempt."""
    made = [write(store, starting(a_run(f"order-{n}"), wake_at=1, **values)) for n in range(count)]
    assert {store.shard_of(run.id) for run in made} == set(range(8))
    return [write(store, moving(run, 1, leases={lease(run): 5})) for run in made]


def parted(store: RedisStore, cluster: Cluster, node: RedisServer) -> tuple[set[int], set[int]]:
    """The shards of a node, and all others."""
    own = {n for n in range(store.shards) if cluster.owner(WAKES[n]) is node}
    return own, set(range(store.shards)) - own


@contextmanager
def stopped(node: RedisServer) -> Iterator[None]:
    """A node that answers nobody, although it is there."""
    os.kill(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.pid, signal.SIGCONT)


# --- whither -------------------------------------------------------------------------------------


def test_a_command_without_a_key_goes_with_its_neighbour() -> None:
    """TIME is asked of the node whose runs are read then; a scan goes where its pattern leads."""
    one, two = WAKES[1], WAKES[2]
    asked = (("TIME",), ("ZCARD", one), ("TIME",), ("EVALSHA", "x", 1, two, 5), ("PING",))
    assert guides_of(asked) == [1, 1, 3, 3, 3]
    assert [slot_of_command(each) for each in asked[1::2]] == [slot_of(one), slot_of(two)]
    scan = ("SCAN", "0", "MATCH", KEYS[2].prefix + "a\\*b*")
    assert slot_of_command(scan) == slot_of(two)
    assert guides_of((("PING",),)) == [None]


def test_a_node_without_a_name_is_where_it_was_asked() -> None:
    """Behind a proxy or with unknown endpoints, a node tells ports only."""
    asked = next(iter(SlotMap([[0, 9, ["h", 1, "id"]]], None).nodes))  # type: ignore[arg-type]
    found = SlotMap([[0, 5, [None, 7, "id"], ["", 8, "id"]], [6, SLOTS - 1, ["a", 1, "i"]]], asked)
    assert (found.node_of(5), found.node_of(6)) == (("h", 7), ("a", 1))
    assert found.primaries == {("h", 7), ("a", 1)}
    assert found.nodes == {("h", 7), ("h", 8), ("a", 1)}


def test_one_node_is_enough_to_find_the_others(cluster: Cluster) -> None:
    """Those that are named in the URL may be away, but for one; it connects when first used."""
    port = cluster.nodes[-1].port  # a replica
    store = RedisStore(f"redis+cluster://127.0.0.1:1,127.0.0.1:{port}")
    assert len(live(store)) == 16
    assert sum(store.counts().values()) == 16
    store.close()
    gone = RedisStore("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"the cluster 127\.0\.0\.1:1,127"):
            gone.read("order-1")
    gone.close()


def test_a_plain_url_says_what_to_write(cluster: Cluster) -> None:
    """Who names a node as if it were a server is told of the other spelling."""
    store = RedisStore(cluster.nodes[0].url)
    with pytest.raises(StoreError, match=r"write redis\+cluster://"):
        live(store)
    store.close()


# --- slots that move -----------------------------------------------------------------------------


def test_a_slot_moves_while_it_is_used(cluster: Cluster, cluster_store: RedisStore) -> None:
    """Before, in the middle of and after a move, what is asked is done once, or is unavailable."""
    runs = {run.id: run for run in live(cluster_store)}
    wake = WAKES[cluster_store.shard_of("order-3")]
    slot, owner = slot_of(wake), cluster.owner(wake)
    target = next(node for node in cluster.primaries() if node is not owner)
    cluster.begin_move(slot, target)
    waited = 0
    while cluster.move_keys(slot, owner, target, 2):
        for run_id, run in runs.items():
            try:
                runs[run_id] = write(cluster_store, moving(run, 1))
            except StoreUnavailable:  # TRYAGAIN: its keys are at two nodes
                waited += 1
                assert cluster_store.read(run_id).run == run
    cluster.end_move(slot, target)
    assert waited, "nothing was in the way: this tested nothing"
    for run in runs.values():
        assert cluster_store.read(run.id).run == run
        write(cluster_store, ending(run, released=[lease(run)]))
    assert len(cluster_store.find(Query()).runs) == 16
    cluster.move(slot, owner)


def test_an_empty_slot_is_asked_where_it_goes(cluster: Cluster, cluster_store: RedisStore) -> None:
    """ASK: what is not here any more is asked there, this once, and the map stays as it is."""
    run = write(cluster_store, starting(a_run("order-3")))
    key = cluster_store._keys.of(run.id)
    owner = cluster.owner(key.wake)
    there = next(node for node in cluster.primaries() if node is not owner)
    slot = slot_of(key.wake)
    cluster.begin_move(slot, there)
    assert cluster.move_keys(slot, owner, there)
    assert cluster_store.read(run.id).run == run
    assert [entry.run_id for entry in due(cluster_store, run.id)] == [run.id]
    assert cluster_store.renew([lease(run)], 5) == {lease(run)}
    cluster.end_move(slot, there)
    assert cluster_store.read(run.id).run == run
    cluster.move(slot, owner)


def test_nodes_that_do_not_agree_on_a_slot(cluster: Cluster, cluster_store: RedisStore) -> None:
    """One has given it away, the other has not heard of that: a moment's outage of that shard."""
    slot, owner = slot_of(WAKES[3]), cluster.owner(WAKES[3])
    there = next(node for node in cluster.primaries() if node is not owner)
    cluster.ask(owner, "CLUSTER", "SETSLOT", slot, "NODE", cluster.id_of(there))
    with pytest.raises(StoreUnavailable, match="is moving keys to another node"):
        cluster_store.due(3, 10)
    assert cluster_store.due(1, 10).now
    cluster.end_move(slot, there)
    assert cluster_store.due(3, 10).now
    cluster.move(slot, owner)


def test_scripts_that_a_node_forgot_are_loaded_there(
    cluster: Cluster, cluster_store: RedisStore
) -> None:
    """Each node has its own; a batch over all of them heals where it must."""
    runs = live(cluster_store)
    for node in cluster.primaries()[:2]:
        cluster.ask(node, "SCRIPT", "FLUSH")
    assert cluster_store.renew([lease(run) for run in runs], 60_000) == set()


# --- nodes that are away -------------------------------------------------------------------------


def test_a_node_that_is_away_holds_up_no_other(lone_cluster: Cluster) -> None:
    """Renewal, signs of life and reading go on in all other shards, at once and in time."""
    store = RedisStore(lone_cluster.url)
    runs = live(store)
    node = lone_cluster.owner(WAKES[0])
    away, here = parted(store, lone_cluster, node)
    assert away
    assert here
    with stopped(node):
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as caught:
                store.renew([lease(run) for run in runs], 60_000)
            assert set(caught.value.shards or ()) == away
            with pytest.raises(StoreUnavailable) as caught:
                store.pulse(1000, 5_000)
            assert set(caught.value.shards or ()) == away
            began = time.monotonic()
            found = store.read_all(dict.fromkeys((run.id for run in runs), ()))
            assert {store.shard_of(run_id) for run_id in found} == here
            for shard in here:
                assert store.due(shard, 100).pulse.outages
            assert time.monotonic() - began < 4, "who did not answer just now is asked again"
    until(lone_cluster.is_well, "the cluster is well again")
    renewed = {n for n in here for entry in store.due(n, 100).due if entry.lease}
    assert renewed == set()
    store.close()


def test_who_waits_at_other_nodes_is_told(own_cluster: Cluster) -> None:
    """A run whose node is away is waited for; those of the others end meanwhile, and are heard."""
    store = RedisStore(own_cluster.url)
    runs = live(store)
    node = own_cluster.owner(WAKES[0])
    away, _ = parted(store, own_cluster, node)
    waiting = {run.id: Waiting(store, run.id) for run in runs}
    until(lambda: store._waiting._listener is not None, "somebody listens")
    node.kill()
    for run in runs:
        if store.shard_of(run.id) not in away:
            write(store, ending(run))
            assert waiting[run.id].end()
    until(own_cluster.is_well, "a replica has taken over")
    for run in runs:
        if store.shard_of(run.id) in away:
            _insist(store, run)
            assert waiting[run.id].end()
    store.close()


def _insist(store: RedisStore, run: Run) -> None:
    """End a run, whose new node may not be known yet."""

    def ended() -> bool:
        try:
            return store.commit(ending(run)) or store.read(run.id).run == ending(run).run
        except StoreUnavailable:
            return False

    until(ended, "the run has ended")


def test_threads_share_what_one_of_them_found(own_cluster: Cluster) -> None:
    """While a node dies and its replica takes over, many threads ask; all are served then."""
    store = RedisStore(own_cluster.url)
    runs = live(store)
    engine = Engine(store, TERMS)
    found: list[Run | None] = []

    def look(run: Run) -> None:
        snapshot = engine.retry_while_unavailable(lambda: store.read(run.id), 20)
        found.append(snapshot.run)

    own_cluster.owner(WAKES[0]).kill()
    threads = [threading.Thread(target=look, args=(run,)) for run in runs * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 64
    assert {run.id for run in found if run} == {run.id for run in runs}
    store.close()


# --- all nodes together --------------------------------------------------------------------------


def test_an_entry_in_a_wrong_shard_is_dropped_there(
    cluster: Cluster, cluster_store: RedisStore
) -> None:
    """It never crosses slots, also where the run itself is somewhere else."""
    run = write(cluster_store, starting(a_run("order-3"), wake_at=1))
    shard = (cluster_store.shard_of(run.id) + 1) % 8
    node = cluster.owner(KEYS[shard].wake)
    cluster.ask(node, "ZADD", KEYS[shard].wake, 5, run.id)
    [entry] = [each for each in cluster_store.entries(shard) if each.run_id == run.id]
    assert entry.run is None
    assert cluster_store.drop(entry)
    assert cluster.ask(node, "ZCARD", KEYS[shard].wake) == 0
    assert cluster_store.read(run.id).run == run


def test_waiting_costs_no_node_more_than_one_connection(
    cluster: Cluster, cluster_store: RedisStore
) -> None:
    """However many wait, one subscription hears of the ends at every node."""
    runs = live(cluster_store, 32)
    waiting = [Waiting(cluster_store, run.id) for run in runs]

    def heard() -> bool:
        counts = [cluster.ask(node, "PUBSUB", "CHANNELS") for node in cluster.primaries()]
        return sorted(map(len, counts)) == [0, 0, 32]

    until(heard, "all ends are listened for, at one node")
    for run in runs:
        write(cluster_store, ending(run, released=[lease(run)]))
    assert all(each.end() for each in waiting)
    assert wait_for_rest(cluster_store, runs[0].id, 1).run


def test_signs_of_life_follow_their_shard(cluster: Cluster, cluster_store: RedisStore) -> None:
    """A worker speaks to the node that knows of workers, while that moves and after it has."""
    presences, worker = cluster_store.presences, Worker("w1", "here", 1, 1, 15_000)
    presences.announce(worker)

    def stands() -> bool:
        [presence] = presences.known()[1]
        told = presences.connected([presence.link])
        return told == Connected(presence.server, frozenset([presence.link]))

    assert stands()
    key = KEYS[0].workers
    owner = cluster.owner(key)
    there = next(node for node in cluster.primaries() if node is not owner)
    cluster.begin_move(slot_of(key), there)
    presences.announce(worker)
    assert stands()
    assert cluster.move_keys(slot_of(key), owner, there)
    presences.announce(worker)  # asked there, and not taken for a worker whose connection is gone
    assert len(presences.known()[1]) == 1
    cluster.end_move(slot_of(key), there)
    presences.announce(worker)
    assert stands()
    cluster.move(slot_of(key), owner)
    presences.announce(worker)
    assert stands()
    presences.withdraw("w1")
    assert presences.known()[1] == []


def test_the_rights_on_the_page_are_enough(cluster: Cluster) -> None:
    """The user of docs/security.md may do everything, with what the page adds for a cluster."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rules = re.search(r"^user celeriac (.+)$", page, re.MULTILINE)
    added = re.search(r"In a Redis Cluster add `([^`]+)`", page)
    assert rules
    assert added
    for node in cluster.nodes:
        cluster.ask(node, "ACL", "SETUSER", "celeriac", *rules[1].split(), *added[1].split())
    store = RedisStore(cluster.url.replace("//", "//celeriac:change-me@"))
    for run in live(store):
        write(store, ending(run, released=[lease(run)]))
    store.pulse(1_000)
    store.presences.announce(Worker("w1", "here", 1, 1, 15_000))
    assert sum(store.counts().values()) == 16
    assert store.figures().now
    slot, owner = slot_of(WAKES[3]), cluster.owner(WAKES[3])
    there = next(node for node in cluster.primaries() if node is not owner)
    cluster.begin_move(slot, there)
    while cluster.move_keys(slot, owner, there):
        pass
    assert store.due(3, 10).now
    cluster.end_move(slot, there)
    assert store.due(3, 10).now
    store.close()
    cluster.move(slot, owner)
    for node in cluster.nodes:
        cluster.ask(node, "ACL", "DELUSER", "celeriac")
