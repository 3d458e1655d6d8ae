"""Waits as they are written: signals, sleeps, and which mistakes are found at once.

Owns: the nodes that waits become, and errors when a signal or a saga is defined.  Refuses to know:
what a run makes of them (`tests/machine/test_waits.py`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from types import GenericAlias
from typing import TYPE_CHECKING, Any, ForwardRef, Literal

import pytest
from celery import Celery
from pydantic import AwareDatetime, BaseModel, NaiveDatetime

from celeriac import ConfigurationError, DefinitionError, Flow, InputInvalid, Sagas, Signal
from celeriac.machine import Constant, FromInput, FromStep, Plan, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

sagas = Sagas(Celery("expenses", set_as_current=False))


class Approval(BaseModel):
    """What is sent."""

    by: str


class Unwritable:
    """What JSON has no form for."""


approved = Signal("approved", Approval)
namesake = Signal("approved", str)
HOUR, DAY = 3_600_000, 86_400_000


@sagas.step
def ask(amount: int) -> str:
    """The step before."""
    return str(amount)


class Term(BaseModel):
    """What says when."""

    due: AwareDatetime


@sagas.step
def agree(day: int) -> Term:
    """A step that says when."""
    return Term(due=datetime(2030, 1, day, tzinfo=UTC))


@sagas.step
def pay(who: str) -> str:
    """The step behind."""
    return who


def planned(function: Callable[..., Any], **options: Any) -> Plan:
    """Define a saga, and return its plan."""
    named = {"name": f"{function.__name__}_{len(sagas.defined)}", **options}
    return sagas.saga(**named)(function).planned.plan


def test_a_wait_asks_in_words() -> None:
    """Whoever answers is shown a question, and what it is about."""

    def expense(flow: Flow, amount: int, note: str) -> str:
        asked = flow.step(ask, amount)
        about = {"amount": amount, "asked": asked, "limit": 500, "both": [amount, note]}
        approval = flow.wait(approved, title="Pay?", summary="It is over 500.", about=about)
        return flow.step(pay, approval.by)

    node = planned(expense).by_name["approved"]
    assert node.wait == Wait(signal="approved", title="Pay?", summary="It is over 500.")
    assert node.args["amount"] == FromInput(input="amount")
    assert node.args["asked"] == FromStep(step="ask")
    assert node.args["limit"] == Constant(value=500)
    assert set(node.args) == {"amount", "asked", "limit", "both"}


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"title": 3}, "title is a text"),
        ({"summary": None}, "summary is a text"),
        ({"about": ["amount"]}, "about takes values by the labels"),
        ({"about": {"": 3}}, "about takes values by the labels"),
        ({"about": {"odd": Unwritable()}}, "cannot be written as JSON"),
    ],
)
def test_a_question_that_cannot_be_asked(asked: dict[str, Any], part: str) -> None:
    """Is told where the saga is defined."""

    def expense(flow: Flow) -> str:
        approval = flow.wait(approved, **asked)
        return flow.step(pay, approval.by)

    with pytest.raises(DefinitionError, match=part) as told:
        planned(expense)
    assert told.value.step == "approved"


def test_a_title_cannot_quote_a_value() -> None:
    """It is written in the saga: what is known only in a run is shown beside it."""

    def expense(flow: Flow, note: str) -> str:
        approval = flow.wait(approved, title=note)
        return flow.step(pay, approval.by)

    with pytest.raises(DefinitionError, match="about="):
        planned(expense)


def test_a_wait_is_a_node_that_no_worker_runs() -> None:
    """It waits for the step before it, and is waited for; its result is the payload."""

    def expense(flow: Flow, amount: int) -> str:
        flow.step(ask, amount)
        approval = flow.wait(approved, timeout="1d")
        return flow.step(pay, approval.by)

    plan = planned(expense)
    node = plan.by_name["approved"]
    assert (node.task, node.after, node.undo) == ("", ("ask",), None)
    assert node.wait == Wait(signal="approved", timeout=DAY)
    assert plan.by_name["pay"].after == ("approved",)
    assert plan.signals["approved"]["properties"] == {"by": {"title": "By", "type": "string"}}
    assert {task for task, _ in plan.addresses} == {ask.name, pay.name}


def test_what_follows_a_timeout() -> None:
    """The run fails, goes on without a payload, or with another one."""

    def expense(flow: Flow) -> Approval | None:
        flow.step(ask, 1)
        flow.wait(approved, timeout="1h", on_timeout="abort")
        flow.wait(approved, timeout="1h", on_timeout=Approval(by="nobody"))
        return flow.wait(approved, timeout=60, on_timeout="continue")

    nodes = [node.wait for node in planned(expense).nodes[1:]]
    assert nodes == [
        Wait(signal="approved", timeout=HOUR),
        Wait(signal="approved", timeout=HOUR, on_timeout="continue", default={"by": "nobody"}),
        Wait(signal="approved", timeout=60_000, on_timeout="continue"),
    ]


def test_sleeps() -> None:
    """For some time, and until a moment; with names and places of their own."""

    def expense(flow: Flow) -> str:
        done = flow.step(ask, 1)
        with flow.parallel():
            flow.sleep("1h")
            flow.options(name="morning").sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
        return flow.step(pay, done)

    plan = planned(expense)
    assert plan.by_name["sleep"].wait == Wait(timeout=HOUR, on_timeout="continue")
    assert plan.by_name["morning"].wait == Wait(until=1_893_456_000_000, on_timeout="continue")
    assert plan.by_name["pay"].after == ("sleep", "morning")


def test_a_sleep_until_a_value_of_the_run() -> None:
    """An input, a result, or a field of one: its turn comes when that is there."""

    def expense(flow: Flow, begins: datetime) -> str:
        with flow.graph():
            term = flow.step(agree, 5)
            flow.options(name="begin").sleep_until(begins)
            flow.sleep_until(term.due)
        return flow.step(pay, "eve")

    plan = planned(expense)
    reads = Wait(reads=True, on_timeout="continue")
    begin, sleep = plan.by_name["begin"], plan.by_name["sleep"]
    assert (begin.wait, begin.args, begin.after) == (
        reads,
        {"until": FromInput(input="begins")},
        (),
    )
    until = FromStep(step="agree", path=("due",))
    assert (sleep.wait, sleep.args, sleep.after) == (reads, {"until": until}, ("agree",))


def _until_a_day(flow: Flow, day: date) -> None:
    flow.sleep_until(day)  # type: ignore[arg-type]  # on purpose


def _until_perhaps(flow: Flow, moment: datetime | None) -> None:
    flow.sleep_until(moment)  # type: ignore[arg-type]  # on purpose


def _until_naive(flow: Flow, moment: NaiveDatetime) -> None:
    flow.sleep_until(moment)


def _expiring_sleep(flow: Flow) -> None:
    flow.options(expires="1h").sleep("1h")


def _no_signal(flow: Flow) -> None:
    flow.wait("approved")  # type: ignore[call-overload]  # on purpose


def _two_namesakes(flow: Flow) -> None:
    flow.wait(approved)
    flow.wait(namesake)


def _nothing_to_time_out(flow: Flow) -> None:
    flow.wait(approved, on_timeout="continue")  # type: ignore[call-overload]  # on purpose


def _wrong_default(flow: Flow) -> None:
    flow.wait(approved, timeout="1d", on_timeout={"by": 3})  # type: ignore[misc]


def _a_worker_for_a_wait(flow: Flow) -> None:
    flow.options(queue="slow").wait(approved)


def _wrong_duration(flow: Flow) -> None:
    flow.sleep("an hour")


def _endless_sleep(flow: Flow) -> None:
    flow.sleep(None)  # type: ignore[arg-type]  # that is the mistake


def _naive(flow: Flow) -> None:
    flow.sleep_until(datetime(2030, 1, 1))  # noqa: DTZ001 -- on purpose


def _no_moment(flow: Flow) -> None:
    flow.sleep_until("tomorrow")  # type: ignore[arg-type]  # on purpose


def _duration_of_a_run(flow: Flow, seconds: int) -> None:
    flow.sleep(seconds)


def _wrong_use(flow: Flow) -> None:
    flow.step(pay, flow.wait(approved))  # type: ignore[call-overload]  # on purpose


def _may_be_nothing(flow: Flow) -> Approval:
    flow.step(ask, 1)
    return flow.wait(approved, timeout="1d", on_timeout="continue")  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (_no_signal, "flow.wait takes a signal, not 'approved'"),
        (_two_namesakes, "two signals that are both called 'approved'"),
        (_nothing_to_time_out, "there is no timeout"),
        (_wrong_default, "a payload of 'approved'"),
        (_a_worker_for_a_wait, "no worker runs a wait, so it has no queue"),
        (_wrong_duration, "is not a duration"),
        (_endless_sleep, "flow.sleep: None is not a duration"),
        (_naive, "give it a time zone"),
        (_no_moment, "takes an aware datetime"),
        (_until_a_day, "takes an aware datetime, and <input day> is date"),
        (_until_perhaps, "takes an aware datetime, and <input moment> is datetime | None"),
        (_until_naive, "takes an aware datetime, and <input moment> is NaiveDatetime"),
        (_expiring_sleep, "no worker runs a wait, so it has no expires"),
        (_duration_of_a_run, "known only in a run"),
        (_wrong_use, "should be str"),
        (_may_be_nothing, "its result should be Approval"),
    ],
)
def test_mistakes_are_found_at_once(function: Callable[..., Any], complaint: str) -> None:
    """With what to write instead."""
    with pytest.raises(DefinitionError, match=complaint):
        planned(function)


def test_a_wait_longer_than_the_deadline_is_a_mistake() -> None:
    """The deadline would always end it; where it only alerts, it does not."""

    def expense(flow: Flow) -> None:
        flow.step(ask, 1)
        flow.sleep("2h")

    with pytest.raises(DefinitionError, match="has a deadline of 3600 s"):
        planned(expense, deadline="1h")
    planned(expense, deadline="1h", on_deadline="alert")


@pytest.mark.parametrize(
    "options", [{"timeout": "5s"}, {"queue": "slow"}, {"priority": 3}, {"give_up_after": "1h"}]
)
def test_a_wait_has_no_attempts(options: dict[str, Any]) -> None:
    """What is said of them would be said in vain."""

    def expense(flow: Flow) -> None:
        flow.step(ask, 1)
        flow.options(**options).wait(approved)

    (wrong,) = options
    with pytest.raises(DefinitionError, match=f"no worker runs a wait, so it has no {wrong}"):
        planned(expense)


def test_a_sleep_ends_in_a_year_of_four_digits() -> None:
    """A later moment could not be shown to anybody, and in some time zone it is no moment."""

    def expense(flow: Flow) -> None:
        flow.step(ask, 1)
        flow.sleep_until(datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))))

    with pytest.raises(DefinitionError, match="before the year 9999"):
        planned(expense)


def test_a_saga_needs_a_step() -> None:
    """One that only waits does nothing."""

    def expense(flow: Flow) -> None:
        flow.wait(approved)

    with pytest.raises(DefinitionError, match="has no steps"):
        planned(expense)


@pytest.mark.parametrize("name", ["", "a b", "a.b", 3])
def test_a_signal_has_a_name(name: Any) -> None:
    """As steps have."""
    with pytest.raises(DefinitionError, match="a name is text"):
        Signal(name, str)


def test_a_signal_carries_what_json_can() -> None:
    """Anything else is refused where it is defined."""
    with pytest.raises(DefinitionError, match="JSON"):
        Signal("go", Unwritable)


@pytest.mark.parametrize(
    "payload", ["Approved", GenericAlias(list, ("Approved",)), ForwardRef("Approved")]
)
def test_a_type_in_quotes_is_looked_up_by_nobody(payload: Any) -> None:
    """It was an error of Pydantic's, some of them only when a payload was sent."""
    with pytest.raises(DefinitionError, match="'Approved' is the name of a type in quotes"):
        Signal("go", payload)
    assert Signal("go", Literal["Approved"]).dump("Approved") == '"Approved"'  # type: ignore[arg-type]


def test_a_payload_is_checked_where_it_is_sent() -> None:
    """Before anything is written."""
    assert approved.load(approved.dump(Approval(by="eve"))) == Approval(by="eve")
    with pytest.raises(InputInvalid, match="payload of signal 'approved'"):
        approved.dump({"by": 3})


def test_a_signal_has_to_know_where_to_go() -> None:
    """No app, or several, wait for it."""
    lonely = Signal("lonely", str)
    with pytest.raises(ConfigurationError, match="no saga of this process waits for it"):
        lonely.send("order-42", "hello")
    others = [Sagas(Celery(f"other-{n}", set_as_current=False)) for n in range(2)]
    for each in others:
        lonely.belongs_to(each)
    with pytest.raises(ConfigurationError, match="sagas of 2 apps wait for it"):
        lonely.send("order-42", "hello")


def test_two_sagas_do_not_know_one_name_for_two_signals() -> None:
    """A run is told a signal by its name alone."""

    def first(flow: Flow) -> None:
        flow.step(ask, 1)
        flow.wait(approved)

    def second(flow: Flow) -> None:
        flow.step(ask, 1)
        flow.wait(namesake)

    planned(first)
    with pytest.raises(DefinitionError, match="share one Signal"):
        planned(second)
