"""The contract of a store, third part: listing and counting runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.machine.runs import AT_REST, Run, RunStatus
from celeriac.machine.step_states import Steps
from celeriac.store import Query, listing
from celeriac.store.memory import MemoryStore
from celeriac.store.redis import RedisStore
from tests.store.runs import PLAN, a_run, awaiting, ending, ids, moving, now, starting, write

if TYPE_CHECKING:
    from celeriac.store import Store
    from tests.redis_server import RedisServer

T0 = 1_700_000_000_000


def pages(store: Store, query: Query, most: int = 1000) -> list[Run]:
    """All runs that *query* gives, page by page."""
    found: list[Run] = []
    for _ in range(most):
        page = store.find(query)
        assert len(page.runs) <= query.limit
        found += page.runs
        if page.cursor is None:
            return found
        assert query.cursor is None or page.cursor < query.cursor, "it must come to an end"
        query = replace(query, cursor=page.cursor)
    raise AssertionError("there is always one page more")


def test_an_empty_store_lists_nothing(store: Store) -> None:
    """There are no runs, and no error either."""
    assert store.find(Query()).runs == []
    assert store.find(Query(tags=(("tenant", "acme"),))).runs == []
    assert store.counts() == {}


def test_runs_are_listed_newest_first(store: Store) -> None:
    """The order is by start, then by id, both descending, over all shards."""
    times = {f"order-{n}": T0 + n // 3 for n in range(20)}
    for run_id, time in times.items():
        write(store, starting(a_run(run_id, started_at=time)))
    expected = sorted(times, key=lambda run_id: (times[run_id], run_id), reverse=True)
    assert ids(store.find(Query()).runs) == expected
    assert ids(store.find(Query(limit=7)).runs) == expected[:7]


def test_a_run_is_listed_with_its_newest_state(store: Store) -> None:
    """A list shows the run as it is now."""
    run = write(store, starting(a_run()))
    run = write(store, moving(run))
    assert store.find(Query()).runs == [run]


@pytest.mark.parametrize("limit", [1, 2, 7, 50])
def test_paging_has_no_gaps_and_no_duplicates(store: Store, limit: int) -> None:
    """Pages of any size give every run once, also when many started in the same millisecond."""
    names = [f"order-{n}" for n in range(40)]
    for n, name in enumerate(names):
        write(store, starting(a_run(name, started_at=T0 + n % 2, saga=f"saga-{n % 3}")))
    found = pages(store, Query(limit=limit))
    assert sorted(ids(found)) == sorted(names)
    assert found == sorted(found, key=lambda run: (run.started_at, run.id), reverse=True)


def test_paging_is_steady_while_runs_come_and_go(store: Store) -> None:
    """A cursor goes on where the page ended, whatever started or ended meanwhile."""
    runs = [write(store, starting(a_run(f"order-{n}", started_at=T0 + n))) for n in range(10)]
    first = store.find(Query(limit=4)).runs
    write(store, starting(a_run("newest", started_at=T0 + 99)))
    write(store, ending(runs[5]))
    rest = store.find(Query(limit=50, cursor=(first[-1].started_at, first[-1].id))).runs
    assert ids([*first, *rest]) == [f"order-{n}" for n in range(9, -1, -1)]


def test_filters_hold_together(store: Store) -> None:
    """Status, saga, tags and time each narrow the list."""
    for n in range(24):
        run = a_run(
            f"order-{n}",
            started_at=T0 + n,
            saga="order" if n % 2 else "refund",
            tags=(("tenant", "acme" if n % 3 else "zen"), ("tier", "gold" if n % 4 else "tin")),
            steps=Steps() if n % 3 else awaiting(),
            overdue=n % 4 == 0,
        )
        run = write(store, starting(run))
        if n % 5 == 0:
            write(store, ending(run, RunStatus.COMPLETED if n % 10 else RunStatus.FAILED))
    everything = store.find(Query()).runs
    for query in (
        Query(statuses=frozenset({RunStatus.FAILED})),
        Query(statuses=frozenset({RunStatus.FAILED, RunStatus.RUNNING})),
        Query(saga="refund"),
        Query(saga="nobody"),
        Query(tags=(("tenant", "zen"),)),
        Query(tags=(("tenant", "acme"), ("tier", "gold")), limit=3),
        Query(tags=(("tenant", "acme"),), statuses=frozenset({RunStatus.COMPLETED})),
        Query(tags=(("tenant", "acme"),), saga="order", limit=1),
        Query(tags=(("tenant", "ac"),)),
        Query(awaiting=True),
        Query(awaiting=True, saga="order", statuses=frozenset({RunStatus.RUNNING})),
        Query(awaiting=True, statuses=frozenset({RunStatus.WAITING}), limit=1),
        Query(awaiting=True, tags=(("tier", "tin"),)),
        Query(past_deadline=True),
        Query(past_deadline=True, saga="refund", statuses=frozenset({RunStatus.RUNNING}), limit=2),
        Query(past_deadline=True, awaiting=True),
        Query(since=T0 + 5),
        Query(until=T0 + 5),
        Query(since=T0 + 5, until=T0 + 9, limit=2),
        Query(since=T0 + 9, until=T0 + 9),
        Query(since=-5, until=10**15),
    ):
        expected = ids(run for run in everything if query.admits(run))
        assert ids(pages(store, query)) == expected, query
        assert ids(store.find(query).runs) == expected[: query.limit]


def test_since_is_in_and_until_is_out(store: Store) -> None:
    """A run that started at `since` is listed, one that started at `until` is not."""
    write(store, starting(a_run(started_at=T0)))
    assert len(store.find(Query(since=T0)).runs) == 1
    assert store.find(Query(since=T0 + 1)).runs == []
    assert store.find(Query(until=T0)).runs == []
    assert len(store.find(Query(until=T0 + 1)).runs) == 1


def test_tags_are_not_confused(store: Store) -> None:
    """An equals sign in a tag's name or value does not make it another tag."""
    write(store, starting(a_run("one", tags=(("a=b", "c"),))))
    write(store, starting(a_run("two", tags=(("a", "b=c"),))))
    write(store, starting(a_run("three", tags=(("a%3Db", "c"),))))
    assert ids(store.find(Query(tags=(("a=b", "c"),))).runs) == ["one"]
    assert ids(store.find(Query(tags=(("a", "b=c"),))).runs) == ["two"]
    assert ids(store.find(Query(tags=(("a%3Db", "c"),))).runs) == ["three"]


