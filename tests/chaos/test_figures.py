"""Chaos can fail: figures of a dead system, or of one that was spared, do not pass.

Owns: what the figures make of journals, histories and notes, without letting anything happen.
Refuses to know: the laws of runs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.engine.gates import GateWork, Passing
from celeriac.gating import Record, dump
from celeriac.machine import Place, Rule
from celeriac.machine.events import Event, EventKind
from celeriac.store import GateChange, GateSnapshot, place_member
from celeriac.store.redis_gates import RedisGates
from tests.chaos.figures import (
    MUST_HAPPEN,
    THROUGH_BREAKER,
    THROUGH_LIMIT,
    THROUGH_RATE,
    StoreStats,
    _at_gates,
    _too_little,
    _unexpected,
)
from tests.chaos.journal import ACCEPTED, TRIED, Journal, journals
from tests.chaos.load import MIXED, SHAPES
from tests.chaos.nemesis import Struck
from tests.chaos.passes import note_in, passed
from tests.chaos.recovery import CLOCK, Recovery, recoveries
from tests.chaos.report import as_json, text
from tests.chaos.schedule import schedule
from tests.chaos.settle import Settled
from tests.proof.places import Passed

if TYPE_CHECKING:
    from pathlib import Path

PLAN = schedule(1, 48)
WELL = Settled(3.0, 2.0, 0.5, (), 0)


def _lively() -> StoreStats:
    """StoreStats with nothing wrong in them."""
    figures = StoreStats(1, 48, "one Redis for both", settled=WELL)
    for shape in SHAPES:
        figures.ended[shape, "completed"] = figures.ended[shape, "compensated"] = 10
    figures.faults = Counter(planned.kind for planned in PLAN)
    figures.reports = Counter(MUST_HAPPEN)
    return figures


def _history(*seconds: float, last: EventKind = EventKind.CLAIMED) -> list[Event]:
    kinds = [EventKind.STARTED, *[EventKind.CLAIMED] * (len(seconds) - 2), last]
    return [Event(int(at * 1000), kind) for at, kind in zip(seconds, kinds, strict=True)]


def test_a_lively_system_passes() -> None:
    """Runs of all shapes ended in both ways, and every fault met somebody."""
    assert list(_too_little(_lively(), PLAN)) == []


def test_a_dead_system_does_not_pass() -> None:
    """Where nothing happened, nothing is proven, though no law was broken."""
    told = list(_too_little(StoreStats(1, 48, "one Redis for both"), PLAN))
    assert "only 0 runs completed: the system was as good as dead" in told
    assert "not all workers and beats came to work again" in told
    assert "the fault 'kill-redis' was planned, and met nobody" in told


@pytest.mark.parametrize("what", MUST_HAPPEN)
def test_what_never_happened_does_not_pass(what: str) -> None:
    """Nothing is proven of rewinds, gates, groups or what expires, unless there were some."""
    figures = _lively()
    del figures.reports[what]
    assert list(_too_little(figures, PLAN)) == [f"it never happened: {what}"]


def test_who_waited_at_a_gate_and_passed_is_counted() -> None:
    """Only once it was claimed after it had waited; by the gate that it came to last."""

    def queued(step: str, gate: str) -> Event:
        return Event(1, EventKind.QUEUED, step, data={"gate": gate})

    claimed = EventKind.CLAIMED
    several = [queued("left", "stamps"), queued("inquire", "bank"), Event(3, claimed, "left")]
    assert list(_at_gates(several)) == [THROUGH_LIMIT]
    assert list(_at_gates([*several[1:2], Event(3, claimed, "inquire")])) == [THROUGH_BREAKER]
    again = [*several[:1], queued("left", "seals"), Event(3, claimed, "left")]
    assert list(_at_gates(again)) == [THROUGH_RATE]
    assert list(_at_gates([Event(1, claimed, "left"), *several[1:2]])) == []


def test_who_passes_a_rate_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the place is taken; a place that is given back is none."""
    read = GateSnapshot(1_000, "", [], 0, [], 0, 0, None, None)
    monkeypatch.setattr(RedisGates, "read", lambda *_: read)
    for kind, name in ((RedisGates, "commit"), (GateWork, "give_back")):
        monkeypatch.setattr(kind, name, lambda *_: True)
    note_in(tmp_path)
    rule = Rule(kind="rate", most=2, per=300)
    places = [Place("prints", run, 0, "left", "do", 1, "one") for run in ("a", "b")]
    record = dump(Record(version=1_001, rule=rule))
    gates: Any = RedisGates
    gates.read(None, "prints")
    for place in places:
        gates.commit(None, GateChange("prints", "", record, {place_member(place): 1_300}))
    limit = dump(Record(version=1, rule=Rule(kind="limit", most=2)))
    gates.commit(None, GateChange("stamps", "", limit, {"c": 5}))
    work: Any = GateWork
    work.give_back(None, Passing([places[1]]))
    assert passed(tmp_path) == [Passed("prints", 2, 300, 1_000, 1_001)]


