"""The lines of a history: exact, short, and read by whatever version has written them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.machine.events import Event, EventKind
from celeriac.store.history import dump_events, load_events
from tests.store.runs import a_run, moving, starting, write

if TYPE_CHECKING:
    from celeriac.store import Store

NOON = 1_700_000_000_000
START = {"saga": "trip", "plan": "f1", "grace": 5000, "digest": "d", "starter": "n"}
WORDS = st.sampled_from(["holder", "outcome", "late", "saga", "plan"])
EVENTS = st.builds(
    Event,
    at=st.integers(0, 2**45),
    kind=st.sampled_from(EventKind),
    step=st.sampled_from(["", "reserve", "c", "café"]),
    phase=st.sampled_from(["do", "undo"]),
    attempt=st.integers(0, 3),
    data=st.dictionaries(WORDS, st.text(max_size=5) | st.integers(), max_size=2),
).filter(lambda event: event.step or (event.phase, event.attempt) == ("do", 0))


def started(at: int, **more: Any) -> Event:
    """The event of a start."""
    return Event(at, EventKind.STARTED, data={**START, **more})


@given(st.lists(EVENTS.filter(lambda event: event.kind is not EventKind.STARTED)))
def test_every_history_is_read_as_it_was_written(events: list[Event]) -> None:
    """Short or long, each event comes back whole; also those after a second start."""
    before, after = [started(NOON), *events], [started(NOON + 9, epoch=2), *events]
    lines = dump_events(before, NOON) + dump_events(after, NOON + 9)
    assert load_events(lines) == before + after
    assert load_events(lines[1 : len(before)], NOON) == events


def test_what_older_versions_wrote_is_read() -> None:
    """They wrote each event in full; the two forms may follow each other in one history."""
    old = [started(NOON), Event(NOON + 5, EventKind.CLAIMED, "pay", "do", 1, {"holder": "a1"})]
    new = [Event(NOON + 7, EventKind.COMPLETED, "pay", "do", 1)]
    again = Event(NOON + 8, EventKind.CLAIMED, "pay", "undo", 1, {"holder": "a2"})
    lines = [*(event.dump() for event in old), *dump_events(new, NOON), again.dump()]
    assert load_events(lines) == [*old, *new, again]


@pytest.mark.parametrize(
    ("event", "short"),
    [
        (("claimed", "pay", "do", 1, {"holder": "a1b2c3d4"}), '"c","pay","a1b2c3d4"]'),
        (("completed", "pay", "do", 1, {}), '"d","pay"]'),
        (("completed", "pay", "undo", 1, {}), '"ud","pay"]'),
        (("finished", "", "do", 0, {"outcome": "completed"}), '"f","completed"]'),
    ],
)
def test_what_is_usual_is_short(event: tuple[str, str, Any, int, Any], short: str) -> None:
    """The events of a step that goes well take some 50 bytes together."""
    kind, *rest = event
    [line] = dump_events([Event(NOON + 2_889, EventKind(kind), *rest)], NOON)
    assert line == "[2889," + short


def test_a_start_names_its_own_time() -> None:
    """Times count from the start, so that one is written in full."""
    [line] = dump_events([started(NOON)], NOON)
    assert json.loads(line) == [NOON, "s", *START.values()]


def test_a_part_of_a_history_is_the_same_part_of_all_of_it(store: Store) -> None:
    """From the front, from the end and between; also where the id began anew."""
    run = write(store, starting(a_run("order-1")))
    for _ in range(6):
        run = write(store, moving(run))
    for began_anew in (False, True):
        if began_anew:
            later = {"epoch": 2, "started_at": run.started_at + 60_000, "version": run.version + 1}
            run = write(store, starting(a_run("order-1", **later), before=run, fresh=True))
            usual = Event(run.started_at + 5, EventKind.CLAIMED, "reserve", "do", 1)
            run = write(store, moving(run, events=(usual,)))
        whole = store.history("order-1")
        assert len(whole) == (9 if began_anew else 7)
        for first in (0, 1, 3, 6, 50, -1, -3, -50):
            for limit in (None, 1, 2, 50):
                assert store.history("order-1", first, limit) == whole[first:][:limit]
    assert store.history("none", 3, 5) == []
    assert store.history("none", -3) == []


def test_a_part_knows_when_its_events_were(store: Store) -> None:
    """Short forms count their times from a start that the part does not hold."""
    run = write(store, starting(a_run("order-1")))
    usual = Event(run.started_at + 5, EventKind.CLAIMED, "reserve", "do", 1)
    write(store, moving(run, events=(usual,)))
    assert store.history("order-1", 1) == store.history("order-1", -1) == [usual]


@pytest.mark.parametrize("places", [(2, 1, 0), (4, 2, 1), (0,), (3,), (9, 4, 0)])
def test_what_an_event_takes_the_place_of_is_gone(store: Store, places: tuple[int, ...]) -> None:
    """Wherever it stands; what is no longer there is no reason to write nothing."""
    run = write(store, starting(a_run("order-1")))
    for _ in range(5):
        run = write(store, moving(run))
    before = store.history("order-1")
    new = Event(run.started_at + 9, EventKind.POSTPONED, "reserve", "do", 9, replaces=places)
    write(store, moving(run, events=(new,)))
    left = [each for number, each in enumerate(before) if len(before) - 1 - number not in places]
    assert store.history("order-1") == [*left, new]