def test_a_run_is_found_by_the_tags_that_it_has_now(store: Store) -> None:
    """Those given on the way are as those it was started with; an old value finds nothing."""
    before = write(store, starting(a_run("one", tags=(("region", "us"), ("shop", "7")))))
    tagged = replace(before, tags=(("carrier", "dhl"), ("region", "eu"), ("shop", "7")))
    after = write(store, moving(before)._replace(run=replace(tagged, version=2)))
    for name, value, found in (
        ("region", "eu", ["one"]),
        ("region", "us", []),
        ("carrier", "dhl", ["one"]),
        ("shop", "7", ["one"]),
    ):
        assert ids(store.find(Query(tags=((name, value),))).runs) == found
    write(store, ending(after, expire_at=1))
    (expired,) = store.expired(store.shard_of("one"), 10)
    assert store.remove([expired]) == 1
    assert ids(store.find(Query(tags=(("region", "eu"),))).runs) == []
    entries = [each for shard in range(store.shards) for each in store.entries(shard)]
    assert [each for each in entries if each.run_id == "one"] == []


def test_counts_follow_every_move(store: Store) -> None:
    """Runs are counted where they are now, by saga and status."""
    runs = [write(store, starting(a_run(f"order-{n}"))) for n in range(10)]
    write(store, starting(a_run("back-1", saga="re:fund")))
    running, completed = RunStatus.RUNNING, RunStatus.COMPLETED
    assert store.counts() == {("place_order", running): 10, ("re:fund", running): 1}
    ended = [write(store, ending(run)) for run in runs[:4]]
    assert store.counts()["place_order", running] == 6
    assert store.counts()["place_order", completed] == 4
    for run in ended:
        write(store, moving(run, to=RunStatus.COMPENSATING))
    assert ("place_order", completed) not in store.counts()
    assert store.counts()["place_order", RunStatus.COMPENSATING] == 4


TIMES = st.integers(T0, T0 + 3)
IDS = st.text("ab:~ü☕", min_size=1, max_size=3)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    started=st.dictionaries(IDS, TIMES, max_size=12),
    limit=st.integers(1, 5),
    since=st.none() | TIMES,
    until=st.none() | TIMES,
    tagged=st.booleans(),
)
def test_both_stores_list_the_same(
    server: RedisServer,
    started: dict[str, int],
    limit: int,
    since: int | None,
    until: int | None,
    tagged: bool,
) -> None:
    """Whatever runs there are and whatever is asked, Redis pages as memory does."""
    with server.client() as client:
        client.flushall()
    stores: list[Store] = [MemoryStore(), RedisStore(server.url)]
    tags = (("tenant", "acme"),)
    query = Query(since=since, until=until, limit=limit, tags=tags if tagged else ())
    found = []
    for store in stores:
        for run_id, time in started.items():
            write(store, starting(a_run(run_id, started_at=time, tags=tags)))
        found.append(pages(store, query))
        store.close()
    assert found[0] == found[1]
    assert set(ids(found[0])) == {
        run_id
        for run_id, time in started.items()
        if (since is None or time >= since) and (until is None or time < until)
    }


