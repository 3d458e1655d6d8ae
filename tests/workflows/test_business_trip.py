"""The trip that somebody has to agree to, in the lab.

Owns: what follows from each answer, and from none.  Refuses to know: workers and Redis, and what is
booked how (`test_trip`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workflows.business_trip import Decision, book_business_trip, decided
from workflows.services import ledger, travel
from workflows.trip import Trip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.testing import Lab

TRIP = Trip(id="1", town="Jena", nights=12)


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new ledger, whose services take no time."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "trips.db"))
    monkeypatch.setattr(travel, "SECONDS", 0.0)
    yield
    ledger.close()


def booked() -> list[str]:
    """What was ever booked, in alphabetical order."""
    return sorted(row.item for row in ledger.rows())


def test_a_yes_books_the_trip(lab: Lab) -> None:
    """Nothing is booked before it."""
    run = lab.start(book_business_trip, TRIP, id="t")
    lab.run()
    assert [question.title for question in run.questions()] == ["May this trip be booked?"]
    assert booked() == []
    run.signal(decided, Decision(decision="approve", by="eve"))
    lab.run()
    assert run.status == "completed"
    assert booked() == ["car in Jena", "hotel in Jena"]


def test_a_no_ends_it(lab: Lab) -> None:
    """The reason is kept, and nothing was ever booked."""
    run = lab.start(book_business_trip, TRIP, id="t")
    run.signal(decided, Decision(decision="decline", by="eve"))
    lab.run()
    failure = run.state().failure
    assert run.status == "compensated"
    assert failure is not None
    assert failure.code == "declined"
    assert booked() == []


def test_no_answer_is_a_no(lab: Lab) -> None:
    """After two days the run ends by itself."""
    run = lab.start(book_business_trip, TRIP, id="t")
    lab.run()
    lab.advance("2d")
    assert run.status == "compensated"
    assert booked() == []
