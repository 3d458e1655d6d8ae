"""The contract of a store, fourth part: waiting for runs to end, and removing them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celeriac.errors import ResultTimeout, SagaError
from celeriac.machine.runs import AT_REST, RunStatus
from celeriac.store import Query, wait_for_rest
from celeriac.store.memory import MemoryStore
from tests.store.runs import a_run, ending, ids, moving, now, removed, same_shard, starting, write

if TYPE_CHECKING:
    from celeriac.store import Snapshot, Store

SOON = 20.0  # seconds: far more than it takes, far less than the looks in between


class Waiting:
    """Somebody who waits for a run in a thread of their own."""

    def __init__(self, store: Store, run_id: str, timeout: float | None = SOON) -> None:
        self.answer: Snapshot | SagaError | None = None
        self._thread = threading.Thread(
            target=self._wait, args=(store, run_id, timeout), daemon=True
        )
        self._thread.start()

    def _wait(self, store: Store, run_id: str, timeout: float | None) -> None:
        try:
            self.answer = wait_for_rest(store, run_id, timeout)
        except SagaError as error:
            self.answer = error

    def end(self) -> RunStatus | SagaError | None:
        """How the run ended, or why that is not known."""
        self._thread.join(SOON)
        assert self.answer is not None, "the wait has no end"
        if isinstance(self.answer, SagaError):
            return self.answer
        return self.answer.run.status if self.answer.run else None

    @property
    def waits(self) -> bool:
        """True while there is no answer."""
        return self._thread.is_alive()


@pytest.mark.parametrize("status", sorted(AT_REST))
def test_a_run_at_rest_is_not_waited_for(store: Store, status: RunStatus) -> None:
    """Every resting status ends the wait at once, also with no time given."""
    run = write(store, starting(a_run()))
    write(store, ending(run, status))
    for timeout in (0, 5, None):
        found = wait_for_rest(store, run.id, timeout).run
        assert found is not None
        assert found.status is status


def test_a_run_that_does_not_exist_is_not_waited_for(store: Store) -> None:
    """There is nothing to wait for."""
    assert wait_for_rest(store, "nobody", None).run is None
    assert wait_for_rest(store, "nobody", 0).run is None


def test_patience_ends(store: Store) -> None:
    """A run that goes on is reported as such when the time is over."""
    run = write(store, starting(a_run()))
    with pytest.raises(ResultTimeout, match="is running after 0 s"):
        wait_for_rest(store, run.id, 0)
    begin = time.monotonic()
    with pytest.raises(ResultTimeout, match=r"is running after 0\.2 s"):
        wait_for_rest(store, run.id, 0.2)
    assert 0.2 <= time.monotonic() - begin < SOON


def test_the_commit_that_ends_a_run_wakes_who_waits(store: Store) -> None:
    """Waiting ends with the commit that brings the run to rest, and with no other."""
    run = write(store, starting(a_run()))
    other = write(store, starting(a_run("order-43")))
    waiting = [Waiting(store, run.id), Waiting(store, run.id, None)]
    run = write(store, moving(run))
    write(store, ending(other))
    assert all(each.waits for each in waiting)
    write(store, ending(run))
    assert [each.end() for each in waiting] == [RunStatus.COMPLETED] * 2


def test_no_end_is_missed(store: Store) -> None:
    """However the end of a run falls together with the beginning of a wait, it is seen."""
    for n in range(30):
        run = write(store, starting(a_run(f"order-{n}")))
        waiting = Waiting(store, run.id)
        write(store, ending(run))
        assert waiting.end() is RunStatus.COMPLETED


# --- removing ----------------------------------------------------------------------------------


def test_runs_are_removed_when_their_time_is_over(store: Store) -> None:
    """A removed run leaves nothing: not its state, history, payloads, nor a place in a list."""
    old, kept, going = same_shard(store, 3)
    for run_id, expire_at in ((old, 1), (kept, now(store) + 10**9)):
        run = write(store, starting(a_run(run_id, tags=(("a", "b"),)), fields={"input": "1"}))
        write(store, ending(run, expire_at=expire_at))
    write(store, starting(a_run(going)))
    assert removed(store, 0, 10) == 1
    assert store.read(old, ["input"])[0::2] == (None, {})
    assert store.history(old) == []
    assert set(ids(store.find(Query()).runs)) == {kept, going}
    assert ids(store.find(Query(tags=(("a", "b"),))).runs) == [kept]
    assert store.counts()["place_order", RunStatus.COMPLETED] == 1
    assert removed(store, 0, 10) == 0


def test_removing_is_bounded(store: Store) -> None:
    """No more runs are removed at once than asked for; the rest follows."""
    for run_id in same_shard(store, 5):
        run = write(store, starting(a_run(run_id)))
        write(store, ending(run, expire_at=1))
    assert [removed(store, 0, 3) for _ in range(3)] == [3, 2, 0]


def test_a_run_that_was_reopened_is_not_removed(store: Store) -> None:
    """Who works again is kept, until it rests again and its new time is over."""
    run = write(store, starting(a_run()))
    run = write(store, ending(run, expire_at=1))
    run = write(store, moving(run, to=RunStatus.COMPENSATING))
    shard = store.shard_of(run.id)
    assert removed(store, shard, 10) == 0
    assert store.read(run.id).run == run
    write(store, ending(run, RunStatus.COMPENSATED, expire_at=1))
    assert removed(store, shard, 10) == 1


@pytest.mark.parametrize("by_way_of", [(), (RunStatus.COMPENSATING,)])
def test_a_run_that_owes_something_is_kept(store: Store, by_way_of: tuple[RunStatus, ...]) -> None:
    """A run that ended, was reopened and rests without a time of removal stays for ever."""
    run = write(store, starting(a_run()))
    run = write(store, ending(run, expire_at=1))
    for status in by_way_of:
        run = write(store, moving(run, to=status))
    run = write(store, ending(run, RunStatus.FAILED))
    assert removed(store, store.shard_of(run.id), 10) == 0
    run = write(store, ending(run, RunStatus.COMPENSATED, expire_at=1))
    assert removed(store, store.shard_of(run.id), 10) == 1


def test_a_removed_id_may_start_again(store: Store) -> None:
    """An id whose run was removed is free, and its old life cannot be committed to."""
    run = write(store, starting(a_run()))
    run = write(store, ending(run, expire_at=1))
    removed(store, store.shard_of(run.id), 10)
    again = replace(a_run(), started_at=run.started_at + 1, version=run.version)
    write(store, starting(again))
    assert not store.commit(moving(run))
    assert len(store.history(run.id)) == 1


def test_memory_time_can_be_moved() -> None:
    """The memory store lives by the clock it is given."""
    clock = [1_000]
    store = MemoryStore(lambda: clock[0], shards=1)
    write(store, starting(a_run(), wake_at=5_000))
    assert store.due(0, 1).due == []
    clock[0] = 5_000
    assert [entry.at for entry in store.due(0, 1).due] == [5_000]
    assert now(store) == 5_000
