"""Answers in place of results, in the lab and under the explorer: real bodies raise them.

Owns: what Done, NotYet and Abort(answer=) lead to.  Refuses to know: what the state machine
decides (`tests/machine/test_answers.py`), and Skip (`test_conditions`).  The file is long because
each answer is here with the steps that give it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import BaseModel

from celeriac import (
    Abort,
    DefinitionError,
    Done,
    Flow,
    NotYet,
    Retry,
    RunCompensated,
    Sagas,
    StepContext,
)
from celeriac.testing import explore
from tests.testing import sagas as storms

if TYPE_CHECKING:
    from celeriac.testing import Lab, LabRun

app = Celery("answers", set_as_current=False)
sagas = Sagas(app)
undone: list[Any] = []


class Receipt(BaseModel):
    """What the saga returns."""

    number: int


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what was undone."""
    undone.clear()


@sagas.step(retry=Retry(max_attempts=2))
def look(order: str) -> int:
    """End the run, if the order says so."""
    if order == "known":
        raise Done(Receipt(number=7))
    if order == "as a dict":
        raise Done({"number": 8})
    if order == "nonsense":
        raise Done("no receipt")
    return len(order)


@look.compensation
def forget(order: str, result: int | None) -> None:
    """Undo it."""
    undone.append((order, result))
    if order == "never":
        raise Done(None)


@sagas.step
def write(number: int) -> Receipt:
    """Do what is left."""
    return Receipt(number=number)


@sagas.step
def refuse(number: int) -> Receipt:
    """Give up."""
    raise ValueError(number)


@sagas.saga
def ordering(flow: Flow, order: str) -> Receipt:
    """Look, then write."""
    return flow.step(write, flow.step(look, order))


@sagas.saga
def beside(flow: Flow, order: str) -> Receipt:
    """Look beside another step."""
    with flow.parallel():
        number = flow.step(look, order)
        flow.step(write, 1)
    return flow.step(write, number)


@sagas.saga
def undoing(flow: Flow, order: str) -> Receipt:
    """Fail, so that all is undone."""
    return flow.options(retry=Retry(max_attempts=1)).step(refuse, flow.step(look, order))


def ends(order: str) -> bool:
    """A predicate that has to answer."""
    raise Done(order)


@sagas.saga
def asking(flow: Flow, order: str) -> Receipt:
    """Ask."""
    with flow.when(ends, order):
        flow.step(look, order)
    return flow.step(write, 1)


@pytest.mark.parametrize(("order", "number"), [("known", 7), ("as a dict", 8), ("abc", 3)])
def test_a_step_may_know_the_result_of_the_run(lab: Lab, order: str, number: int) -> None:
    """It has the type that the saga promises; nothing further is done."""
    run = lab.start(ordering, order)
    assert run.result() == Receipt(number=number)
    write_ = run.state().step("write")
    ended = number != 3
    assert write_.status == ("skipped" if ended else "completed")
    assert write_.because == ("look ended the run" if ended else None)
    assert not undone


def test_the_next_one_who_starts_it_gets_the_same(lab: Lab) -> None:
    """It is stored."""
    lab.start(ordering, "known", id="k").result()
    assert lab.start(ordering, "known", id="k").result() == Receipt(number=7)
    assert lab.ran == ["look"]


def test_it_is_undone_by_a_cancel(lab: Lab) -> None:
    """The step has no result of its own."""
    run = lab.start(ordering, "known")
    run.result()
    run.cancel()
    lab.run()
    assert (run.status, undone) == ("compensated", [("known", None)])


def test_a_result_that_does_not_fit_fails_the_run(lab: Lab) -> None:
    """Clearly, and everything done is undone."""
    run = lab.start(ordering, "nonsense")
    with pytest.raises(RunCompensated, match="what ordering returned does not validate") as caught:
        run.result()
    assert caught.value.failure is not None
    assert caught.value.failure.code == "output_invalid"
    assert undone == [("nonsense", None)]


def test_a_branch_cannot_end_the_run(lab: Lab) -> None:
    """It fails, with a code of its own and what to write instead."""
    run = lab.start(beside, "known")
    with pytest.raises(RunCompensated, match="raise Done in a step behind the block") as caught:
        run.result()
    assert caught.value.failure is not None
    assert caught.value.failure.code == "misplaced_answer"


def test_neither_can_a_condition(lab: Lab) -> None:
    """It has to answer."""
    with pytest.raises(RunCompensated, match="a condition has to answer, so it cannot raise Done"):
        lab.start(asking, "x").result()