def test_a_lost_start_does_not_pass() -> None:
    """One start that was accepted and is gone is one too many."""
    figures = _lively()
    figures.starts["accepted and lost"] = 1
    assert list(_too_little(figures, PLAN)) == ["1 accepted starts were lost (D1)"]


def test_a_fault_that_met_nobody_does_not_pass() -> None:
    """Every kind of fault of the schedule must have happened."""
    figures = _lively()
    figures.faults["cut"] = 0
    assert list(_too_little(figures, PLAN)) == ["the fault 'cut' was planned, and met nobody"]


@pytest.mark.parametrize(
    ("happened", "status", "wrong"),
    [
        ([], "completed", 0),
        ([], "compensated", 1),
        ([Event(4_000, EventKind.LOST, "pay", "do", 1)], "compensated", 0),
        ([Event(4_000, EventKind.FAILED, "pay", "do", 1, {"why": "timeout"})], "compensated", 0),
        ([Event(4_000, EventKind.FAILED, "pay", "do", 1, {"error": "Abort"})], "compensated", 1),
    ],
)
def test_spared_runs_end_as_their_shape_says(
    happened: list[Event], status: str, wrong: int
) -> None:
    """A run that no fault has touched has no excuse to end in another way."""
    assert MIXED[0].status == "completed"
    assert len(list(_unexpected("c1-0", status, [*_history(1, 2, 3), *happened]))) == wrong


def test_recovery_is_the_time_to_the_next_event() -> None:
    """From the end of a fault, for each run that was under way at that time."""
    histories = {
        "under-way": _history(1, 9, 14.5),
        "too-early": _history(1, 2, 3, last=EventKind.FINISHED),
        "too-late": _history(12, 13),
        "over-it": _history(10.5, 11.5),
    }
    struck = [Struck("kill-redis", "state", 10, 11, ""), Struck("cut", "w1", 2, 3, "", missed=True)]
    found = recoveries(struck, histories)
    assert list(found) == ["kill-redis"]
    assert found["kill-redis"] == (2, 3.5, 3.5, 3.5)


def test_nothing_is_measured_by_a_wrong_clock() -> None:
    """While the clock of the histories is set, they do not tell when something was."""
    histories = {"run": _history(1, 9, 14)}
    jump = Struck(CLOCK, "state", 12, 13, "")
    assert recoveries([jump, Struck("cut", "w1", 10, 11, "")], histories) == {}


def test_a_journal_outlives_its_client(tmp_path: Path) -> None:
    """Who comes after a client that was killed knows what it had asked for, and what is next."""
    first = Journal(tmp_path, "c1")
    first.note(TRIED, "c1-0")
    first.note(ACCEPTED, "c1-0")
    first.note(TRIED, "c1-1")
    [second] = journals(tmp_path)
    assert second.open() == ["c1-1"]
    assert second.next() == 2
    assert Journal(tmp_path, "c2").next() == 0


def test_the_report_tells_what_is_wrong() -> None:
    """Its last line is the verdict, with the seed; programs get the same."""
    figures = _lively()
    assert text(figures).endswith("passed (seed 1)")
    figures.recovery["cut"] = Recovery(7, 0.5, 2.0, 2.5)
    told = as_json(figures)
    assert told["passed"] is True
    assert told["recovery"] == {"cut": {"runs": 7, "p50": 0.5, "p99": 2.0, "max": 2.5}}
    figures.stuck.append("c1-7 (slow)")
    assert "stuck runs: 1\nc1-7 (slow)" in text(figures)
    assert text(figures).endswith("FAILED (seed 1)")
    assert as_json(figures)["stuck"] == ["c1-7 (slow)"]
