"""The contract of a store, first part: reading, and compare-and-commit."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celeriac.errors import StoreError
from celeriac.machine import Node, Plan
from celeriac.machine.events import Event, EventKind
from celeriac.machine.runs import RunStatus
from celeriac.store import Change, Query
from tests.store.runs import (
    PLAN,
    a_run,
    due,
    ending,
    ids,
    lease,
    moving,
    now,
    removed,
    same_shard,
    starting,
    write,
)

if TYPE_CHECKING:
    from celeriac.store import Store


def test_an_unknown_run_reads_as_none(store: Store) -> None:
    """A run that was never started is no error: there is a time, and nothing else."""
    run, time, fields = store.read("nobody", ["input"])
    assert run is None
    assert time > 1_700_000_000_000
    assert fields == {}
    assert store.history("nobody") == []


def test_a_started_run_is_read_back(store: Store) -> None:
    """What was committed is what is read: head, payloads asked for, and events."""
    run = a_run(tags=(("tenant", "acme"),), deadline=1_700_000_600_000)
    change = starting(run, fields={"input": '{"sku":"tea"}', "other": "1"})
    assert store.commit(change)
    found = store.read(run.id, ["input", "missing"])
    assert found.run == run
    assert found.fields == {"input": '{"sku":"tea"}'}
    assert store.history(run.id) == list(change.events)


def test_a_start_sent_twice_writes_once(store: Store) -> None:
    """The second of two equal starts is a conflict, and adds no event."""
    change = starting(a_run())
    assert store.commit(change)
    assert not store.commit(change)
    assert len(store.history("order-42")) == 1


def test_a_commit_sent_twice_writes_once(store: Store) -> None:
    """The second of two equal commits is a conflict: no event, no payload, no wake entry."""
    run = write(store, starting(a_run()))
    change = moving(run, wake_at=None, fields={"out": "1"}, leases={lease(run): 5})
    after = write(store, change)
    moved = write(store, moving(after, wake_at=7, fields={"out": "2"}, released=[lease(run)]))
    assert not store.commit(change)
    assert store.read(run.id, ["out"])[0::2] == (moved, {"out": "2"})
    assert [entry.at for entry in due(store, run.id)] == [7]
    assert len(store.history(run.id)) == 3


def test_a_stale_version_changes_nothing(store: Store) -> None:
    """A commit based on an old version leaves the run, its payloads and its wake time alone."""
    run = write(store, starting(a_run(), wake_at=3, fields={"input": "1"}))
    newer = write(store, moving(run, wake_at=4))
    stale = ending(run, fields={"input": "2"}, expire_at=1, events=(), leases={lease(run): 1})
    assert not store.commit(stale)
    found = store.read(run.id, ["input"])
    assert (found.run, found.fields) == (newer, {"input": "1"})
    assert [(entry.at, entry.lease) for entry in due(store, run.id)] == [(4, None)]
    assert ids(store.find(Query(statuses=frozenset({RunStatus.COMPLETED}))).runs) == []


def test_a_commit_to_a_missing_run_is_a_conflict(store: Store) -> None:
    """A run that is gone cannot be written any more."""
    assert not store.commit(moving(a_run()))
    assert store.read("order-42").run is None
    assert store.counts() == {}


def test_a_commit_without_events_writes_payloads(store: Store) -> None:
    """The version may stay: then only what was given is written, and repeating is harmless."""
    run = write(store, starting(a_run()))
    change = Change(run, run, (), 9, fields={"heartbeat": '"half"'})
    assert store.commit(change)
    assert store.commit(change)
    assert store.read(run.id, ["heartbeat"]).fields == {"heartbeat": '"half"'}
    assert len(store.history(run.id)) == 1


def test_one_of_many_writers_wins(store: Store) -> None:
    """Of many threads that commit on the same version, exactly one succeeds."""
    run = write(store, starting(a_run()))
    won: list[int] = []

    def race(n: int) -> None:
        if store.commit(moving(run, fields={"winner": str(n)})):
            won.append(n)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read(run.id, ["winner"]).fields == {"winner": str(won[0])}
    assert len(store.history(run.id)) == 2


def test_history_is_every_event_in_order(store: Store) -> None:
    """History is what was committed, in the order it was committed."""
    run = a_run()
    expected = list(starting(run).events)
    write(store, starting(run))
    for n in range(5):
        events = [
            Event(n, EventKind.COMPLETED, "reserve", "undo", n, {"note": "läuft"}),
            Event(n, EventKind.DISPATCHED),
        ]
        run = write(store, moving(run, events=events))
        expected += events
    assert store.history(run.id) == expected


@pytest.mark.parametrize("count", [1_000, 9_000])
def test_a_commit_may_be_large(store: Store, count: int) -> None:
    """Thousands of events and leases in one commit are written, all of them."""
    run = write(store, starting(a_run()))
    events = [Event(n, EventKind.CLAIMED, "reserve", "do", n) for n in range(count)]
    leases = {lease(run, n): 1 for n in range(count)}
    run = write(store, moving(run, None, events=events, leases=leases))
    assert store.history(run.id)[1:] == events
    assert len(due(store, run.id, limit=count + 1)) == count
    write(store, moving(run, None, released=list(leases)))
    assert due(store, run.id) == []


PAYLOADS = [
    *("[]", "{}", '""', "", "9007199254740993", "1e400", '"Grüße ☕ 𝄞"', "\x00\r\n\t"),
    "x" * 200_000,
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda text: repr(text[:12]))
def test_payloads_are_opaque(store: Store, payload: str) -> None:
    """A payload comes back as the text it was: nothing is decoded on the way."""
    run = write(store, starting(a_run(), fields={"input": payload, payload[:5] or "e": payload}))
    assert store.read(run.id, ["input"]).fields == {"input": payload}
    run = write(store, moving(run, fields={"out:reserve": payload}))
    assert store.read(run.id, ["out:reserve"]).fields == {"out:reserve": payload}


def test_payloads_cannot_touch_the_head(store: Store) -> None:
    """A payload may have any name, also those of the store's own fields."""
    run = write(store, starting(a_run(), fields={"h": "1", "v": "2", "f:h": "3"}))
    found = store.read(run.id, ["h", "v", "f:h"])
    assert (found.run, found.fields) == (run, {"h": "1", "v": "2", "f:h": "3"})