def test_neither_can_a_compensation(lab: Lab) -> None:
    """Its failure is owed, as any other of a compensation."""
    run = lab.start(undoing, "never")
    lab.run()
    assert run.status == "failed"
    failure = run.state().step("look").undo_failure
    assert failure is not None
    assert failure.code == "misplaced_answer"


# --- an answer to the caller -------------------------------------------------------------------


class Decline(BaseModel):
    """Why nothing came of it."""

    code: str
    limit: Decimal | None = None


@sagas.step
def pay(order: str) -> int:
    """Decline some orders."""
    if order == "typed":
        raise Abort("declined", answer=Decline(code="05", limit=Decimal("1.50")))
    if order == "unfit":
        raise Abort("declined", answer=["05"], effect=False)
    if order == "without JSON":
        raise Abort("declined", answer=object())
    if order == "large":
        raise Abort("declined", answer="x" * 300_000)
    raise Abort("declined")


@pay.compensation
def unpay(order: str) -> None:
    """Undo it."""
    undone.append((order, None))
    if order == "odd":
        raise Abort("no", answer="to nobody")


@sagas.saga(answers=Decline)
def paying(flow: Flow, order: str) -> int:
    """Look, then pay."""
    flow.step(look, order)
    return flow.step(pay, order)


@sagas.saga
def paying_plainly(flow: Flow, order: str) -> int:
    """The same, without a type for answers."""
    return flow.step(pay, order)


def test_a_step_has_an_answer_for_the_caller(lab: Lab) -> None:
    """In the type that the saga declares, for everybody who asks, also by the same id."""
    wanted = Decline(code="05", limit=Decimal("1.50"))
    for _ in range(2):
        run = lab.start(paying, "typed", id="p-1")
        with pytest.raises(RunCompensated, match="declined") as caught:
            run.result()
        assert caught.value.answer == wanted
        assert run.state().answer == wanted
    run = lab.find("p-1")
    assert lab.ran.count("pay") == 1
    assert undone == [("typed", None), ("typed", 5)]
    failed = next(e for e in run.history() if e.kind == "failed")
    assert failed.data["answers"] is True
    assert "05" not in str([event.data for event in run.history()])


def test_without_a_type_it_is_plain_json(lab: Lab) -> None:
    """Whatever it was made of."""
    run = lab.start(paying_plainly, "typed")
    with pytest.raises(RunCompensated) as caught:
        run.result()
    assert caught.value.answer == {"code": "05", "limit": "1.50"}


@pytest.mark.parametrize(
    ("order", "saga", "match"),
    [
        ("unfit", paying, "the answer to who started paying does not validate"),
        ("without JSON", paying_plainly, "cannot be written as JSON"),
        ("large", paying_plainly, "over the limit of"),
    ],
)
def test_an_answer_that_cannot_be_recorded_fails_the_run(
    lab: Lab, order: str, saga: Any, match: str
) -> None:
    """Clearly, and everything is undone."""
    run = lab.start(saga, order)
    with pytest.raises(RunCompensated, match=match) as caught:
        run.result()
    assert caught.value.answer is None
    assert caught.value.failure is not None
    assert caught.value.failure.code in ("output_invalid", "payload_too_large")
    assert run.undone == {"unfit": ["look"]}.get(order, ["pay"])


def test_no_answer_is_none(lab: Lab) -> None:
    """Nor has a run one that was cancelled."""
    run = lab.start(paying, "silent")
    with pytest.raises(RunCompensated) as caught:
        run.result()
    assert caught.value.answer is None
    other = lab.start(ordering, "known")
    other.result()
    other.cancel()
    lab.run()
    assert other.state().answer is None


def test_a_compensation_has_no_answer(lab: Lab) -> None:
    """It fails, which it would have anyway, and says so."""
    run = lab.start(paying, "odd")
    lab.run()
    failure = run.state().step("pay").undo_failure
    assert failure is not None
    assert failure.code == "misplaced_answer"


def test_a_type_of_answers_that_cannot_be_carried() -> None:
    """Is an error where it is written."""
    with pytest.raises(DefinitionError, match="parameter 'answers'"):

        @sagas.saga(answers=open)
        def never(flow: Flow) -> None:
            """Not defined."""
            flow.step(write, 1)


# --- a step that cannot say yet ----------------------------------------------------------------

asked: list[int] = []


