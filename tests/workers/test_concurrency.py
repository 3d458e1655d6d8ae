"""Many runs, workers, beats and clients at once: each run ends as if it had been alone.

Owns: races without any fault.  Refuses to know: what is killed, lost or full.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import RunConflict, RunExists, RunStatus
from tests.workers import load
from tests.workers.kit import Trip

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac import RunHandle
    from tests.workers.world import World

THREADS = 8


def test_two_hundred_mixed_runs(world: World) -> None:
    """Two workers and two beats bring every run to its end, and every run is listed once."""
    world.worker("w1", children=4)
    world.worker("w2", children=4)
    world.beat("b1")
    world.beat("b2")
    runs = load.start(world, "many", range(200))
    load.all_rest(world, runs, 120)
    assert load.statuses(runs) == load.expected(runs)
    assert load.happened(runs, "lost") == {}
    wanted = Counter(load.expected(runs).values())
    counts = world.kit.sagas.counts()
    assert {status.value: count for (_, status), count in counts.items()} == wanted
    assert {saga for saga, _ in counts} == {"trip"}
    assert _pages(world, limit=37) == sorted(run.id for run in runs)
    completed = [run_id for run_id, how in load.expected(runs).items() if how == "completed"]
    assert _pages(world, limit=20, status="completed") == sorted(completed)

    alone = _alone(world)
    many = _as_one_of_each(load.outline(world, "many"))
    assert many == Counter({row: 20 * count for row, count in alone.items()})


def _alone(world: World) -> Counter[tuple[str, str, int]]:
    """What the ledger holds of each kind of run when it is alone."""
    for n in range(len(load.MIXED)):
        load.all_rest(world, load.start(world, "alone", range(n, n + 1)))
    return load.outline(world, "alone")


def _as_one_of_each(outline: Counter[tuple[str, str, int]]) -> Counter[tuple[str, str, int]]:
    """The same ledger with all runs of a kind under one number: `-137:pay` is `-7:pay`."""
    found: Counter[tuple[str, str, int]] = Counter()
    for (kind, key, attempt), count in outline.items():
        number, _, step = key[1:].partition(":")
        found[kind, f"-{int(number) % len(load.MIXED)}:{step}", attempt] += count
    return found


def _pages(world: World, **query: Any) -> list[str]:
    """The ids found page by page, as often as they are found, sorted."""
    found: list[str] = []
    cursor = None
    while True:
        page = world.kit.sagas.runs(cursor=cursor, **query)
        found += [run.id for run in page]
        if page.cursor is None:
            return sorted(found)
        cursor = page.cursor


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Call all at once; return what each returned, or raised."""

    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # noqa: BLE001 -- the test looks at it
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


@pytest.mark.parametrize("if_exists", ["join", "fail"])
def test_one_id_started_by_many(world: World, if_exists: Any) -> None:
    """Eight threads that start the same id start one run."""
    world.worker()
    world.beat()
    trip = world.kit.trip
    for n in range(5):
        found = at_once(
            *[lambda n=n: trip.start(Trip(), id=f"same-{n}", if_exists=if_exists)] * THREADS
        )
        handles = [each for each in found if not isinstance(each, Exception)]
        refused = [each for each in found if isinstance(each, RunExists)]
        joined = THREADS if if_exists == "join" else 1
        assert (len(handles), len(refused)) == (joined, THREADS - joined), found
        assert world.rest(handles[0]).status == "completed"
        assert load.happened(handles[:1], "started") == {f"same-{n}": 1}
    assert len(world.ledger.rows("same-%", "begin")) == 15


def test_one_id_with_different_inputs(world: World) -> None:
    """Of threads that start the same id with different inputs one wins, and the others are told."""
    world.worker()
    world.beat()
    trip = world.kit.trip
    found = at_once(
        *[lambda n=n: trip.start(Trip(script={f"none-{n}": []}), id="mine") for n in range(THREADS)]
    )
    [handle] = [each for each in found if not isinstance(each, Exception)]
    assert [type(each) for each in found if each is not handle] == [RunConflict] * (THREADS - 1)
    assert world.rest(handle).status == "completed"
    assert len(world.ledger.rows("mine%", "begin")) == 3


def test_cancel_races_with_completion(world: World) -> None:
    """A run that is cancelled at any moment, or after its end, is undone to the last effect."""
    world.worker(children=4)
    world.beat()
    moments = ("", "book", "pay", "send")

    def cancelled(n: int) -> RunHandle[Any]:
        run = world.kit.trip.start(Trip(), id=f"race-{n}")
        moment = moments[n % 4]
        if moment:
            world.until(lambda: world.ledger.bodies(run.id, moment), f"{run.id} is at {moment}")
        run.cancel("changed my mind")
        return run

    with ThreadPoolExecutor(THREADS) as pool:
        runs = list(pool.map(cancelled, range(50)))
    load.all_rest(world, runs)
    assert {run.status.value for run in runs} == {"compensated"}
    assert {run.state().why for run in runs} == {"cancelled"}
    assert world.ledger.rows("race-%", "begin")
    reached = Counter(len(world.ledger.rows(f"{run.id}:%", "do")) for run in runs)
    assert len(reached) >= 3, reached  # or it was no race
    assert world.kit.sagas.counts() == {("trip", RunStatus.COMPENSATED): 50}
