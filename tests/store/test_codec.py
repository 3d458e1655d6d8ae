"""The head of a run: exact, small, and refused when it cannot be understood."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.errors import StoreError
from celeriac.machine.received import Received
from celeriac.machine.runs import Run, RunStatus
from celeriac.machine.series import Series
from celeriac.machine.step_states import Steps
from celeriac.machine.steps import Parent, PhaseState, PhaseStatus, StepState, changed
from celeriac.store.codec import (
    DIRECTION_FIELDS,
    RUN_FIELDS,
    STEP_FIELDS,
    dump_run,
    laid_aside,
    load_run,
    stamp,
)
from tests.store.runs import a_run

NOW = 1_700_000_000_000  # ms, as `a_run` has it
NUMBERS = st.integers(0, 2**53)
TEXTS = st.text(max_size=20)
DIRECTIONS = st.builds(
    PhaseState,
    state=st.sampled_from(PhaseStatus),
    attempt=NUMBERS,
    holder=TEXTS,
    at=NUMBERS,
    sent=st.booleans(),
    sends=NUMBERS,
    limit=NUMBERS,
    attempts_before_budget=NUMBERS,
    recompensate=st.booleans(),
    late=st.lists(NUMBERS, max_size=3).map(tuple),
    given_back=NUMBERS,
    begun=NUMBERS,
    credited=NUMBERS,
    too_many=st.booleans(),
    expired=st.booleans(),
    via=TEXTS,
    signal=st.sampled_from(("", "approved")),
    child=NUMBERS,
    kept=st.just(()) | st.tuples(TEXTS, TEXTS, TEXTS, st.none() | st.booleans(), st.booleans()),
)
SERIES = st.builds(Series, TEXTS, NUMBERS, NUMBERS, st.lists(NUMBERS, max_size=3).map(tuple))
STEPS = st.builds(
    StepState,
    do=DIRECTIONS,
    undo=DIRECTIONS,
    order=NUMBERS,
    may_have_effect=st.booleans(),
    generation=NUMBERS,
    blocked=TEXTS,
    choice=TEXTS,
    inherited=st.booleans(),
    line=st.just(()) | st.tuples(TEXTS, NUMBERS),
    gates=st.lists(TEXTS, max_size=2).map(tuple),
)
RUNS = st.builds(
    Run,
    id=TEXTS,
    saga=TEXTS,
    plan=TEXTS,
    status=st.sampled_from(RunStatus),
    started_at=NUMBERS,
    grace=NUMBERS,
    version=NUMBERS,
    epoch=NUMBERS,
    deadline=st.none() | NUMBERS,
    credited=NUMBERS,
    overdue=st.booleans(),
    digest=TEXTS,
    starter=TEXTS,
    tags=st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple),
    started_steps=NUMBERS,
    compensate_not_before=NUMBERS,
    why=TEXTS,
    failed_step=TEXTS,
    reason=TEXTS,
    changed_at=NUMBERS,
    ended_at=NUMBERS,
    paused=NUMBERS,
    ended_by=TEXTS,
    series=st.lists(SERIES, max_size=2).map(tuple),
    signals=st.lists(st.builds(Received, TEXTS, TEXTS, TEXTS), max_size=3).map(tuple),
    parent=st.none() | st.builds(Parent, TEXTS, NUMBERS, TEXTS),
    untold=st.booleans(),
    tries=NUMBERS,
    begins_at=NUMBERS,
    final=st.booleans(),
    earlier=st.just(()),  # each is a run again: see `test_earlier_tries_are_runs_too`
    started_by=TEXTS,
    origin=TEXTS,
    rewinds=NUMBERS,
    rewinds_to=TEXTS,
    rewound_by=TEXTS,
    stands=st.lists(st.tuples(TEXTS, NUMBERS), max_size=2).map(tuple),
    routes=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
    entered=st.lists(TEXTS, max_size=3).map(tuple),
    steps=st.dictionaries(TEXTS, STEPS, max_size=4).map(Steps),
)


def exact(value: Any) -> Any:
    """*value* with the type of everything in it: True is not 1."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return type(value), [exact(getattr(value, name)) for name in names]
    if isinstance(value, Mapping):
        return {name: exact(found) for name, found in value.items()}
    if isinstance(value, tuple):
        return tuple(exact(found) for found in value)
    return type(value), value


