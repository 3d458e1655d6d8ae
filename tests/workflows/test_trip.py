"""The trip in the lab and under the explorer: everything that is booked, or nothing.

Owns: what its conditions lead to.  Refuses to know: workers and Redis.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from celeriac.testing import Lab, explore
from workflows.services import ledger, travel
from workflows.trip import Trip, book_trip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.testing import LabRun


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new ledger, whose services take no time."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "trips.db"))
    monkeypatch.setattr(travel, "SECONDS", 0.0)
    yield
    ledger.close()


def standing(run_id: str) -> list[str]:
    """What is booked for a run, in alphabetical order."""
    found: Counter[str] = Counter()
    for row in ledger.rows():
        if row.key.startswith(f"{run_id}:"):
            found[row.item] += 1 if row.kind == "book" else -1
    return sorted(found.elements())


@pytest.mark.parametrize(
    ("trip", "booked"),
    [
        (Trip(id="1", town="Jena"), ["car in Jena", "hotel in Jena"]),
        (Trip(id="2", town="Helgoland"), ["hotel in Helgoland"]),
        (Trip(id="3", town="Venice", nights=9, insured=True), ["hotel in Venice"]),
        (
            Trip(id="4", town="Jena", nights=9),
            ["car in Jena", "hotel in Jena", "insurance in Jena"],
        ),
    ],
    ids=lambda each: getattr(each, "id", ""),
)
def test_what_a_trip_needs_is_booked(lab: Lab, trip: Trip, booked: list[str]) -> None:
    """And nothing else."""
    run = lab.start(book_trip, trip, id="t")
    itinerary = run.result()
    assert standing("t") == booked
    assert (itinerary.car is None, itinerary.insurance is None) == (
        trip.town != "Jena",
        len(booked) < 3,
    )


def test_a_town_without_a_room_is_left_alone(lab: Lab) -> None:
    """The car beside it is given back."""
    run = lab.start(book_trip, Trip(id="5", town="Bielefeld"), id="t")
    lab.run()
    assert run.status == "compensated"
    assert run.state().failed_step == "reserve_hotel"
    assert standing("t") == []


def test_whatever_goes_wrong() -> None:
    """Everything or nothing, with any one fault."""

    def check(run: LabRun[object]) -> None:
        wanted = ["car in Jena", "hotel in Jena", "insurance in Jena"]
        assert standing(run.id) == (wanted if run.status == "completed" else [])

    trip = Trip(id="6", town="Jena", nights=9)
    report = explore(book_trip, trip, check=check, pairs=False, most=120, seconds=150)
    assert report.ok, report