# --- much to look through ----------------------------------------------------------------------

STATUSES = (RunStatus.RUNNING, RunStatus.COMPLETED, RunStatus.FAILED)
TAGS = (("tenant", "acme"), ("tier", "gold"), ("tier", "tin"))
RUNS = st.dictionaries(
    IDS,
    st.tuples(
        TIMES,
        st.sampled_from(["a", "b:c"]),
        st.sampled_from(STATUSES),
        st.sets(st.sampled_from(TAGS[:2])),
    ),
    max_size=12,
)
QUERIES = st.builds(
    Query,
    statuses=st.frozensets(st.sampled_from(STATUSES)),
    saga=st.none() | st.sampled_from(["a", "b:c", "nobody"]),
    tags=st.sets(st.sampled_from(TAGS)).map(lambda tags: tuple(sorted(tags))),
    since=st.none() | TIMES,
    until=st.none() | TIMES,
    limit=st.integers(1, 5),
)


def put(store: Store, run_id: str, at: int, status: RunStatus, **values: Any) -> Run:
    """A run that was started, and has come to *status*."""
    run = write(store, starting(a_run(run_id, started_at=at, **values)))
    if status is RunStatus.RUNNING:
        return run
    return write(store, ending(run, status) if status in AT_REST else moving(run, to=status))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(runs=RUNS, query=QUERIES, looked_at=st.integers(1, 6), rounds=st.integers(1, 2))