# On a busy machine drawing may take long, and that says nothing of the code.
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@BUSY
@given(RUNS)
def test_every_run_is_read_as_it_was_written(run: Run) -> None:
    """Whatever a run holds, its head gives it back, with the type of every value."""
    assert exact(load_run(run.id, dump_run(run))) == exact(run)


@BUSY
@given(RUNS, st.dictionaries(TEXTS, STEPS, max_size=3), st.data())
def test_a_run_that_was_read_is_written_again(
    run: Run, changes: dict[str, StepState], data: st.DataObject
) -> None:
    """What moves after a run was read takes the place of what was read, and nothing else does."""
    again = st.sampled_from(sorted(run.steps)) if run.steps else TEXTS
    changes |= data.draw(st.dictionaries(again, STEPS, max_size=2))
    read = load_run(run.id, dump_run(run))
    moved = changed(read, steps=read.steps.put(changes))
    expected = changed(run, steps=Steps({**run.steps, **changes}))
    written = load_run(run.id, dump_run(moved))
    assert exact(written) == exact(moved) == exact(expected)
    assert written == expected
    assert len(written.steps) == len(moved.steps) == len(expected.steps)
    assert all(exact(written.step(name)) == exact(expected.step(name)) for name in expected.steps)
    assert "never" in expected.steps or written.step("never") == StepState()


@BUSY
@given(RUNS, st.dictionaries(TEXTS, STEPS, max_size=3), st.data())
def test_what_is_laid_aside_is_the_same_run(
    run: Run, changes: dict[str, StepState], data: st.DataObject
) -> None:
    """A run that goes on without being read again is what it would be if it was."""
    again = st.sampled_from(sorted(run.steps)) if run.steps else TEXTS
    changes |= data.draw(st.dictionaries(again, STEPS, max_size=2))
    aside = laid_aside(run)
    if data.draw(st.booleans()):
        dict(aside.steps)  # somebody has looked at all of them
    moved = laid_aside(changed(aside, steps=aside.steps.put(changes)))
    expected = changed(run, steps=Steps({**run.steps, **changes}))
    assert exact(moved) == exact(expected)
    assert exact(load_run(run.id, dump_run(moved))) == exact(expected)
    assert not any(step.settled for step in moved.steps.open.values())


@BUSY
@given(RUNS, RUNS)
def test_earlier_tries_are_runs_too(run: Run, first: Run) -> None:
    """They are read as they were written."""
    whole = changed(run, earlier=(changed(first, id=run.id), changed(first, id=run.id, epoch=7)))
    assert exact(load_run(run.id, dump_run(whole))) == exact(whole)


def test_what_is_settled_is_not_read() -> None:
    """A settled step is carried along as it was written: what a step costs does not grow."""
    done = StepState(PhaseState(PhaseStatus.DONE, 1, "a1b2c3", NOW + 5), order=1)
    steps = Steps({f"step-{n}": done for n in range(50)} | {"next": StepState(order=51)})
    read = load_run("order-42", dump_run(a_run(steps=steps)))
    assert set(read.steps.open) == {"next"}
    line = '\n"step-7",1,"a1b2c3",6'
    forged = dump_run(read).replace(line, '\n"step-7","nothing that could be read"')
    assert dump_run(load_run("order-42", forged)) == forged
    for look in (lambda run: run.step("step-7"), lambda run: dict(run.steps)):
        with pytest.raises(StoreError, match="newer version"):
            look(load_run("order-42", forged))


def test_what_moves_again_is_written_once() -> None:
    """A settled step that moves loses its line: there is one place that says how it stands."""
    done = StepState(PhaseState(PhaseStatus.DONE, 1, "a1b2c3", NOW + 5), order=1)
    read = load_run("order-42", dump_run(a_run(steps=Steps({"pay": done, "ship": done}))))
    undoing = changed(done, undo=PhaseState(PhaseStatus.SCHEDULED, at=NOW + 9))
    head = dump_run(changed(read, steps=read.steps.put({"pay": undoing})))
    assert (head.count('"pay"'), head.count('"ship"')) == (1, 1)
    assert load_run("order-42", head).step("pay") == undoing


