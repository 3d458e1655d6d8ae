"""One command for many runs: looked at, confirmed, given by the sweep.

Owns: what a look finds, what is left alone, and going on after a crash.  Refuses to know: the
store's way to keep it, and pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac import BulkNotFound, CommandRefused, InputInvalid, RunHandle
from celeriac.app import bulks
from tests.in_memory import do, keep_in_memory
from tests.processes import until
from tests.web import shop

if TYPE_CHECKING:
    from celeriac import BulkCommand
    from celeriac.store.memory import MemoryStore


@pytest.fixture(autouse=True)
def store() -> MemoryStore:
    """A shop without runs; its store."""
    return keep_in_memory(shop.sagas)


def swept(bulk: BulkCommand) -> BulkCommand:
    """Sweep until it is over."""
    for _ in range(100_000):
        if bulk.state().state != "going":
            return bulk
        shop.sagas.sweep()
    raise AssertionError(bulk.state())


def outcomes(bulk: BulkCommand) -> dict[str, str | None]:
    """What became of each run."""
    return {each.run_id: each.outcome for each in bulk.runs(limit=10_000)}


def test_nothing_is_done_before_it_is_confirmed() -> None:
    """A look says how many and which; whoever confirms says how many they saw."""
    for n in range(3):
        shop.failed(f"o-{n}")
    shop.running("r-1")
    bulk = shop.sagas.bulk("retry", status="failed", reason="the bank is back", rps=1000, by="ada")
    seen = bulk.state()
    assert (seen.state, seen.matched, seen.left, seen.about) == ("looked", 3, 3, "status failed")
    assert [(each.saga, each.status, each.runs) for each in seen.kinds] == [
        ("place_order", "failed (3 owed)", 3)
    ]
    assert outcomes(bulk) == dict.fromkeys(("o-0", "o-1", "o-2"))
    shop.sagas.sweep()
    with pytest.raises(CommandRefused, match="is for 3 runs, not 2"):
        bulk.start(2, by="eve")
    assert {run.status for run in shop.sagas.runs(status="failed")} == {"failed"}
    assert bulk.start(3, by="bob")
    assert not bulk.start(3, by="bob")
    assert set(outcomes(swept(bulk)).values()) == {"changed"}
    told = bulk.state()
    assert (told.state, told.changed, told.left, told.begun_by) == ("done", 3, 0, "bob")
    last = shop.sagas.run("o-1").history()[-1]
    assert (last.data["by"], last.data["reason"]) == ("bob", f"the bank is back ({bulk.id})")
    with pytest.raises(CommandRefused, match="is over"):
        bulk.start(3)


def test_a_run_that_has_changed_since_the_look_is_left_as_it_is() -> None:
    """Be it that it ended, turned round, began anew or owes something else."""
    for n in range(2):
        shop.running(f"r-{n}")
    shop.failed("o-1")
    bulk = shop.sagas.bulk("cancel", saga="place_order", rps=1000)
    shop.sagas.run("o-1").waive("charge", "paid by hand")
    shop.sagas.run("r-1").cancel("by hand")
    shop.completed("later")
    bulk.start(3)
    assert outcomes(swept(bulk)) == {"r-0": "changed", "r-1": "refused", "o-1": "refused"}
    assert "it is compensat" in next(e.why for e in bulk.runs() if e.run_id == "r-1")
    assert shop.sagas.run("later").status == "completed"


def test_a_run_that_goes_forward_is_as_it_was_seen() -> None:
    """Its steps move on all the time: that is no reason to let it go."""
    shop.place_order.start(shop.Order(sku="pen"), id="r-0")
    bulk = shop.sagas.bulk("pause", saga="place_order", rps=1000)
    do(shop.sagas, "r-0", "reserve", output='"pen"')
    bulk.start(1)
    assert outcomes(swept(bulk)) == {"r-0": "changed"}
    assert shop.sagas.run("r-0").status == "paused"


def test_a_run_that_moves_after_all_is_not_idle() -> None:
    """Whoever cancels what has stood still for an hour does not mean what goes on."""
    for n in range(2):
        shop.place_order.start(shop.Order(sku="pen"), id=f"r-{n}")
    until(lambda: len(shop.sagas.runs(idle=0.001)) == 2, "both have stood still for so long")
    bulk = shop.sagas.bulk("cancel", idle=0.001, rps=1000)
    do(shop.sagas, "r-0", "reserve", output='"pen"')
    bulk.start(2)
    assert outcomes(swept(bulk)) == {"r-0": "refused", "r-1": "changed"}


@pytest.mark.parametrize(
    ("name", "value"), [("saga", ""), ("failed_step", ""), ("code", ""), ("idle", ""), ("idle", 0)]
)
def test_a_filter_that_names_nothing_finds_nothing(name: str, value: Any) -> None:
    """Taken for one that was left out, as of an unset variable, it would mean all runs."""
    shop.failed("o-1")
    with pytest.raises(InputInvalid, match=name):
        shop.sagas.bulk("retry", status="failed", **{name: value})


def test_runs_that_left_the_filter_get_nothing() -> None:
    """Whoever cancels what is running does not mean what somebody has paused meanwhile."""
    shop.running("r-0")
    shop.asking("e-0")
    running = shop.sagas.bulk("cancel", status="running", rps=1000)
    awaiting = shop.sagas.bulk("cancel", awaiting=True, rps=1000)
    shop.sagas.run("r-0").pause("later")
    shop.sagas.run("e-0").signal(shop.verdict, shop.Verdict(approve=True, by="ada"))
    for bulk in (running, awaiting):
        bulk.start(1)
        assert set(outcomes(swept(bulk)).values()) == {"refused"}


def test_runs_that_ask_what_became_of_a_step_get_no_retry_unasked() -> None:
    """It might do a second time what was done."""
    shop.failed("o-1")
    shop.unsure("m-1")
    bulk = shop.sagas.bulk("retry", status="failed")
    assert (bulk.state().matched, bulk.state().left_alone) == (1, 1)
    assert shop.sagas.bulk("retry", asking=True).state().matched == 1
    assert shop.sagas.bulk("cancel", status="failed").state().matched == 2


def test_picked_runs_are_found_by_their_ids() -> None:
    """Each once; those that are gone are none."""
    shop.failed("o-1")
    shop.failed("o-2")
    bulk = shop.sagas.bulk("retry", runs=["o-2", "o-2", "nobody"], rps=1000)
    assert outcomes(bulk) == {"o-2": None}
    bulk.start(1)
    assert set(outcomes(swept(bulk)).values()) == {"changed"}


def test_what_a_sweep_did_before_it_died_is_told_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one finds it in the history, and gives no command twice."""
    for n in range(3):
        shop.failed(f"o-{n}")
    bulk = shop.sagas.bulk("retry", status="failed", rps=1000)
    bulk.start(3)
    store = shop.sagas.runtime.engine.store

    def dies(*_: Any) -> bool:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(store.bulks, "commit", dies)
        with pytest.raises(RuntimeError, match="killed"):
            swept(bulk)
    acted = {n for n in range(3) if shop.sagas.run(f"o-{n}").status == "compensating"}
    assert acted
    assert bulk.state().left == 3
    assert set(outcomes(swept(bulk)).values()) == {"changed"}
    for n in range(3):
        told = [e for e in shop.sagas.run(f"o-{n}").history() if bulk.id in str(e.data)]
        assert len(told) == 1


