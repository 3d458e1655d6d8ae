"""The contract of a store, third part: listing and counting runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.models import Run, RunStatus
from celeriac.store import Query
from celeriac.store.memory import MemoryStore
from celeriac.store.redis import RedisStore
from tests.store.runs import a_run, ending, ids, moving, starting, write

if TYPE_CHECKING:
    from celeriac.store import Store
    from tests.redis_server import RedisServer

T0 = 1_700_000_000_000


def pages(store: Store, query: Query) -> list[Run]:
    """All runs that *query* gives, page by page."""
    found: list[Run] = []
    while page := store.find(query):
        assert len(page) <= query.limit
        found += page
        query = replace(query, cursor=(page[-1].started_at, page[-1].id))
    return found


def test_an_empty_store_lists_nothing(store: Store) -> None:
    """There are no runs, and no error either."""
    assert store.find(Query()) == []
    assert store.find(Query(tags=(("tenant", "acme"),))) == []
    assert store.counts() == {}


def test_runs_are_listed_newest_first(store: Store) -> None:
    """The order is by start, then by id, both descending, over all shards."""
    times = {f"order-{n}": T0 + n // 3 for n in range(20)}
    for run_id, time in times.items():
        write(store, starting(a_run(run_id, started_at=time)))
    expected = sorted(times, key=lambda run_id: (times[run_id], run_id), reverse=True)
    assert ids(store.find(Query())) == expected
    assert ids(store.find(Query(limit=7))) == expected[:7]


def test_a_run_is_listed_with_its_newest_state(store: Store) -> None:
    """A list shows the run as it is now."""
    run = write(store, starting(a_run()))
    run = write(store, moving(run))
    assert store.find(Query()) == [run]


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
    first = store.find(Query(limit=4))
    write(store, starting(a_run("newest", started_at=T0 + 99)))
    write(store, ending(runs[5]))
    rest = store.find(Query(limit=50, cursor=(first[-1].started_at, first[-1].id)))
    assert ids([*first, *rest]) == [f"order-{n}" for n in range(9, -1, -1)]


def test_filters_hold_together(store: Store) -> None:
    """Status, saga, tags and time each narrow the list."""
    for n in range(24):
        run = a_run(
            f"order-{n}",
            started_at=T0 + n,
            saga="order" if n % 2 else "refund",
            tags=(("tenant", "acme" if n % 3 else "zen"), ("tier", "gold" if n % 4 else "tin")),
        )
        run = write(store, starting(run))
        if n % 5 == 0:
            write(store, ending(run, RunStatus.COMPLETED if n % 10 else RunStatus.FAILED))
    everything = store.find(Query())
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
        Query(since=T0 + 5),
        Query(until=T0 + 5),
        Query(since=T0 + 5, until=T0 + 9, limit=2),
        Query(since=T0 + 9, until=T0 + 9),
        Query(since=-5, until=10**15),
    ):
        expected = ids(run for run in everything if query.admits(run))
        assert ids(pages(store, query)) == expected, query
        assert ids(store.find(query)) == expected[: query.limit]


def test_since_is_in_and_until_is_out(store: Store) -> None:
    """A run that started at `since` is listed, one that started at `until` is not."""
    write(store, starting(a_run(started_at=T0)))
    assert len(store.find(Query(since=T0))) == 1
    assert store.find(Query(since=T0 + 1)) == []
    assert store.find(Query(until=T0)) == []
    assert len(store.find(Query(until=T0 + 1))) == 1


def test_tags_are_not_confused(store: Store) -> None:
    """An equals sign in a tag's name or value does not make it another tag."""
    write(store, starting(a_run("one", tags=(("a=b", "c"),))))
    write(store, starting(a_run("two", tags=(("a", "b=c"),))))
    write(store, starting(a_run("three", tags=(("a%3Db", "c"),))))
    assert ids(store.find(Query(tags=(("a=b", "c"),)))) == ["one"]
    assert ids(store.find(Query(tags=(("a", "b=c"),)))) == ["two"]
    assert ids(store.find(Query(tags=(("a%3Db", "c"),)))) == ["three"]


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