@pytest.mark.parametrize("looks", [False, True])
def test_what_was_laid_aside_moves_again(looks: bool) -> None:
    """It has one line, the newest, whether or not somebody has read them all meanwhile."""
    done = StepState(PhaseState(PhaseStatus.DONE, 1, "a1b2c3", NOW + 5), order=1)
    undone = changed(done, undo=PhaseState(PhaseStatus.DONE, 1, "d4e5f6", NOW + 9))
    aside = laid_aside(a_run(steps=Steps({"pay": done, "ship": done})))
    if looks:
        assert dict(aside.steps) == {"pay": done, "ship": done}
    again = laid_aside(changed(aside, steps=aside.steps.put({"pay": undone})))
    assert not again.steps.open
    assert (again.step("pay"), again.step("ship")) == (undone, done)
    assert dump_run(again).count('"pay"') == 1
    assert dict(again.steps) == {"pay": undone, "ship": done}


@pytest.mark.parametrize(
    ("kind", "known"), [(Run, RUN_FIELDS), (StepState, STEP_FIELDS), (PhaseState, DIRECTION_FIELDS)]
)
def test_every_field_is_written(kind: type, known: tuple[str, ...]) -> None:
    """A field that is added to the models must be added to the format."""
    names = {field.name for field in dataclasses.fields(kind)}
    of_run = kind is Run
    beside = {"maps"} if of_run else set()  # of its steps, in a place of its own
    shared = {"started_by"} if of_run else set()  # it stands where `starter` does
    assert set(known) - beside == names - {"id"} - shared


def test_who_started_a_run_makes_its_head_no_longer() -> None:
    """A version that knows of no such thing reads as many values as ever."""
    run = a_run(starter="a1b2c3d4")
    told, plain = (json.loads(dump_run(each)) for each in (changed(run, started_by="ada"), run))
    assert len(told) == len(plain)
    assert load_run(run.id, dump_run(changed(run, started_by="ada"))).started_by == "ada"


@pytest.mark.parametrize("kind", [Run, StepState, PhaseState])
def test_every_field_is_tried(kind: type) -> None:
    """The strategies above give every field a value of its own."""
    strategy = {Run: RUNS, StepState: STEPS, PhaseState: DIRECTIONS}[kind]
    names = {field.name for field in dataclasses.fields(kind)}
    assert all(f"{name}=" in repr(strategy) for name in names)


def test_what_an_older_version_said_of_one_that_is_asked_again_is_read() -> None:
    """It had one at a time, whose events were the last ones of the history."""
    run = Run(
        "order-42", "trip", "plan", RunStatus.RUNNING, 1, 1, series=(Series("p", 7, 5, (2, 1, 0)),)
    )
    text = dump_run(run)
    assert load_run("order-42", text.replace('[["p",7,5,[2,1,0]]]', '["p",3,7,5]')) == run


def test_a_head_stays_small() -> None:
    """A completed step adds some tens of bytes; one that was never touched adds nothing."""
    done = StepState(
        PhaseState(PhaseStatus.DONE, 1, "a1b2c3d4", 1_700_000_000_000),
        order=1,
        may_have_effect=True,
    )
    run = a_run(steps=Steps({f"step-{n}": done for n in range(100)}))
    assert len(dump_run(run)) / 100 < 60
    assert len(dump_run(a_run())) < 120


@given(RUNS, RUNS)
def test_a_head_begins_with_its_stamp(run: Run, other: Run) -> None:
    """Heads of another version or another life of the id begin in another way."""
    assert dump_run(run).startswith(stamp(run))
    lives = [(each.version, each.epoch, each.started_at) for each in (run, other)]
    assert dump_run(run).startswith(stamp(other)) == (lives[0] == lives[1])


@pytest.mark.parametrize(
    "damage", ["", "nonsense", "{}", "[]", "[1,2]", '[1,1,1,"a","b","gone",1]', "null", "7"]
)
def test_nonsense_is_refused(damage: str) -> None:
    """What is no head raises StoreError, which says what to do."""
    with pytest.raises(StoreError, match="saga_namespace"):
        load_run("order-42", damage)


def test_a_newer_format_is_refused() -> None:
    """A head with more values than this version knows is not read, lest they be lost."""
    full = a_run(overdue=True, steps=Steps({"reserve": StepState(order=1)}))
    row = json.loads(dump_run(full))
    for newer in (
        [*row, "new"],
        _with_step(row, [1, [], False, [], 0, "", "", True, [], [], "new"]),
    ):
        with pytest.raises(StoreError, match="newer version"):
            load_run("order-42", json.dumps(newer))


def _with_step(row: list[Any], step: list[Any]) -> list[Any]:
    place = RUN_FIELDS.index("steps")
    return [*row[:place], {"reserve": step}, *row[place + 1 :]]
