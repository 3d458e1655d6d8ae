"""Two phases: the plans that come of it, and mistakes found when a saga or a step is defined.

Owns: `two_phase` and `@step.confirm`.  Refuses to know: what a run makes of it
(`tests/machine/test_two_phase.py`).
"""

# ruff: noqa: ARG001 -- the sagas here are planned, and never run
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from celeriac import DefinitionError, Flow, Retry, Sagas, StepContext
from celeriac.machine import Constant, FromInput, FromStep

if TYPE_CHECKING:
    from celeriac.machine import Plan

app = Celery("transfers", set_as_current=False)
sagas = Sagas(app)
Build = Callable[[Flow, str], object]


@sagas.step
def hold(account: str, amount: int = 5) -> str:
    """Prepare."""
    return f"{account}: {amount}"


@hold.compensation
def release(account: str) -> None:
    """Cancel."""


@hold.confirm(timeout="3s", retry=Retry(max_attempts=2, initial_delay="1s"))
def take(ctx: StepContext, amount: int, result: str) -> None:
    """Confirm."""


@sagas.step
def look(account: str) -> str:
    """Without a confirm."""
    return account


@sagas.step(pivot=True)
def pay(account: str) -> str:
    """No way back from here."""
    return account


@sagas.step
def call_off(account: str) -> None:
    """Undo several."""


def is_far(account: str) -> bool:
    """A predicate."""
    return bool(account)


def planned(build: Build) -> Plan:
    """The plan of a saga."""

    def transfer(flow: Flow, account: str) -> None:
        build(flow, account)

    return sagas.saga(name=f"transfer-{len(sagas.defined)}")(transfer).planned.plan


def test_confirms_follow_the_block_in_order_and_before_what_is_behind_it() -> None:
    """A step without a confirm is only prepared."""

    def build(flow: Flow, account: str) -> None:
        flow.options(name="first").step(look, account)
        with flow.two_phase():
            flow.options(name="from").step(hold, account)
            flow.step(look, account)
            flow.options(name="to").step(hold, account, 7)
        flow.options(name="last").step(look, account)

    plan = planned(build)
    assert [(node.name, node.after) for node in plan.nodes] == [
        ("first", ()),
        ("from", ("first",)),
        ("look", ("from",)),
        ("to", ("look",)),
        ("from.confirm", ("to",)),
        ("to.confirm", ("from.confirm",)),
        ("last", ("to.confirm",)),
    ]
    assert plan.confirmed_by == {"from": "from.confirm", "to": "to.confirm"}


def test_a_confirm_gets_what_it_asks_for_by_name() -> None:
    """The step's arguments, also one left to its default, and its result; and has no last try."""

    def build(flow: Flow, account: str) -> None:
        with flow.two_phase():
            flow.step(hold, account)

    plan = planned(build)
    node = plan.by_name["hold.confirm"]
    assert node.args == {"amount": Constant(value=5), "result": FromStep(step="hold")}
    assert plan.by_name["hold"].args["account"] == FromInput(input="account")
    assert (node.timeout, node.retry.max_attempts, node.retry.initial_delay) == (3_000, None, 1_000)
    assert node.undo is None
    assert node.task == "tests.authoring.test_two_phase.take"


def test_inside_of_a_condition_a_block_is_confirmed_only_if_it_is_chosen() -> None:
    """And a step inside of a condition in the block only if it joined."""

    def build(flow: Flow, account: str) -> None:
        with flow.when(is_far, account), flow.two_phase():
            flow.step(hold, account)

    plan = planned(build)
    assert [guard.step for guard in plan.by_name["hold.confirm"].guards] == ["is_far"]


def _outside(flow: Flow, account: str) -> None:
    flow.step(hold, account)


def _in_undone_by(flow: Flow, account: str) -> None:
    with flow.undone_by(call_off, account):
        flow.step(hold, account)


def _no_confirm(flow: Flow, account: str) -> None:
    with flow.two_phase():
        flow.step(look, account)


def _twice(flow: Flow, account: str) -> None:
    with flow.two_phase():
        flow.step(hold, account)
    with flow.two_phase():
        flow.step(hold, account)


def _pivot_before(flow: Flow, account: str) -> None:
    flow.step(pay, account)
    with flow.two_phase():
        flow.step(hold, account)


