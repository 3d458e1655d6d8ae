"""Rewinds in the lab: what was undone is done again under keys of its own, and what stands stands.

Owns: what real bodies get and leave in a run that was rewound, and what people see of it.  Refuses
to know: which step a run may go back to (`tests/machine/test_rewinds.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import (
    Abort,
    CommandRefused,
    Flow,
    InputInvalid,
    Retry,
    RunCompensated,
    Sagas,
    Signal,
    StepContext,
    TokenVoid,
)
from celeriac.machine import EventKind
from celeriac.observing.sentences import details
from celeriac.testing import explore
from celeriac.testing.audit import audit
from celeriac.views.watching import tree
from celeriac.views.wording import deed, facts
from tests.testing.ledger import Ledger

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun

app = Celery("rewinds", set_as_current=False)
sagas = Sagas(app)
ledger = Ledger()
moods: list[BaseException] = []  # what the bodies of `charge` meet, in turn
tokens: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what happened."""
    ledger.__init__()  # type: ignore[misc]
    moods.clear()
    tokens.clear()


@sagas.step
def reserve(ctx: StepContext, order: str) -> str:
    """Its result says under which key it was done."""
    ledger.do(ctx.idempotency_key)
    return f"{order} by {ctx.idempotency_key}"


@reserve.compensation
def release(ctx: StepContext, order: str, result: str | None) -> None:
    """It has the key and the result of the step that it undoes."""
    assert result in (None, f"{order} by {ctx.idempotency_key}")
    ledger.undo(ctx.idempotency_key)


@sagas.step(retry=Retry(max_attempts=1))
def charge(ctx: StepContext, hold: str) -> str:
    """Fails as often as somebody wants it to."""
    if moods:
        raise moods.pop(0)
    ledger.do(ctx.idempotency_key)
    return f"{hold}, {ctx.idempotency_key}"


@charge.compensation
def refund(ctx: StepContext, hold: str, result: str | None) -> None:
    """The same: it never sees what another try has left."""
    assert result in (None, f"{hold}, {ctx.idempotency_key}")
    ledger.undo(ctx.idempotency_key)


@sagas.step
def ship(ctx: StepContext, paid: str) -> str:
    """The last step."""
    ledger.do(ctx.idempotency_key)
    return f"{paid}, {ctx.idempotency_key}"


@ship.compensation
def call_back(ctx: StepContext) -> None:
    """Undo it."""
    ledger.undo(ctx.idempotency_key)


@sagas.step
def ask(ctx: StepContext, hold: str) -> str:
    """Ask somebody outside."""
    del hold
    tokens.append(ctx.token)
    return ctx.later("1d")


@ask.compensation
def withdraw() -> None:
    """Nothing to do: it is enough to be asked no more."""


@sagas.saga
def place_order(flow: Flow, order: str) -> str:
    """Reserve, charge, ship."""
    return flow.step(ship, flow.step(charge, flow.step(reserve, order)))


@sagas.saga
def ask_first(flow: Flow, order: str) -> str:
    """A step whose result comes from outside."""
    return flow.step(ship, flow.step(ask, flow.step(reserve, order)))


approved = Signal("approved", bool)


@sagas.saga
def approved_first(flow: Flow, order: str) -> str:
    """Somebody has to say yes before it is shipped."""
    paid = flow.step(charge, flow.step(reserve, order))
    flow.wait(approved, timeout="1d")
    return flow.step(ship, paid)


@sagas.saga
def trip(flow: Flow, order: str) -> str:
    """A step that is a run of another saga, and one behind it."""
    hold = flow.step(reserve, order)
    return flow.step(ship, flow.child(place_order, hold))


@sagas.saga
def many(flow: Flow, orders: list[str]) -> list[str]:
    """A map, and a map of its results."""
    held = flow.map(reserve, orders)
    return flow.map(ship, held)


def sound(run: LabRun[Any]) -> None:
    """Its history breaks no rule."""
    plan, _, _ = run.look()
    assert audit(plan, run.history()) == []


def test_what_came_after_is_done_again(lab: Lab) -> None:
    """In reverse it is undone, then done under keys of its own; what comes before stands."""
    run = lab.start(place_order, "A", id="r")
    assert run.result() == "A by r:reserve, r:charge, r:ship"
    assert [step.step for step in run.undo_plan(to="charge").undone] == ["ship", "charge"]
    assert run.rewind(to="charge", reason="the wrong card", by="eve")
    assert run.result() == "A by r:reserve, r~2:charge, r~2:ship"
    assert run.undone == ["ship", "charge"]
    assert run.done == ["reserve", "charge", "ship", "charge", "ship"]
    assert ledger.live == {"r:reserve", "r~2:charge", "r~2:ship"}
    sound(run)


def test_what_stood_is_undone_later_under_its_own_key(lab: Lab) -> None:
    """With its own result, whatever was rewound since."""
    run = lab.start(place_order, "A", id="r")
    lab.run()
    run.rewind(to="ship")
    lab.run()
    run.rewind(to="charge")
    assert run.result() == "A by r:reserve, r~3:charge, r~3:ship"
    run.cancel()
    with pytest.raises(RunCompensated):
        run.result()
    assert ledger.live == set()
    assert [key for what, key in ledger.log if what == "undo"][-3:] == [
        *("r~3:ship", "r~3:charge", "r:reserve"),
    ]
    sound(run)


