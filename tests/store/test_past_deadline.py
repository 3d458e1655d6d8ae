"""The contract of a store, about runs that go on though their deadline has passed.

Owns: that they are listed and counted for as long.  Refuses to know: deadlines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.store import Query
from tests.store.runs import a_run, ending, ids, moving, starting, write

if TYPE_CHECKING:
    from celeriac.store import Store

T0 = 1_700_000_000_000


def test_who_is_past_its_deadline_is_counted_until_it_rests(store: Store) -> None:
    """A run that is told to be late is listed from then on, and no longer once it is at rest."""
    run = write(store, starting(a_run(started_at=T0)))
    assert store.figures().past_deadline == 0
    late = replace(run, version=run.version + 1, overdue=True)
    run = write(store, moving(run, run=late))
    assert store.figures().past_deadline == 1
    assert ids(store.find(Query(past_deadline=True)).runs) == ["order-42"]
    assert store.figures().awaiting == 0
    write(store, ending(run))
    assert store.figures().past_deadline == 0
    assert store.find(Query(past_deadline=True)).runs == []
