"""The contract of a store, second part: the wake index, leases, and the workers' pulse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.machine.runs import RunStatus
from celeriac.store import Due, Lease
from tests.store.runs import a_run, due, ending, lease, moving, now, same_shard, starting, write

if TYPE_CHECKING:
    from celeriac.store import Store

FAR = 10**12  # ms, some thirty years


def test_a_run_is_due_when_its_time_has_come(store: Store) -> None:
    """A run is found from its wake time on, and not before."""
    early, late = same_shard(store, 2)
    time = now(store)
    write(store, starting(a_run(early), wake_at=time - 1))
    write(store, starting(a_run(late), wake_at=time + FAR))
    assert store.due(0, 10).due == [Due(early, time - 1, None)]


def test_due_tells_the_time_of_the_store(store: Store) -> None:
    """A batch carries the time it was taken at, by the clock of the store."""
    before = now(store)
    assert before <= store.due(0, 1).now <= now(store)


def test_due_is_oldest_first_and_bounded(store: Store) -> None:
    """A batch holds the entries that are due for longest, and no more than asked for."""
    names = same_shard(store, 6)
    for n, name in enumerate(names):
        write(store, starting(a_run(name), wake_at=100 - n))
    found = store.due(0, 4).due
    assert [entry.run_id for entry in found] == names[:1:-1]
    assert [entry.at for entry in found] == [95, 96, 97, 98]


def test_due_looks_at_one_shard(store: Store) -> None:
    """Every run is due in its own shard, and in no other."""
    names = [f"order-{n}" for n in range(40)]
    for name in names:
        write(store, starting(a_run(name)))
    found = [[entry.run_id for entry in store.due(n, 100).due] for n in range(store.shards)]
    assert sorted(name for part in found for name in part) == sorted(names)
    assert all(store.shard_of(name) == n for n, part in enumerate(found) for name in part)


def test_a_run_is_in_the_wake_index_until_it_rests(store: Store) -> None:
    """Every commit moves the run's one entry; coming to rest removes it, reopening restores it."""
    run = write(store, starting(a_run(), wake_at=1))
    run = write(store, moving(run, wake_at=2))
    assert due(store, run.id) == [Due(run.id, 2, None)]
    run = write(store, ending(run))
    assert due(store, run.id) == []
    run = write(store, moving(run, wake_at=3, to=RunStatus.COMPENSATING))
    assert due(store, run.id) == [Due(run.id, 3, None)]


def test_leases_are_entries_of_their_own(store: Store) -> None:
    """A lease is due when it runs out, beside the run's timer, and gone when it is released."""
    run = write(store, starting(a_run(), wake_at=5))
    undo = Lease(run.id, "re:serve-2", "undo", 3)
    run = write(store, moving(run, 5, leases={lease(run): 3, undo: 9}))
    assert due(store, run.id) == [
        Due(run.id, 3, lease(run)),
        Due(run.id, 5, None),
        Due(run.id, 9, undo),
    ]
    run = write(store, moving(run, 5, released=[lease(run), lease(run, attempt=7)]))
    assert [entry.lease for entry in due(store, run.id)] == [None, undo]


def test_a_lease_handed_on_in_one_commit_is_held(store: Store) -> None:
    """A commit that releases one attempt may take the next."""
    run = write(store, starting(a_run()))
    run = write(store, moving(run, leases={lease(run, 1): 5}))
    write(store, moving(run, released=[lease(run, 1)], leases={lease(run, 2): 6}))
    assert [entry.lease for entry in due(store, run.id)] == [None, lease(run, 2)]


def test_renewing_puts_a_lease_off(store: Store) -> None:
    """A renewed lease is not due; one that was released is reported, and does not come back."""
    run = write(store, starting(a_run(), wake_at=now(store) + FAR))
    run = write(store, moving(run, run.started_at + FAR, leases={lease(run): 1}))
    assert store.renew([lease(run), lease(run, 2)], 60_000) == {lease(run, 2)}
    assert due(store, run.id) == []
    assert store.renew([], 60_000) == set()


def test_renewing_counts_from_the_time_of_the_store(store: Store) -> None:
    """The new expiry is the store's time and the length given."""
    run = write(store, starting(a_run(), leases={lease(a_run()): 1}))
    before = now(store)
    store.renew([lease(run)], 0)
    [found] = [entry for entry in due(store, run.id) if entry.lease]
    assert before <= found.at <= now(store)