def test_a_step_may_fail_the_second_time(lab: Lab) -> None:
    """Then all of it is undone, as in any run."""
    run = lab.start(place_order, "A", id="r")
    lab.run()
    moods.append(Abort("declined", effect=False))
    run.rewind(to="charge")
    with pytest.raises(RunCompensated, match="declined"):
        run.result()
    assert ledger.live == set()
    sound(run)


def test_a_token_of_what_was_undone_is_void(lab: Lab) -> None:
    """The new attempt has one of its own."""
    run = lab.start(ask_first, "A", id="r")
    lab.run()
    run.rewind(to="ask")
    lab.run()
    assert len(set(tokens)) == 2
    with pytest.raises(TokenVoid):
        lab.complete(tokens[0], "the old answer")
    lab.complete(tokens[1], "the new answer")
    assert run.result() == "the new answer, r~2:ship"
    sound(run)


def test_a_token_of_what_stands_knows_its_step(lab: Lab) -> None:
    """Told again, the same answer is the same answer."""
    run = lab.start(ask_first, "A", id="r")
    lab.run()
    lab.complete(tokens[0], "yes")
    assert run.result() == "yes, r:ship"
    run.rewind(to="ship")
    assert run.result() == "yes, r~2:ship"
    lab.complete(tokens[0], "yes")
    assert run.status == "completed"


def test_a_child_is_undone_and_another_one_done(lab: Lab) -> None:
    """Under an id of its own; one that stands is undone later, as the run that it is."""
    run = lab.start(trip, "A", id="r")
    child = run.state().steps[1].name
    lab.run()
    run.rewind(to=child)
    lab.run()
    assert lab.find(f"r.{child}").status == "compensated"
    assert lab.find(f"r~2.{child}").status == "completed"
    run.rewind(to="ship")
    lab.run()
    run.cancel()
    lab.run()
    assert run.status == "compensated"
    assert lab.find(f"r~2.{child}").status == "compensated"
    assert ledger.live == set()
    sound(run)


def test_a_map_is_done_again_or_stands(lab: Lab) -> None:
    """With all of its elements."""
    run = lab.start(many, ["A", "B", "C"], id="r")
    lab.run()
    run.rewind(to="ship")
    assert run.result() == [f"{o} by r:reserve[{n}], r~2:ship[{n}]" for n, o in enumerate("ABC")]
    run.rewind(to="reserve")
    assert run.result() == [f"{o} by r~3:reserve[{n}], r~3:ship[{n}]" for n, o in enumerate("ABC")]
    run.cancel()
    lab.run()
    assert ledger.live == set()
    sound(run)


def test_people_see_what_happens(lab: Lab) -> None:
    """In words: on the way back, and in the history afterwards."""
    run = lab.start(place_order, "A", id="r")
    lab.run()
    run.rewind("charge", "the wrong card", by="eve")
    plan, seen, now = run.look()
    told = [each for each in run.history() if each.data.get("by") == "eve"]
    assert details(told[0]) == (
        "compensation_started (rewound): to charge, reason the wrong card, by eve"
    ).replace("_", " ")
    assert deed(told) == "goes back to charge; what came after is undone, and done again"
    assert dict(facts(run.state()))["goes back to"] == "charge"
    assert "goes back to charge" in str(tree(plan, seen, now))
    lab.run()
    assert dict(facts(run.state()))["rewound"] == "once"
    assert [details(each) for each in run.history() if each.kind is EventKind.REWOUND] == [
        "rewound: to charge"
    ]


def test_what_cannot_be_rewound_says_why(lab: Lab) -> None:
    """Before anything is written."""
    run = lab.start(place_order, "A", id="r")
    lab.run()
    assert "no step 'pay'" in (run.undo_plan(to="pay").refused or "")
    with pytest.raises(CommandRefused, match="no step 'pay'"):
        run.rewind(to="pay")
    with pytest.raises(InputInvalid, match="name of a step"):
        run.rewind(to=None)  # type: ignore[arg-type]
    run.cancel()
    lab.run()
    with pytest.raises(CommandRefused, match="start it anew"):
        run.rewind(to="charge")


def rewound_or_approved(run: LabRun[Any]) -> None:
    """While it waits, somebody goes back to `charge` once; then the order is approved."""
    if run.state().rewinds:
        run.signal(approved, True, id="yes")
    else:
        run.rewind(to="charge", if_version=run.state().run_version)


def one_of_each_stands(run: LabRun[Any]) -> None:
    """Of each step at most the last one, whatever was rewound."""
    state = run.state()
    newest = "~2" if state.rewinds else ""
    keys = {f"{run.id}:reserve", f"{run.id}{newest}:charge", f"{run.id}{newest}:ship"}
    assert ledger.live == (keys if state.status == "completed" else set()), ledger.log


def anew() -> None:
    """The world is new."""
    ledger.__init__()  # type: ignore[misc]


def test_whatever_goes_wrong_one_of_each_stands() -> None:
    """At whichever point: on the way forward, back, and forward again."""
    report = explore(
        *(approved_first, "A"),
        check=one_of_each_stands,
        fresh=anew,
        meanwhile=rewound_or_approved,
        most=150,
        seconds=100,
    )
    assert report.ok, report