def test_filters_find_the_same_in_both_stores(
    server: RedisServer, runs: dict[str, Any], query: Query, looked_at: int, rounds: int
) -> None:
    """However filters meet, and however little is looked at in one go, nothing is left out."""
    with server.client() as client:
        client.flushall()
    memory, redis = MemoryStore(), RedisStore(server.url, shards=2)
    for store in (memory, redis):
        for run_id, (at, saga, status, tags) in runs.items():
            put(store, run_id, at, status, saga=saga, tags=tuple(sorted(tags)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_LOOKED_AT", looked_at)
        patch.setattr(listing, "_ROUNDS", rounds)
        assert pages(redis, query) == pages(memory, query)
        if len(query.tags) == 0:
            assert redis.count(query) == memory.count(query)
        assert redis.count(query) >= memory.count(query)
    redis.close()


def test_a_page_is_bounded_work(
    server: RedisServer, redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two large indexes hardly meet, a page ends early, and its cursor leads on."""
    monkeypatch.setattr(listing, "_LOOKED_AT", 20)
    monkeypatch.setattr(listing, "_ROUNDS", 1)
    for n in range(400):
        status = RunStatus.FAILED if n % 2 else RunStatus.COMPLETED
        put(redis_store, f"order-{n}", T0 + n, status, tags=() if n % 2 else TAGS[:1])
    both = put(redis_store, "both", T0, RunStatus.FAILED, tags=TAGS[:1])
    query = Query(statuses=frozenset({RunStatus.FAILED}), tags=TAGS[:1])
    with server.client() as client:
        client.config_resetstat()
        page = redis_store.find(query)
        looks = client.info("commandstats")["cmdstat_zrange"]["calls"]
    assert page.runs == []
    assert page.cursor is not None
    assert looks < 10 * redis_store.shards
    assert pages(redis_store, query) == [both]


def test_a_rare_status_is_found_at_once(server: RedisServer, redis_store: RedisStore) -> None:
    """One that few runs have is not searched for among all that carry a tag."""
    for n in range(500):
        status = RunStatus.FAILED if n == 7 else RunStatus.COMPLETED
        put(redis_store, f"order-{n}", T0 + n, status, tags=TAGS[:1])
    with server.client() as client:
        client.config_resetstat()
        query = Query(statuses=frozenset({RunStatus.FAILED}), tags=TAGS[:1])
        assert ids(redis_store.find(query).runs) == ["order-7"]
        looks = client.info("commandstats")["cmdstat_zrange"]["calls"]
    assert looks <= 5 * redis_store.shards


def test_ids_are_ordered_by_their_bytes(server: RedisServer) -> None:
    """The order within a millisecond is that of the bytes, whatever locale Redis runs under."""
    names = ["a", "B", "b", "Z", "ü", "z", "~", "a-b", "ab", "☕"]
    store = RedisStore(server.url, shards=1)
    for number, name in enumerate(names):
        put(store, name, T0, RunStatus.RUNNING, saga=f"saga-{number % 3}", tags=TAGS[:1])
    assert ids(pages(store, Query(limit=3))) == sorted(names, reverse=True)
    only = Query(limit=3, tags=TAGS[:1], saga="saga-0")
    assert ids(pages(store, only)) == sorted(names[::3], reverse=True)
    store.close()


# --- several at once ---------------------------------------------------------------------------


def test_several_runs_are_read_at_once(store: Store) -> None:
    """Each with the fields that were asked for, or all; those that do not exist are left out."""
    for name in ("one", "two"):
        write(store, starting(a_run(name), fields={"in:a": "1", "in:b": "2"}))
    found = store.read_all({"one": ("in:a", "in:z"), "two": None, "nobody": None})
    assert {run_id: dict(each.fields) for run_id, each in found.items()} == {
        "one": {"in:a": "1"},
        "two": {"in:a": "1", "in:b": "2"},
    }
    assert found["one"].run == a_run("one")
    assert found["one"].now == pytest.approx(now(store), abs=10_000)
    assert store.read_all({}) == {}


def test_what_was_just_read_is_looked_at_again_only_if_it_moved_on(store: Store) -> None:
    """With its newest fields in any case."""
    still = write(store, starting(a_run("still"), fields={"in:a": "1"}))
    moved = write(store, starting(a_run("moved"), fields={"in:a": "1"}))
    now_at = write(store, moving(moved, fields={"in:a": "2"}))
    found = store.read_all({"still": ("in:a",), "moved": ("in:a",)}, (still, moved))
    assert (found["still"].run, found["moved"].run) == (still, now_at)
    assert dict(found["moved"].fields) == {"in:a": "2"}
    store.remove([])
    assert store.read_all({"gone": ()}, (a_run("gone"),)) == {}


def test_a_spoilt_run_does_not_hide_the_others(
    server: RedisServer, redis_store: RedisStore
) -> None:
    """One that cannot be read, or whose plan is lost, is left out where several are read."""
    runs = [write(redis_store, starting(a_run(name))) for name in ("good", "spoilt", "other")]
    fresh = RedisStore(server.url)
    with server.client() as client:
        client.hset(redis_store._keys.of("spoilt").run("spoilt"), "h", "[9]")
        client.delete(redis_store._keys.of("other").run("other"))
        client.set(redis_store._keys.of("other").run("other"), "not ours")
    assert set(fresh.read_all(dict.fromkeys(["good", "spoilt", "other"], ()))) == {"good"}
    lost = replace(runs[0], plan="0" * 16)
    assert fresh.plans([*runs[:1], lost]) == {PLAN.fingerprint: PLAN}
    fresh.close()


def test_histories_are_read_at_once(store: Store) -> None:
    """Each run's own, and none for one that does not exist."""
    for name in ("one", "two"):
        write(store, moving(write(store, starting(a_run(name)))))
    found = store.histories(["two", "nobody"])
    assert found == {"two": store.history("two"), "nobody": []}
    assert len(found["two"]) == 2
    assert store.histories([]) == {}


def test_figures_tell_how_the_runs_stand(store: Store) -> None:
    """Counts, the oldest that is not at rest, and what is late: due runs, and expired ones."""
    empty = store.figures()
    assert (empty.counts, empty.recent, empty.oldest) == ({}, {}, {})
    assert (empty.due, empty.due_since, empty.expired, empty.expired_since) == (0, None, 0, None)
    for n in range(6):
        write(store, starting(a_run(f"live-{n}", started_at=T0 + n), wake_at=100 + n))
    write(store, starting(a_run("later", started_at=T0 + 9, saga="refund"), wake_at=10**14))
    for n in range(4):
        run = write(store, starting(a_run(f"ended-{n}", started_at=T0 - 5)))
        write(store, ending(run, expire_at=200 + n if n else 10**14))
    found = store.figures(T0 + 4)
    assert found.counts == store.counts()
    assert found.recent == {"place_order": 2, "refund": 1}
    assert found.oldest == {"place_order": (T0, "live-0"), "refund": (T0 + 9, "later")}
    assert (found.due, found.due_since) == (6, 100)
    assert (found.expired, found.expired_since) == (3, 201)
    assert found.now == pytest.approx(now(store), abs=10_000)