def test_renewing_many_runs_at_once(store: Store) -> None:
    """Leases of several shards are renewed together, and each is answered for."""
    held = [lease(write(store, starting(a_run(f"order-{n}")))) for n in range(20)]
    for each in held[::2]:
        run = store.read(each.run_id).run
        assert run
        write(store, moving(run, leases={each: 1}))
    assert store.renew(held, 60_000) == set(held[1::2])


def test_a_lapsed_lease_is_due_now(store: Store) -> None:
    """A lease whose holder is known to be dead is found at once; others stay."""
    run = write(store, starting(a_run(), wake_at=now(store) + FAR))
    later = now(store) + FAR
    write(store, moving(run, later, leases={lease(run, 1): later, lease(run, 2): later}))
    store.lapse([lease(run, 1), lease(run, 3)])
    assert [entry.lease for entry in due(store, run.id)] == [lease(run, 1)]


def test_postponing_moves_an_entry(store: Store) -> None:
    """An entry that stands where it was found is due later."""
    run = write(store, starting(a_run(), wake_at=1, leases={lease(a_run()): 2}))
    [timer, held] = due(store, run.id)
    store.postpone({timer: 7, held: now(store) + FAR})
    assert due(store, run.id) == [Due(run.id, 7, None)]


def test_postponing_respects_what_happened_meanwhile(store: Store) -> None:
    """An entry that was moved or removed since it was found stays as it is."""
    run = write(store, starting(a_run(), wake_at=1, leases={lease(a_run()): 2}))
    [timer, held] = due(store, run.id)
    write(store, moving(run, wake_at=3, released=[lease(run)]))
    store.postpone({timer: 7, held: 8})
    assert due(store, run.id) == [Due(run.id, 3, None)]


# --- pulse -------------------------------------------------------------------------------------


def test_nobody_has_shown_a_sign_of_life_yet(store: Store) -> None:
    """Before the first pulse there is none, in any shard."""
    assert store.due(0, 1).pulse == (0, 0, ())
    assert store.due(0, 1).arrivals == {}


def test_a_pulse_is_known_in_every_shard(store: Store) -> None:
    """A sign of life is seen by whoever sweeps, whichever shard."""
    before = now(store)
    store.pulse(1000)
    for shard in range(store.shards):
        pulse = store.due(shard, 1).pulse
        assert before <= pulse.last <= now(store)
        assert pulse.since == pulse.last


def test_signs_of_life_without_a_gap_keep_since(store: Store) -> None:
    """`since` stays while no silence is longer than the gap, and begins anew after one."""
    store.pulse(60_000)
    first = store.due(0, 1).pulse
    while store.due(0, 1).now <= first.last + 1:
        pass
    store.pulse(60_000)
    second = store.due(0, 1).pulse
    assert second.since == first.since
    assert second.last > first.last
    store.pulse(-1)
    third = store.due(0, 1).pulse
    assert third.since == third.last


def test_an_outage_is_kept(store: Store) -> None:
    """An outage reaches from when the store was lost until now."""
    before = now(store)
    store.pulse(1000, outage_ms=5_000)
    [(first, last)] = store.due(0, 1).pulse.outages
    assert last - first == 5_000
    assert before <= last <= now(store)


def test_an_outage_told_by_many_is_one(store: Store) -> None:
    """Reports that touch, also one that is repeated, become one outage; no old one is lost."""
    for length in (5_000, 3_000, 60_000):
        for _ in range(60):
            store.pulse(1000, outage_ms=length)
    [(first, last)] = store.due(0, 1).pulse.outages
    assert 60_000 <= last - first < 120_000


def test_arrivals_keep_the_newest_of_each_queue(store: Store) -> None:
    """For each queue it is known when the newest message that arrived was sent."""
    run = write(store, starting(a_run(), claimed=("bank", 500)))
    run = write(store, moving(run, claimed=("bank", 400)))
    run = write(store, moving(run, claimed=("stock", 10**15)))
    assert store.due(store.shard_of(run.id), 1).arrivals == {"bank": 500, "stock": 10**15}


# --- sweeps ------------------------------------------------------------------------------------


def test_nobody_has_swept_yet(store: Store) -> None:
    """Before the first sweep nothing is known of one."""
    assert store.last_sweep() is None


def test_the_newest_sweep_is_known(store: Store) -> None:
    """Of the newest sweep it is known when it ended, by the store's clock, its lag and length."""
    store.swept(lag_ms=900, took_ms=40)
    before = now(store)
    store.swept(lag_ms=3, took_ms=12)
    mark = store.last_sweep()
    assert mark is not None
    assert (mark.lag, mark.took) == (3, 12)
    assert before <= mark.at <= mark.now <= now(store)