def test_it_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while a sweep is at it: what that has done is told all the same."""
    for n in range(3):
        shop.failed(f"o-{n}")
    bulk = shop.sagas.bulk("retry", status="failed", rps=1000)
    bulk.start(3)
    given, retry = [], RunHandle.retry

    def stopped(run: Any, **options: Any) -> bool:
        given.append(run.id)
        bulk.stop(by="eve")
        return retry(run, **options)

    monkeypatch.setattr(RunHandle, "retry", stopped)
    monkeypatch.setattr(bulks, "_AT_ONCE", 1)
    told = swept(bulk).state()
    assert (told.state, told.changed, told.left, told.stopped_by) == ("stopped", 1, 2, "eve")
    shop.sagas.sweep()
    assert len(given) == 1
    assert not bulk.stop(by="bob")


def test_the_pace_is_kept() -> None:
    """A sweep that comes at once finds nothing to do."""
    for n in range(3):
        shop.failed(f"o-{n}")
    bulk = shop.sagas.bulk("retry", status="failed", rps=0.1)
    bulk.start(3)
    for _ in range(5):
        shop.sagas.sweep()
    assert bulk.state().left == 3


@pytest.mark.parametrize(("rps", "turns"), [(0.1, 1), (1, 2), (2.5, 5)])
def test_nothing_is_made_up_for_where_no_sweep_came(rps: float, turns: int) -> None:
    """After an hour without, the first gives what two of them would; a slow pace is kept, too."""
    for n in range(7):
        shop.failed(f"o-{n}")
    bulk = shop.sagas.bulk("retry", status="failed", rps=rps)
    bulk.start(7)
    kept = shop.sagas.runtime.engine.store.bulks
    record = kept.read(bulk.id)
    assert record is not None
    assert kept.commit(record, record.altered(turned_at=(record.turned_at or 0) - 3_600_000))
    shop.sagas.sweep()
    assert bulk.state().changed == turns


def test_what_is_wrong_with_one_run_keeps_it_from_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it removed, unreadable, or the fault of ours."""
    for n in range(3):
        shop.failed(f"o-{n}")
    bulk = shop.sagas.bulk("retry", status="failed", rps=1000)
    bulk.start(3)
    monkeypatch.setattr(RunHandle, "retry", lambda *_, **__: 1 / 0)
    store: Any = shop.sagas.runtime.engine.store
    del store._records["o-1"]
    assert outcomes(swept(bulk)) == {"o-0": "refused", "o-1": "gone", "o-2": "refused"}
    assert {each.why for each in bulk.runs()} == {"ZeroDivisionError: see the worker's log", ""}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "give either runs or a filter"),
        ({"runs": ["a"], "saga": "b"}, "give either runs or a filter"),
        ({"verb": "skip", "saga": "b"}, "verb must be one of"),
        ({"verb": "terminate", "saga": "b", "reason": " "}, "terminate needs one"),
        ({"saga": "b", "rps": 0}, "rps must be"),
        ({"saga": "b", "rps": float("nan")}, "rps must be"),
        ({"saga": "b", "reason": "x" * 1_901}, "reason: text of at most"),
        ({"status": "lost"}, "status must be one of"),
        ({"runs": [7]}, "ids of runs"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(asked: dict[str, Any], told: str) -> None:
    """Before anything is kept; one without a filter would be for all runs."""
    with pytest.raises(InputInvalid, match=told):
        shop.sagas.bulk(**{"verb": "retry", **asked})
    assert shop.sagas.bulks() == []
    with pytest.raises(BulkNotFound):
        shop.sagas.bulk_named("bulk-0").state()


def test_a_look_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than anybody can look through are refused, and none of them is kept."""
    monkeypatch.setattr(bulks, "MOST", 2)
    for n in range(3):
        shop.paused(f"p-{n}")
    with pytest.raises(InputInvalid, match="more than 2 runs match"):
        shop.sagas.bulk("resume", status="paused")
    assert shop.sagas.bulks() == []