@pytest.mark.parametrize(
    "run_id", ["a b", "ü☕𝄞", "{0}", "}{", "a:b:c", "*[?]", "0", "-inf", '"', "x" * 500]
)
def test_ids_may_be_anything_printable(store: Store, run_id: str) -> None:
    """Whatever is in an id, the run is found again, by id, in lists and in the wake index."""
    run = write(store, starting(a_run(run_id, tags=(("a=b", "c:d"),))))
    assert store.read(run_id).run == run
    assert ids(store.find(Query()).runs) == [run_id]
    assert ids(store.find(Query(tags=(("a=b", "c:d"),))).runs) == [run_id]
    assert len(due(store, run_id)) == 1


def test_an_id_with_the_separator_is_refused(store: Store) -> None:
    """The one character that would make wake entries ambiguous is refused, and nothing written."""
    with pytest.raises(StoreError, match="use another id"):
        store.commit(starting(a_run("a\x1fb")))
    assert store.counts() == {}


# --- plans -------------------------------------------------------------------------------------


def test_a_plan_comes_back(store: Store) -> None:
    """A run's plan is kept with it, and equal to the one it was started with."""
    run = write(store, starting(a_run()))
    assert store.plan(run.id, PLAN.fingerprint) == PLAN


def test_a_plan_is_kept_once_and_never_overwritten(store: Store) -> None:
    """Another start with the same fingerprint leaves the plan that is kept as it is."""
    first, second = same_shard(store, 2)
    write(store, starting(a_run(first)))
    other = Plan(saga="place_order", nodes=(Node(name="evil", task="evil"),))
    other.__dict__["fingerprint"] = PLAN.fingerprint
    write(store, starting(a_run(second), plan=other))
    assert store.plan(second, PLAN.fingerprint) == PLAN


