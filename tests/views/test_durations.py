"""How long runs and their steps take: seen in the newest of them.

Owns: the figures.  Refuses to know: how they are drawn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celeriac.machine import Event, EventKind, RunStatus
from celeriac.store import Change
from celeriac.store.memory import MemoryStore
from celeriac.views import durations_of
from celeriac.views.durations import SAMPLE
from tests.store.runs import PLAN, a_run, starting, write

if TYPE_CHECKING:
    from celeriac.store import Store

T0 = 1_700_000_000_000
STEP = "reserve"


def ended(
    store: Store, name: str, took: int, status: RunStatus = RunStatus.COMPLETED, at: int = T0
) -> None:
    """A run that took so long (ms), half of it in its step."""
    run = write(store, starting(a_run(name, started_at=at)))
    end = at + took
    events = (
        Event(at + took // 2, EventKind.CLAIMED, STEP, "do", 1),
        Event(end, EventKind.COMPLETED, STEP, "do", 1),
        Event(end, EventKind.FINISHED, data={"outcome": status.value}),
    )
    after = replace(run, version=run.version + 3, status=status, ended_at=end, changed_at=end)
    write(store, Change(before=run, run=after, events=events, wake_at=None))


def test_half_and_nearly_all_take_at_most_so_long() -> None:
    """Of a hundred runs that took 10 ms to 1 s, each by the time that it took."""
    store = MemoryStore()
    for n in range(1, 101):
        ended(store, f"order-{n:03d}", 10 * n, at=T0 + n)
    found = durations_of(store, "place_order", steps=True)
    assert (found.runs, found.p50, found.p95) == (100, 0.5, 0.95)
    assert found.ended == {RunStatus.COMPLETED: 100}
    assert found.failure_rate == 0
    assert found.plans == {PLAN.fingerprint: 100}
    # Of the 50 newest: they took 510 ms to 1 s, half of it in the step.
    (step,) = found.steps
    assert (step.step, step.attempts, step.p50, step.p95) == (STEP, 50, 0.375, 0.49)
    assert durations_of(store, "place_order", steps=False).steps == ()


def test_only_what_completed_has_a_length() -> None:
    """How the others ended is counted; what goes on is in neither."""
    store = MemoryStore()
    assert durations_of(store, "place_order", steps=True).runs == 0
    write(store, starting(a_run("on", started_at=T0)))
    found = durations_of(store, "place_order", steps=True)
    assert (found.runs, found.p50, found.p95, found.failure_rate) == (1, None, None, None)
    ended(store, "done", 80)
    ended(store, "undone", 9_000, RunStatus.COMPENSATED)
    ended(store, "owing", 9_000, RunStatus.FAILED)
    ended(store, "given up", 9_000, RunStatus.TERMINATED)
    found = durations_of(store, "place_order", steps=True)
    assert (found.runs, found.p50, found.p95, found.failure_rate) == (5, 0.08, 0.08, 0.75)
    assert sum(found.ended.values()) == 4


def test_no_more_than_the_newest_are_looked_at() -> None:
    """However many there are."""
    store = MemoryStore()
    for n in range(SAMPLE + 20):
        ended(store, f"order-{n:03d}", 5_000 if n < 20 else 10, at=T0 + n)
    found = durations_of(store, "place_order", steps=False)
    assert (found.runs, found.p95) == (SAMPLE, 0.01)


@pytest.mark.parametrize("took", [0, 1])
def test_one_run_is_a_figure_already(took: int) -> None:
    """The half and nearly all of one are that one."""
    store = MemoryStore()
    ended(store, "order-1", took)
    found = durations_of(store, "place_order", steps=False)
    assert (found.p50, found.p95) == (took / 1000, took / 1000)