def _pivot_inside(flow: Flow, account: str) -> None:
    with flow.two_phase():
        flow.step(hold, account)
        flow.step(pay, account)


def _pivot_behind(flow: Flow, account: str) -> None:
    with flow.two_phase():
        flow.step(hold, account)
    flow.step(pay, account)


def _in_a_branch(flow: Flow, account: str) -> None:
    with flow.parallel():
        flow.step(look, account)
        with flow.sequence(), flow.two_phase():
            flow.step(hold, account)


def _in_a_graph(flow: Flow, account: str) -> None:
    with flow.graph(), flow.two_phase():
        flow.step(hold, account)


def _in_a_scope(flow: Flow, account: str) -> None:
    with flow.undone_by(call_off, account), flow.two_phase():
        flow.step(hold, account)


def _scope_inside(flow: Flow, account: str) -> None:
    with flow.two_phase(), flow.undone_by(call_off, account):
        flow.step(look, account)


def _undoes(flow: Flow, account: str) -> None:
    with flow.undone_by(hold, account):
        flow.step(look, account)


def _called_as_a_step(flow: Flow, account: str) -> None:
    flow.step(take, 5, account)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (_outside, r"step 'hold'.*has a confirm.*inside of `with flow.two_phase\(\):`"),
        (_in_undone_by, r"step 'hold'.*has a confirm.*inside of `with flow.two_phase\(\):`"),
        (_no_confirm, "has no step with a confirm inside.*write @step.confirm"),
        (_twice, "stands in the saga twice.*into one block"),
        (_pivot_before, "so does the pivot pay; there is one such point"),
        (_pivot_inside, "step 'pay'.*is a pivot inside of flow.two_phase.*outside of the block"),
        (_pivot_behind, "so does the pivot pay; there is one such point"),
        (_in_a_branch, "stands beside other steps.*before or behind"),
        (_in_a_graph, "stands beside other steps.*before or behind"),
        (_in_a_scope, "stands inside of flow.undone_by: scopes do not nest"),
        (_scope_inside, "covers steps inside of flow.two_phase: scopes do not nest"),
        (_undoes, "no confirm of its own"),
        (_called_as_a_step, "<confirm .*take>"),
    ],
)
def test_what_cannot_be_is_an_error_when_the_saga_is_defined(build: Build, told: str) -> None:
    """With saga, step and parameter, and what to write in its place."""
    with pytest.raises(DefinitionError, match=told):
        planned(build)


def _unknown_parameter(owner: str) -> None:
    pass


def _wrong_type(account: int) -> None:
    pass


def _wrong_result(result: int) -> None:
    pass


def _asks_why(error: str) -> None:
    pass


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (_unknown_parameter, "parameter 'owner'.*the confirm _unknown_parameter asks for a value"),
        (_wrong_type, "parameter 'account'.*is str, and the confirm _wrong_type asks for int"),
        (_wrong_result, "parameter 'result'.*is str, and the confirm"),
        (_asks_why, "parameter 'error'.*asks for a value that does not exist"),
        (lambda: None, "is a lambda"),
    ],
)
def test_a_wrong_confirm_is_an_error_where_it_is_written(
    function: Callable[..., None], told: str
) -> None:
    """By name and type, as with compensations."""

    @sagas.step(name=f"held-{getattr(function, '__name__', '')}")
    def held(account: str) -> str:
        return account

    with pytest.raises(DefinitionError, match=told):
        held.confirm(function)


def test_a_step_has_one_confirm_and_before_it_is_planned() -> None:
    """Or a plan would not know it."""
    with pytest.raises(DefinitionError, match="has a confirm already"):
        hold.confirm(_unknown_parameter)

    @sagas.step(name="bare")
    def bare(account: str) -> str:
        return account

    planned(lambda flow, account: flow.step(bare, account))
    with pytest.raises(DefinitionError, match=r"is planned in saga .* already, without a confirm"):
        bare.confirm(_wrong_type)


def test_a_confirm_is_called_as_the_plain_function_it_is() -> None:
    """In a unit test; not while a saga is planned."""
    assert take(StepContext.for_test(), 5, "x") is None

    def build(flow: Flow, account: str) -> Any:
        take(StepContext.for_test(), 5, account)

    with pytest.raises(DefinitionError, match="it is run by itself when all is prepared"):
        planned(build)
