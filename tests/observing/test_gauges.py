"""The gauges of the store: right, cheap, and never in the way of whoever looks.

Owns: what each gauge says of a store.  Refuses to know: Prometheus, and how the store finds out.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from celeriac.errors import StoreUnavailable
from celeriac.gating import Record as GateRecord
from celeriac.gating import dump
from celeriac.machine import Rule
from celeriac.machine.runs import RunStatus
from celeriac.machine.step_states import Steps
from celeriac.machine.steps import PhaseState, PhaseStatus, StepState
from celeriac.observing.metrics import METRICS
from celeriac.observing.metrics.gauges import (
    FRESH,
    PATIENCE,
    StoreGauges,
    all_samples,
    late_ticks,
    standing,
)
from celeriac.scheduling import Definition, Interval, Record
from celeriac.scheduling.records import Pause
from celeriac.store import GateChange
from celeriac.store.memory import MemoryStore
from tests.store.conftest import (
    cluster,
    cluster_store,
    redis_store,
    server,
    shared_cluster,
    shared_server,
    store,
)
from tests.store.runs import a_run, ending, now, starting, write

if TYPE_CHECKING:
    from celeriac.store import Store, StoreStats

__all__ = [
    "cluster",
    "cluster_store",
    "redis_store",
    "server",
    "shared_cluster",
    "shared_server",
    "store",
]

FAR = 10**12  # ms


def values(store: Store) -> dict[tuple[str, ...], float]:
    """Every gauge by its name and labels."""
    return {(sample.name, *sample.labels): sample.value for sample in standing(store)}


def test_an_empty_store(store: Store) -> None:
    """Where there are no runs nothing is due, and of a sweep that never was nothing is said."""
    assert values(store) == {("celeriac_sweep_lag_seconds",): 0, ("celeriac_overdue",): 0}


def test_runs_by_saga_and_status(store: Store) -> None:
    """Each status of each saga has its number, 0 where there is none."""
    time = now(store)
    for number in range(5):
        run = write(store, starting(a_run(f"order-{number}", started_at=time), wake_at=time + FAR))
        if number < 2:
            write(store, ending(run))
    write(store, starting(a_run("trip-1", saga="trip", started_at=time), wake_at=time + FAR))
    found = values(store)
    assert found["celeriac_runs", "place_order", "running"] == 3
    assert found["celeriac_runs", "place_order", "completed"] == 2
    assert found["celeriac_runs", "place_order", "failed"] == 0
    assert found["celeriac_runs", "trip", "running"] == 1
    assert {key[2] for key in found if key[0] == "celeriac_runs"} == set(RunStatus)


def test_the_oldest_active_run(store: Store) -> None:
    """Its age counts from its start; runs at rest do not count, however old."""
    time = now(store)
    write(store, starting(a_run("new", started_at=time - 5_000), wake_at=time + FAR))
    write(store, starting(a_run("old", started_at=time - 60_000), wake_at=time + FAR))
    done = write(store, starting(a_run("done", started_at=time - 900_000), wake_at=time + FAR))
    write(store, ending(done))
    rest = write(store, starting(a_run("trip", saga="trip", started_at=time - 900_000)))
    write(store, ending(rest))
    found = values(store)
    assert 60 <= found["celeriac_oldest_active_run_seconds", "place_order"] < 90
    assert found["celeriac_oldest_active_run_seconds", "trip"] == 0


def test_what_is_due(store: Store) -> None:
    """What a sweep should have looked at by now is counted, and how long the oldest has waited."""
    time = now(store)
    for number, waits in enumerate((9_000, 2_000, -FAR)):
        write(store, starting(a_run(f"order-{number}", started_at=time), wake_at=time - waits))
    found = values(store)
    assert found["celeriac_overdue",] == 2
    assert 9 <= found["celeriac_sweep_lag_seconds",] < 30


def test_the_newest_sweep(store: Store) -> None:
    """Its end is told in seconds since the epoch, by the store's clock."""
    store.swept(lag_ms=5, took_ms=8)
    mark = store.last_sweep()
    assert mark
    found = values(store)["celeriac_sweep_last_success_timestamp_seconds",]
    assert found == mark.at / 1000


def test_what_is_owed(store: Store) -> None:
    """Every step that a failed run owes counts, in each saga; a failed run owes one at least."""
    owed = StepState(undo=PhaseState(PhaseStatus.FAILED))
    for number in range(3):
        steps = dict.fromkeys(("a", "b")[: number % 2 + 1], owed)
        run = write(store, starting(a_run(f"order-{number}", steps=Steps(steps))))
        write(store, ending(run, RunStatus.FAILED))
    run = write(store, starting(a_run("trip", saga="trip", failed_step="pay")))
    write(store, ending(run, RunStatus.FAILED))
    write(store, starting(a_run("hop", saga="hop")))
    found = values(store)
    assert found["celeriac_obligations", "place_order"] == 4
    assert found["celeriac_obligations", "trip"] == 1
    assert found["celeriac_obligations", "hop"] == 0