@sagas.step(retry=Retry(max_attempts=1))
def poll(ctx: StepContext, times: int) -> int:
    """Say it at the last of so many times."""
    asked.append(ctx.attempt)
    if times < 0:
        raise NotYet("soon")
    if ctx.attempt < times:
        raise NotYet(after="30s")
    return ctx.attempt


@poll.compensation(retry=Retry(max_attempts=1), give_up_after="1h")
def unpoll(ctx: StepContext, times: int) -> None:
    """Undo it: that takes three looks, or for ever."""
    undone.append(ctx.attempt)
    if ctx.attempt < 3 or times == 999:
        raise NotYet(after="10m")


@sagas.saga
def polling(flow: Flow, times: int) -> int:
    """Ask."""
    return flow.options(give_up_after="10m").step(poll, times)


def test_a_step_is_asked_until_it_can_say(lab: Lab) -> None:
    """With a single attempt, every 30 s."""
    asked.clear()
    run = lab.start(polling, 12)
    lab.run()
    assert (run.result(), asked) == (12, list(range(1, 13)))
    told = [event for event in run.history() if event.kind == "postponed"]
    assert [(event.attempt, event.data["count"]) for event in told] == [(11, 11)]
    assert "postponed (11 times)" in run.story


def test_it_gives_up_after_its_time(lab: Lab) -> None:
    """And what it may have done is undone, by a compensation that has to be asked, too."""
    asked.clear()
    run = lab.start(polling, 1_000)
    lab.run()
    assert run.status == "compensated"
    assert 15 < len(asked) <= 21
    assert undone == [1, 2, 3]
    assert "undo #2 postponed (2 times)" in run.story
    cause = run.state().failure
    assert cause is not None
    assert cause.code == "not_yet"


def test_an_undo_that_never_can_say_is_owed(lab: Lab) -> None:
    """After the time that it names; whoever tries again gives it as much once more."""
    run = lab.start(polling, 999)
    lab.run()
    assert (run.status, run.state().owed, undone) == ("failed", ("poll",), list(range(1, 7)))
    failure = run.state().step("poll").undo_failure
    assert failure is not None
    assert failure.code == "not_yet"
    run.retry("poll", reason="they have promised it")
    lab.run()
    assert (run.status, len(undone)) == ("failed", 12)


def test_a_time_that_is_none_is_a_failure(lab: Lab) -> None:
    """At once, and says what a duration is."""
    run = lab.start(polling, -1)
    with pytest.raises(RunCompensated, match="'soon' is not a duration"):
        run.result()


@sagas.saga(max_steps=2)
def long(flow: Flow) -> Receipt:
    """Start one step more than it may."""
    flow.step(write, 1)
    flow.step(write, 2)
    return flow.step(write, 3)


def test_too_many_steps_fail_the_run(lab: Lab) -> None:
    """With an error that says what to do."""
    run = lab.start(long)
    with pytest.raises(
        RunCompensated, match="may start 2 steps and no more: raise max_s"
    ) as caught:
        run.result()
    assert caught.value.failure is not None
    assert caught.value.failure.code == "max_steps"
    state = run.state().step("write-3")
    assert (state.status, state.attempts) == ("failed", 0)

    def none(flow: Flow) -> Receipt:
        return flow.step(write, 1)

    with pytest.raises(DefinitionError, match="max_steps must be a whole number from 1"):
        sagas.saga(max_steps=0)(none)


def test_waiting_passes_the_explorer() -> None:
    """Every fault at every point."""

    def check(run: LabRun[object]) -> None:
        wanted = {"reserve", "look_after"} if run.status == "completed" else set[str]()
        assert {key.partition(":")[2] for key in storms.ledger.live} == wanted

    report = explore(storms.asking, "42", check=check, fresh=storms.fresh, most=250, seconds=100)
    assert report.ok, report
    assert report.missed == 0
    assert report.levels[1].tried > 60


def test_an_end_passes_the_explorer() -> None:
    """Every fault at every point, and some pairs."""

    def check(run: LabRun[object]) -> None:
        if run.status == "completed":
            assert run.state().step("ship").status == "skipped"
            assert {key.partition(":")[2] for key in storms.ledger.live} == {"reserve", "settle"}
        else:
            assert not storms.ledger.live

    report = explore(storms.ending, "42", check=check, fresh=storms.fresh, most=350, seconds=150)
    assert report.ok, report
    assert report.missed == 0
    assert report.levels[1].tried > 100