def test_a_missing_plan_says_so(store: Store) -> None:
    """A plan that is not there raises StoreError naming the run."""
    with pytest.raises(StoreError, match="order-42"):
        store.plan("order-42", "0123456789abcdef")


# --- starting anew -----------------------------------------------------------------------------


def test_a_fresh_start_forgets_payloads_and_keeps_history(store: Store) -> None:
    """An id that starts anew has its new payloads only; its history goes on."""
    first = write(store, starting(a_run(), fields={"input": "1", "out:reserve": "2"}))
    ended = write(store, ending(first))
    again = replace(first, version=ended.version + 1, epoch=2, started_at=first.started_at + 99)
    write(store, starting(again, before=ended, fresh=True, fields={"input": "3"}))
    found = store.read(first.id, ["input", "out:reserve"])
    assert (found.run, found.fields) == (again, {"input": "3"})
    assert len(store.history(first.id)) == 3


def test_a_fresh_start_is_listed_once_under_its_new_terms(store: Store) -> None:
    """Old times, tags and expiry of an id that starts anew are gone from the indexes."""
    first = write(store, starting(a_run(tags=(("tenant", "acme"),))))
    ended = write(store, ending(first, expire_at=1))
    again = replace(first, version=9, epoch=2, started_at=first.started_at + 99, tags=(("b", "c"),))
    write(store, starting(again, before=ended, fresh=True))
    assert store.counts() == {("place_order", RunStatus.RUNNING): 1}
    assert store.find(Query()).runs == [again]
    assert store.find(Query(tags=(("tenant", "acme"),))).runs == []
    assert store.find(Query(tags=(("b", "c"),))).runs == [again]
    assert removed(store, store.shard_of(again.id), 10) == 0


def test_an_earlier_life_of_an_id_cannot_be_committed_to(store: Store) -> None:
    """Who has read a run before it started anew conflicts, even at the same version."""
    first = write(store, starting(a_run()))
    ended = write(store, ending(first))
    again = replace(first, epoch=2)
    write(store, starting(again, before=ended, fresh=True))
    assert again.version == first.version
    assert not store.commit(moving(first))


# --- the lease as a guard ----------------------------------------------------------------------


def test_a_lapsed_lease_is_a_guard(store: Store) -> None:
    """A commit that assumes a lease ran out fails once somebody renewed it."""
    run = write(store, starting(a_run()))
    run = write(store, moving(run, leases={lease(run): 5}))
    store.renew([lease(run)], 60_000)
    assert not store.commit(moving(run, lapsed=(lease(run), 5), released=[lease(run)]))
    assert store.renew([lease(run)], 60_000) == set()


def test_a_lease_that_stands_where_it_was_found_may_be_taken(store: Store) -> None:
    """A commit under the guard of a lease that was not renewed goes through, once."""
    run = write(store, starting(a_run()))
    expiry = now(store) - 10
    run = write(store, moving(run, leases={lease(run): expiry}))
    change = moving(run, lapsed=(lease(run), expiry), released=[lease(run)])
    assert store.commit(change)
    assert not store.commit(change)
    assert store.renew([lease(run)], 1000) == {lease(run)}


def test_a_lease_that_is_gone_fails_the_guard(store: Store) -> None:
    """A commit that assumes a lease which nobody holds changes nothing."""
    run = write(store, starting(a_run()))
    assert not store.commit(moving(run, lapsed=(lease(run), 5)))
    assert store.read(run.id).run == run


def test_values_are_not_shared(store: Store) -> None:
    """Changing what was handed in, or out, changes nothing that is kept."""
    data = {"sku": "tea"}
    run = write(store, starting(a_run(), events=[Event(1, EventKind.STARTED, data=data)]))
    data["sku"] = "gin"
    store.read(run.id).run.steps.open["evil"] = None  # type: ignore[union-attr,index]
    assert store.history(run.id)[0].data == {"sku": "tea"}
    assert store.read(run.id).run == run
    assert json.loads(json.dumps(store.history(run.id)[0].data)) == {"sku": "tea"}
