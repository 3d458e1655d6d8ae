"""The checks can fail: each of them, by a history or a store that breaks what it looks after.

Owns: one forgery for each check.  Refuses to know: how a forgery could have come about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac import EventKind
from celeriac.machine import Plan
from celeriac.machine.events import Event
from celeriac.machine.steps import PhaseStatus, changed
from celeriac.testing import Lab, Violation
from celeriac.testing.audit import audit
from tests.testing import sagas, shop

if TYPE_CHECKING:
    from celeriac.store import Change

E = EventKind
BACKWARDS = sagas.backwards.planned.plan


def told(*words: str, **data: Any) -> list[Event]:
    """Events in the order told: `claimed reserve`, `completed undo charge 2`, `started`."""
    return [_event(each, number, data) for number, each in enumerate(words)]


def _event(words: str, at: int, data: dict[str, Any]) -> Event:
    kind, *rest = words.split()
    undo = rest[:1] == ["undo"]
    step, attempt = [*rest[undo:], *["", "1"][len(rest) - undo :]][:2]
    return Event(
        at, E(kind), step, "undo" if undo else "do", int(attempt), dict(data.get(kind, {}))
    )


DONE = ("started", "claimed reserve", "completed reserve", "claimed charge", "completed charge")
SHIPPED = (*DONE, "claimed ship", "completed ship", "finished")
TURNED = (*DONE, "claimed ship", "failed ship", "compensation_started")
UNDONE = (
    *("claimed undo ship", "completed undo ship", "claimed undo charge", "completed undo charge"),
    *("claimed undo reserve", "completed undo reserve", "finished"),
)

BROKEN: dict[str, tuple[str, list[Event]]] = {
    "two at once": ("I3", told("started", "claimed reserve", "claimed reserve 2")),
    "ended from nowhere": ("I3", told("started", "completed reserve")),
    "out of turn": ("I8", told("started", "claimed charge")),
    "forward while going back": ("I8", told(*TURNED, "claimed ship 2")),
    "undone without a reason": ("I5", told(*DONE, "claimed undo charge")),
    "turned for what succeeded": (
        "I5",
        told(
            *DONE,
            "compensation_started",
            compensation_started={"why": "failed", "culprit": "charge"},
        ),
    ),
    "undone beside": (
        "I7",
        told(*DONE, "claimed ship", "compensation_started", "claimed undo charge"),
    ),
    "undone in the wrong order": ("I8", told(*TURNED, "claimed undo reserve")),
    "not all done": ("I1", told(*DONE, "finished", finished={"outcome": "completed"})),
    "forgotten": (
        "I6",
        told(*TURNED, *UNDONE[:4], "finished", finished={"outcome": "compensated"}),
    ),
    "tried too often": (
        "L3",
        told(
            "started",
            *(f"{verb} reserve {n}" for n in range(1, 5) for verb in ("claimed", "failed")),
            failed={"retry": 1},
        ),
    ),
}


@pytest.mark.parametrize("forgery", BROKEN)
def test_a_broken_rule_is_named(forgery: str) -> None:
    """A history that breaks a rule is found by that rule."""
    invariant, events = BROKEN[forgery]
    assert [each.partition(":")[0] for each in audit(BACKWARDS, events)][:1] == [invariant]


def test_the_way_back_past_the_pivot() -> None:
    """What is past its pivot does not turn round."""
    events = told("started", "claimed reserve", "completed reserve", "claimed pay", "completed pay")
    back = told("compensation_started", compensation_started={"why": "cancelled"})
    found = audit(sagas.past_pivot.planned.plan, [*events, *back])
    assert [each.partition(":")[0] for each in found] == ["I8"]


def test_right_histories_pass() -> None:
    """Histories as they must be break nothing."""
    assert audit(BACKWARDS, told(*SHIPPED, finished={"outcome": "completed"})) == []
    assert audit(BACKWARDS, told(*TURNED, *UNDONE, finished={"outcome": "compensated"})) == []


# --- after each commit -------------------------------------------------------------------------


def forged(lab: Lab, forge: Any) -> None:
    """Let the next commit of a run be something else than what was decided."""
    store = lab.world.store
    commit = type(store)._commit

    def instead(change: Change) -> bool:
        return commit(store, forge(change))

    store._commit = instead  # type: ignore[method-assign]  # the forgery


@pytest.fixture
def running(lab: Lab) -> Lab:
    """A lab with one run in it."""
    lab.start(shop.place_order, shop.Order(id="1"), id="a")
    return lab


def test_a_state_that_its_history_does_not_tell(running: Lab) -> None:
    """I9: what is stored is what the events make."""
    forged(running, lambda c: c._replace(run=changed(c.run, started_steps=9)))
    with pytest.raises(Violation, match="I9"):
        running.run()


def test_a_move_that_is_not_legal(running: Lab) -> None:
    """I9: an event that cannot happen now is noticed, whoever wrote it."""
    twice = Event(0, E.COMPLETED, "ship", "do", 1)
    forged(running, lambda c: c._replace(events=(*c.events, twice)))
    with pytest.raises(Violation, match="I9"):
        running.run()


def test_a_run_that_nobody_will_wake(running: Lab) -> None:
    """I13: a run that is not at rest is in the wake index."""
    forged(running, lambda c: c._replace(wake_at=None))
    with pytest.raises(Violation, match="I13"):
        running.run()


def test_a_lease_that_is_left_behind(running: Lab) -> None:
    """I13: nothing of a run at rest stays in the wake index."""
    forged(running, lambda c: c._replace(released=()))
    with pytest.raises(Violation, match="I13"):
        running.run()


def test_an_output_that_changes(running: Lab) -> None:
    """I15: what a step returned is what it returned."""
    forged(running, lambda c: c._replace(fields={**c.fields, "out:reserve": f'"{c.run.version}"'}))
    with pytest.raises(Violation, match="I15"):
        running.run()


def test_a_plan_has_its_directions() -> None:
    """What the forgeries rely on: three steps in a row, each with an undo, three attempts each."""
    assert isinstance(BACKWARDS, Plan)
    assert [node.retry.max_attempts for node in BACKWARDS.nodes] == [3, 3, 3]
    assert PhaseStatus.RUNNING
