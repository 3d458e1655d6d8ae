"""The checker can fail: each law has a doctored history or ledger in which it is found broken.

Owns: stories (`example_runs`) that were doctored, one for each way to break a law.  Refuses to
know: how a run comes about in real processes.

The file is long because there is a doctored story for each law.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.machine.events import Event, EventKind
from celeriac.machine.runs import RunStatus
from celeriac.machine.step_states import Steps
from celeriac.machine.steps import PhaseStatus, changed
from tests.machine.story import GRACE, NOON, Story, budget, saga, started, step
from tests.proof import example_flows
from tests.proof.example_runs import (
    STORIES,
    compensated,
    completed,
    late_and_of_no_use,
    late_success,
    owed,
    past_its_pivot,
    record,
    retried,
    rows_of,
    too_late,
)
from tests.proof.laws import LAWS, findings
from tests.proof.records import Record
from tests.proof.violations import violation
from tests.workers.ledger import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.machine import Phase, Plan

_E = EventKind


def laws(found: Record) -> set[str]:
    """The laws that a record breaks."""
    return {finding.law for finding in findings(found)}


@pytest.mark.parametrize("tell", [*STORIES, *example_flows.STORIES], ids=lambda tell: tell.__name__)
def test_a_story_that_keeps_every_law(tell: Callable[[], Story]) -> None:
    """What the state machine itself makes of a run is found in order."""
    told = record(tell())
    assert [violation(told, finding) for finding in findings(told)] == []


# --- doctored ------------------------------------------------------------------------------------


def without(story: Story, kind: EventKind, name: str = "", phase: Phase = "do") -> list[Event]:
    """The history without the first event of a kind."""
    place = _place(story, kind, name, phase)
    return [*story.history[:place], *story.history[place + 1 :]]


def twice(story: Story, kind: EventKind, name: str = "", phase: Phase = "do") -> list[Event]:
    """The history with the first event of a kind twice in a row."""
    place = _place(story, kind, name, phase)
    return [*story.history[: place + 1], *story.history[place:]]


def edited(story: Story, kind: EventKind, name: str = "", **changes: Any) -> list[Event]:
    """The history with other values in the first event of a kind."""
    place = _place(story, kind, name, changes.pop("of", "do"))
    event = replace(story.history[place], **changes)
    return [*story.history[:place], event, *story.history[place + 1 :]]


def earlier(story: Story, kind: EventKind, name: str, phase: Phase, by: int) -> list[Event]:
    """The history with an event so many places further up."""
    place = _place(story, kind, name, phase)
    history = [*story.history[:place], *story.history[place + 1 :]]
    return [*history[: place - by], story.history[place], *history[place - by :]]


def _place(story: Story, kind: EventKind, name: str, phase: Phase) -> int:
    return next(
        number
        for number, event in enumerate(story.history)
        if event.kind is kind and (not name or (event.step, event.phase) == (name, phase))
    )


def rewritten(story: Story, history: list[Event]) -> Record:
    """A record with another history, and the state that this would make, if it makes one."""
    folded = Record.of(story.run, {story.plan.fingerprint: story.plan}, history)
    run = folded.frames[-1].after
    return record(story, history=history, run=run)


def row(story: Story, kind: str, key: str, attempt: int = 1) -> Row:
    """A row that should not be there, at the end."""
    return Row(story.now / 1000 + 1, kind, key, attempt, 999)


def with_rows(story: Story, *more: Row, but: Callable[[Row], bool] = lambda _: False) -> Record:
    """A record with more rows in the ledger, and without some."""
    kept = [each for each in rows_of(story) if not but(each)]
    return record(story, rows=[*kept, *more])


def _i1_lost_effect() -> Record:
    return with_rows(completed(), but=lambda r: r.kind == "do" and r.key.endswith("charge"))


def _i1_undone() -> Record:
    story = completed()
    return with_rows(story, row(story, "undo", "order-42:charge"), row(story, "do", "order-42:x"))


def _i1_stands() -> Record:
    return with_rows(compensated(), but=lambda r: r.kind == "undo" and r.key.endswith("charge"))


def _i1_owed() -> Record:
    return with_rows(owed(), but=lambda r: r.kind == "undo" and r.key.endswith("charge"))


def _i2_twice() -> Record:
    story = retried()
    rows = [each._replace(kind="do") if each.kind == "again" else each for each in rows_of(story)]
    return record(story, rows=rows)


def _i2_other_key() -> Record:
    story = completed()
    return with_rows(story, row(story, "do", "order-42:charge-1a2b"))


def _i3_two_claims() -> Record:
    story = late_and_of_no_use()
    return record(story, history=without(story, _E.LOST, "reserve"))


def _i3_number_taken_twice() -> Record:
    return rewritten(story := retried(), twice(story, _E.CLAIMED, "charge"))


def _i3_unclaimed_body() -> Record:
    story = completed()
    return with_rows(story, row(story, "begin", "order-42:charge", 2))


def _i3_body_twice() -> Record:
    story = completed()
    return with_rows(story, row(story, "begin", "order-42:charge"))


def _i4_stale_success() -> Record:
    # Attempt 1 was given up, and yet it settles the step beside attempt 2.
    story = started("reserve", "charge").lose("reserve")
    story.claim("reserve")
    stale = Event(story.now, _E.COMPLETED, "reserve", "do", 1)
    return rewritten(story, [*story.history, stale])


def _i4_changed_outcome() -> Record:
    story = late_and_of_no_use()
    told = record(story)
    last = told.frames[-1]
    assert last.event.kind is _E.LATE
    status = changed(last.after, status=RunStatus.COMPENSATING)
    return replace(told, frames=[*told.frames[:-1], last._replace(after=status)], run=status)


def _i4_reopened_for_nothing() -> Record:
    story = compensated()
    again = Event(story.now, _E.REOPENED, "charge", "undo", 1)
    return rewritten(story, [*story.history, again])


def _i5_completed_culprit() -> Record:
    story = started("reserve", "charge", "ship").do("reserve", "charge")
    turned = Event(story.now, _E.COMPENSATION_STARTED, data={"why": "failed", "culprit": "charge"})
    return rewritten(story, [*story.history, turned])


def _i5_deadline() -> Record:
    return rewritten(story := too_late(), edited(story, _E.COMPENSATION_STARTED, at=NOON + 59_999))


def _i6_never_undone() -> Record:
    story = started("reserve", "charge").do("reserve").lose("charge").lose("charge")
    story.advance(GRACE).undo("charge", "reserve")
    history = [e for e in story.history if (e.step, e.phase) != ("charge", "undo")]
    return rewritten(story, history)


def _i6_forgotten() -> Record:
    story = late_success()
    told = record(story)
    frame = next(f for f in told.frames if f.event.kind is _E.LOST)
    charge = changed(frame.after.step("charge"), may_have_effect=False)
    steps = frame.after.steps.put({"charge": charge})
    number = frame.number + 1
    forgot = told.frames[number]._replace(after=changed(told.frames[number].after, steps=steps))
    return replace(told, frames=[*told.frames[:number], forgot, *told.frames[number + 1 :]])


def _i6_undone_without_effect() -> Record:
    story = started("reserve", "charge").do("reserve").give_up("charge").undo("charge", "reserve")
    proven = {"error": "BankDown", "effect": False}
    return record(story, history=edited(story, _E.FAILED, "charge", data=proven))


def _i7_beside() -> Record:
    story = started("reserve", "charge").do("reserve")
    story.claim("charge")
    story.cancel()
    beside = Event(story.now, _E.CLAIMED, "reserve", "undo", 1, {"holder": "w"})
    return record(story, history=[*story.history, beside])


def _i7_too_early() -> Record:
    story = late_success()
    return rewritten(story, edited(story, _E.CLAIMED, "charge", of="undo", at=NOON + GRACE - 1))


def _i8_out_of_turn() -> Record:
    story = completed()
    return record(story, history=earlier(story, _E.CLAIMED, "charge", "do", 1))


def _i8_forward_while_undoing() -> Record:
    story = started("reserve", "charge", "ship").do("reserve").give_up("charge")
    forward = Event(story.now, _E.CLAIMED, "ship", "do", 1, {"holder": "w"})
    return record(story, history=[*story.history, forward])


def _i8_wrong_way_round() -> Record:
    plan = saga("reserve", "charge", "ship")
    told = record(compensated())
    forward = plan.model_copy(update={"compensation_order": "forward"})
    history = edited(compensated(), _E.STARTED, data={**_started(told), "plan": "f"})
    run = changed(told.run, plan="f")
    return Record.of(run, {"f": forward}, history, told.rows)


def _started(told: Record) -> dict[str, Any]:
    return told.history[0].data


def _i8_before_what_came_back() -> Record:
    story = started("reserve", "charge").do("reserve").lose("charge").lose("charge")
    story.advance(GRACE).undo("charge")
    story.complete("charge", attempt=1)  # late: charge has to be undone once more, and first
    early = Event(story.now, _E.CLAIMED, "reserve", "undo", 1, {"holder": "w"})
    return record(story, history=[*story.history, early])


def _i8_past_the_pivot() -> Record:
    story = past_its_pivot()
    turned = Event(story.now, _E.COMPENSATION_STARTED, data={"why": "cancelled"})
    return record(story, history=[*story.history, turned])


def _i8_held() -> Record:
    story = started("reserve", "charge").do("reserve")
    story.pause()
    taken = Event(story.now, _E.CLAIMED, "charge", "do", 1, {"holder": "w"})
    return record(story, history=[*story.history, taken])


def _i9_illegal() -> Record:
    return record(story := completed(), history=twice(story, _E.COMPLETED, "charge"))


def _i9_other_state() -> Record:
    story = completed()
    return record(story, run=changed(story.run, status=RunStatus.COMPENSATED))


def _i9_version() -> Record:
    story = completed()
    return record(story, run=changed(story.run, version=story.run.version + 1))


def _i11_twice() -> Record:
    return record(story := late_and_of_no_use(), history=twice(story, _E.LATE, "reserve"))


def _i14_other_plan() -> Record:
    story = completed()
    other = changed(story.run, plan="another")
    told = record(story)
    last = told.frames[-1]._replace(after=other)
    return replace(told, frames=[*told.frames[:-1], last], plans={**told.plans, "another": _plan()})


def _plan() -> Plan:
    return saga("reserve", "charge")


def _i14_foreign_step() -> Record:
    return record(story := completed(), history=edited(story, _E.COMPLETED, "charge", step="x"))


def _saw(story: Story, text: str) -> Row:
    return Row(story.now / 1000, "saw", "order-42:charge", 1, 999, text)


def _i15_other_output() -> Record:
    story = completed()
    rows = [*rows_of(story), _saw(story, '{"reserve": {"hold": 7}}')]
    return record(story, rows=rows, outputs={"reserve": '{"hold": 8}', "charge": "1"})


def _i15_missing_output() -> Record:
    story = completed()
    return record(story, rows=[*rows_of(story), _saw(story, '{"reserve": null}')])


def _i15_twice() -> Record:
    return record(story := completed(), history=twice(story, _E.COMPLETED, "reserve"))


def _l3_attempts() -> Record:
    generous = started(step("reserve", retry=budget(3))).lose("reserve").lose("reserve")
    told = record(generous.do("reserve"))
    strict = {name: saga("reserve") for name in told.plans}
    return replace(told, plans=strict)


def _l4_nothing_owed() -> Record:
    story = owed()
    told = record(story)
    steps = {
        name: changed(s, undo=changed(s.undo, state=PhaseStatus.DONE))
        for name, s in story.run.steps.items()
    }
    run = changed(story.run, steps=Steps(steps), failed_step="")
    last = told.frames[-1]._replace(after=run)
    return replace(told, run=run, frames=[*told.frames[:-1], last])


DOCTORED = (
    ("I1", _i1_lost_effect),
    ("I1", _i1_undone),
    ("I1", _i1_stands),
    ("I1", _i1_owed),
    ("I2", _i2_twice),
    ("I2", _i2_other_key),
    ("I3", _i3_two_claims),
    ("I3", _i3_number_taken_twice),
    ("I3", _i3_unclaimed_body),
    ("I3", _i3_body_twice),
    ("I4", _i4_stale_success),
    ("I4", _i4_changed_outcome),
    ("I4", _i4_reopened_for_nothing),
    ("I5", _i5_completed_culprit),
    ("I5", _i5_deadline),
    ("I6", _i6_never_undone),
    ("I6", _i6_forgotten),
    ("I6", _i6_undone_without_effect),
    ("I7", _i7_beside),
    ("I7", _i7_too_early),
    ("I8", _i8_out_of_turn),
    ("I8", _i8_forward_while_undoing),
    ("I8", _i8_wrong_way_round),
    ("I8", _i8_before_what_came_back),
    ("I8", _i8_past_the_pivot),
    ("I8", _i8_held),
    ("I9", _i9_illegal),
    ("I9", _i9_other_state),
    ("I9", _i9_version),
    ("I11", _i11_twice),
    ("I14", _i14_other_plan),
    ("I14", _i14_foreign_step),
    ("I15", _i15_other_output),
    ("I15", _i15_missing_output),
    ("I15", _i15_twice),
    ("L3", _l3_attempts),
    ("L4", _l4_nothing_owed),
    *example_flows.DOCTORED,
)


@pytest.mark.parametrize(
    ("law", "doctor"), DOCTORED, ids=[doctor.__name__.strip("_") for _, doctor in DOCTORED]
)
def test_a_doctored_story_is_found(law: str, doctor: Callable[[], Record]) -> None:
    """Each law is found broken in a history or a ledger that was doctored to break it."""
    assert law in laws(doctor())


def test_each_law_of_the_list_has_found_something() -> None:
    """No law is in the list that could not fail."""
    for law in LAWS:
        assert any(list(law(doctor())) for _, doctor in DOCTORED), law.__name__


def test_a_story_holds_only_what_matters() -> None:
    """The story of a violation is about its step, on one timeline, and ends where it broke."""
    told = _i3_two_claims()
    [finding] = [each for each in findings(told) if each.law == "I3"]
    lines = str(violation(told, finding)).splitlines()
    assert lines[0] == "I3 · run order-42: do 'reserve' #2 was claimed while #1 was at work"
    assert [line.strip() for line in lines[1:]] == [
        "+0.000 s  history  started: saga place_order",
        "+0.000 s  history  reserve #1 claimed",
        "+0.000 s  history  reserve #2 claimed",
        "+0.000 s  ledger   order-42:reserve #1 begin (process 101)",
        "+0.000 s  ledger   order-42:reserve #1 do (process 101)",
        "+0.000 s  ledger   order-42:reserve #2 begin (process 103)",
        "+0.000 s  ledger   order-42:reserve #2 again (process 103)",
    ]