def test_every_gauge_is_in_the_table(store: Store) -> None:
    """What the store says is what the table promises, with its labels."""
    write(store, starting(a_run()))
    store.swept(0, 0)
    store.pulse(1000)
    breaker = GateRecord(version=1, rule=Rule(kind="breaker", most=1, per=1, open_for=1))
    assert store.gates.commit(GateChange("bank", "", dump(breaker), look_at=10**14))
    promised = {(m.name, len(m.labels)) for m in METRICS if m.source == "store"}
    assert {(sample.name, len(sample.labels)) for sample in standing(store)} == promised


def test_a_tick_that_nobody_sees_to(store: Store) -> None:
    """It is late from its time on; one that is to come is not, and what was deleted never is."""
    minute, time = 60_000, now(store)
    kept = {"late": time - 3 * minute, "in time": time, "gone": time - 9 * minute}
    every = Definition(
        saga="close", timetable=Interval(period=minute, anchor=0), overlap="skip", catch_up=minute
    )
    for name, last in kept.items():
        record = Record(name=name, definition=every, born=1, confirmed=1, last=last)
        if name == "gone":
            record = record.changed(deleted=Pause(at=1))
        assert store.schedules.commit(None, record, ())
    found = {each.labels: each.value for each in late_ticks(store, [*kept, "not there yet"])}
    assert set(found) == {("late",), ("in time",)}
    assert 2 * 60 <= found["late",] <= 4 * 60
    assert found["in time",] < 60
    assert list(late_ticks(store, [])) == []


# --- asking ------------------------------------------------------------------------------------


class Slow(MemoryStore):
    """A store that answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.away = 0, False
        self.answers = threading.Event()
        self.answers.set()

    def figures(self, since: int = 0) -> StoreStats:
        """Answer, sooner or later."""
        self.asked += 1
        self.answers.wait(30)
        if self.away:
            raise StoreUnavailable("connection refused")
        return super().figures(since)


def test_it_is_asked_once_for_all_who_look() -> None:
    """Who looks again within a second sees the same; after that it is asked again."""
    slow, clock = Slow(), [100.0]
    gauges = StoreGauges(slow, lambda: clock[0])
    first = gauges.samples()
    assert len(first) == 2
    assert gauges.samples() is first
    assert slow.asked == 1
    clock[0] += FRESH
    gauges.samples()
    assert slow.asked == 2


def test_many_who_look_at_once_ask_once() -> None:
    """While an answer is awaited, nobody asks again."""
    slow = Slow()
    slow.answers.clear()
    gauges = StoreGauges(slow)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(gauges.samples()))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    slow.answers.set()
    for thread in threads:
        thread.join(20)
    assert found == [2] * 5
    assert slow.asked == 1


def test_a_store_that_does_not_answer_keeps_nobody_waiting() -> None:
    """Its gauges vanish, and come back when it does."""
    slow, clock = Slow(), [100.0]
    gauges = StoreGauges(slow, lambda: clock[0])
    slow.answers.clear()
    assert gauges.samples() == ()
    assert gauges.samples() == (), "the question still stands"
    assert slow.asked == 1
    asking = gauges.begin().asking
    assert asking
    slow.answers.set()
    asking.join(20)
    assert len(gauges.samples()) == 2


def test_what_was_fresh_when_the_look_began_counts() -> None:
    """Whoever is kept waiting by others still sees what was answered meanwhile, once."""
    slow, clock = Slow(), [100.0]
    gauges = StoreGauges(slow, lambda: clock[0])
    look = gauges.begin()
    assert look.asking
    look.asking.join(20)
    clock[0] += 10 * FRESH
    slow.answers.clear()
    assert len(gauges.seen(look, 0)) == 2
    assert gauges.seen(gauges.begin(), 0) == ()
    slow.answers.set()


def test_a_store_that_is_away_has_no_gauges() -> None:
    """Nothing is better than what was true a while ago; later it is asked again."""
    slow, clock = Slow(), [100.0]
    gauges = StoreGauges(slow, lambda: clock[0])
    assert len(gauges.samples()) == 2
    slow.away = True
    clock[0] += FRESH
    assert gauges.samples() == ()
    assert gauges.samples() == ()
    assert slow.asked == 2, "an outage is not asked about more often than anything else"
    slow.away = False
    clock[0] += FRESH
    assert len(gauges.samples()) == 2


def test_several_that_do_not_answer_share_one_patience() -> None:
    """Who looks waits once, however many servers are away; what does answer is told."""
    slow = [Slow() for _ in range(4)]
    for each in slow:
        each.answers.clear()
    gauges = [StoreGauges(each) for each in [*slow, MemoryStore()]]
    began = time.monotonic()
    assert len(all_samples(gauges)) == 2
    assert time.monotonic() - began < 2 * PATIENCE
    assert [each.asked for each in slow] == [1] * 4
    for each in slow:
        each.answers.set()
