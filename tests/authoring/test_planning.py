"""What sagas are planned into, and which definitions are refused, with which words.

Owns: steps, compensations, flows and plans.  Refuses to know: brokers and stores; the Celery
tasks here are never sent.

The file is long because each definition that is refused stands there as an author would
write it, with the words that refuse it.
"""

# ruff: noqa: ARG001 -- the sagas here are planned, and most of them are wrong on purpose
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from pydantic import BaseModel

from celeriac.authoring import (
    Compensation,
    Flow,
    Planned,
    Step,
    define_adopted_compensation,
    define_step,
    plan_saga,
)
from celeriac.context import StepContext, current, entered
from celeriac.errors import CommandRefused, DefinitionError, LeaseLost
from celeriac.failure import Failure  # noqa: TC001 -- annotations are read when the program runs
from celeriac.machine.expressions import Constant, FromInput, FromStep, ListOf
from celeriac.machine.plans import Plan
from celeriac.machine.policy import Retry, RetryRule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from celeriac.authoring.compensations import C, R

ROOT = Path(__file__).parents[2]

app = Celery("shop", set_as_current=False)


class Order(BaseModel):
    """What a customer wants."""

    id: str
    amount: int


class Hold(BaseModel):
    """Stock that is held."""

    hold_id: str


class Receipt(BaseModel):
    """The end of it."""

    tracking: str


def register(function: Callable[..., Any], name: str | None, options: Mapping[str, Any]) -> Any:
    """Make a plain Celery task."""
    return app.task(name=name, shared=False, **options)(function)


def step(**options: Any) -> Callable[[Callable[C, R]], Step[..., C, R]]:
    """Make a step, as `@sagas.step` does."""

    def decorate(function: Callable[C, R]) -> Step[..., C, R]:
        name = f"shop.{getattr(function, '__name__', 'nameless')}"
        return define_step(function, register=register, **{"name": name, **options})

    return decorate


def task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a plain Celery task, as applications do that know nothing of sagas."""
    decorate: Callable[[Callable[..., Any]], Any] = app.task(shared=False, **options)
    return decorate


def plan(function: Callable[..., Any], **options: Any) -> Planned:
    """Plan a saga, as `@sagas.saga` does."""
    return plan_saga(function, name="shop.place_order", **options)


@step(timeout="30s", retry=Retry(max_attempts=5), effect="barrier")
def reserve(ctx: StepContext, order: Order) -> Hold:
    """Hold stock."""
    return Hold(hold_id=f"{order.id}/{ctx.attempt}")


@reserve.compensation(timeout=5, retry=Retry(max_attempts=10))
def release(ctx: StepContext, order: Order, result: Hold | None, error: Failure | None) -> str:
    """Give the stock back."""
    return f"{ctx.step} {order.id} {result} {error}"


@step()
def ship(order: Order, hold: Hold, note: str = "fast") -> Receipt:
    """Send it."""
    return Receipt(tracking=f"{order.id} {hold.hold_id} {note}")


@task(bind=True, name="billing.charge", max_retries=4, default_retry_delay=7, acks_late=True)
def charge(self: Any, amount: int, card: dict[str, Any], currency: str = "EUR") -> dict[str, Any]:
    """Take the money: a task that was there before."""
    return {"task": self.name, "amount": amount, "card": card, "currency": currency}


@task(name="billing.refund", max_retries=None)
def refund(amount: int, result: Any, currency: str, notify: bool = True) -> None:
    """Give the money back: a task that was there before, too."""


def place_order(flow: Flow, order: Order) -> Receipt:
    """The saga of most tests."""
    hold = flow.step(reserve, order)
    return flow.step(ship, order, hold)


# --- plans -------------------------------------------------------------------------------------


def test_a_saga_becomes_a_static_plan() -> None:
    """Steps run in the order written, each with its arguments, its policy and its undo."""
    planned = plan(place_order, version=3, deadline="10m", retention="2d")
    made = planned.plan
    first, second = made.nodes
    assert (made.saga, made.version, made.params) == ("shop.place_order", 3, ("order",))
    assert (made.deadline, made.retention) == (600_000, 172_800_000)
    assert (first.name, first.task, first.after) == ("reserve", "shop.reserve", ())
    assert (first.timeout, first.retry.max_attempts, first.effect) == (30_000, 5, "barrier")
    assert first.args == {"order": FromInput(input="order")}
    assert first.undo is not None
    assert (first.undo.task, first.undo.timeout) == (release.name, 5_000)
    assert first.undo.wants == ("order", "result", "error")
    assert first.undo.retry.max_attempts == 10
    assert (second.name, second.after, second.undo) == ("ship", ("reserve",), None)
    assert second.args == {"order": FromInput(input="order"), "hold": FromStep(step="reserve")}
    assert made.result == FromStep(step="ship")
    assert planned.steps == {"reserve": reserve, "ship": ship}
    assert planned.adopted == ()
    assert planned.result('{"tracking": "t"}') == Receipt(tracking="t")


def test_a_plan_survives_being_stored() -> None:
    """A plan that is read again is the same plan, with the same fingerprint."""
    made = plan(place_order).plan
    again = Plan.model_validate_json(made.model_dump_json())
    assert again == made
    assert again.fingerprint == made.fingerprint


def test_a_step_used_again_gets_a_number() -> None:
    """The name of a step is the last part of its task's name, with a number from the second on."""

    @step(name="ship-2")
    def awkward(order: Order) -> None: ...

    def saga(flow: Flow, order: Order, hold: Hold) -> None:
        for _ in range(3):
            flow.step(ship, order, hold)
        flow.step(awkward, order)

    made = plan(saga).plan
    assert [node.name for node in made.nodes] == ["ship", "ship-2", "ship-3", "ship-2-2"]
    assert [node.after for node in made.nodes] == [(), ("ship",), ("ship-2",), ("ship-3",)]


def test_arguments_may_be_anything_made_of_values_and_constants() -> None:
    """Fields, constants, lists and mappings are wired as they are written."""

    @step()
    def many(*amounts: int, note: str, **more: Any) -> list[int]:
        raise NotImplementedError

    def saga(flow: Flow, order: Order, extra: int = 3) -> dict[str, Any]:
        got = flow.step(many, order.amount, extra, 5, note="x", who=[order.id], why=None)
        return {"first": got[0], "n": 1, "none": None}

    made = plan(saga).plan
    amount = FromInput(input="order", path=("amount",))
    assert made.nodes[0].args["*amounts"] == ListOf(
        items=(amount, FromInput(input="extra"), Constant(value=5))
    )
    assert made.nodes[0].args["note"] == Constant(value="x")
    assert made.nodes[0].args["**more"].model_dump() == {
        "entries": {
            "who": {"items": ({"input": "order", "path": ("id",)},)},
            "why": {"value": None},
        }
    }
    assert made.result.model_dump() == {
        "entries": {
            "first": {"step": "many", "path": (0,)},
            "n": {"value": 1},
            "none": {"value": None},
        }
    }


def test_a_saga_may_return_nothing() -> None:
    """A saga without a result has the result None."""

    def saga(flow: Flow, order: Order) -> None:
        flow.step(reserve, order)

    assert plan(saga).plan.result == Constant(value=None)


def test_what_a_compensation_asks_for_is_written_into_the_plan() -> None:
    """A default that the compensation asks for is recorded: both get the same value."""

    @step()
    def hold(order: Order, place: str = "north", *codes: int, speed: int = 2) -> None: ...

    @hold.compensation
    def unhold(place: str, *codes: int) -> None: ...

    def saga(flow: Flow, order: Order) -> None:
        flow.step(hold, order)

    node = plan(saga).plan.nodes[0]
    assert node.undo is not None
    assert node.undo.wants == ("place", "*codes")
    assert node.args == {
        "order": FromInput(input="order"),
        "place": Constant(value="north"),
        "*codes": Constant(value=[]),
    }
    assert unhold.shape.call(unhold.function, None, {"place": "x", "*codes": [1]}) is None


def test_the_same_code_gives_the_same_fingerprint_in_every_process() -> None:
    """A plan depends on nothing that differs between processes, the order of sets included."""
    program = """
from typing import Any
from celeriac.authoring import Flow, define_step, plan_saga
class Task:
    name = "shop.mark"
def mark(words: set[str], more: Any) -> None: ...
mark = define_step(mark, name="shop.mark", register=lambda *args: Task())
def saga(flow: Flow, order: str) -> None:
    flow.step(mark, {"a", "b", "c", "d", "e"}, {"x": {"p", "q", "r", "s"}, "o": [order]})
print(plan_saga(saga, name="marks").plan.fingerprint)
"""
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(ROOT / "worker"), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(seen) == 1
    assert len(seen.pop().strip()) == 16


# --- existing tasks ----------------------------------------------------------------------------


def test_an_existing_task_is_adopted_as_it_is() -> None:
    """It keeps its name and its own retries, and gets what its callers would send."""

    def saga(flow: Flow, order: Order) -> Any:
        paid = flow.step(charge, order.amount, card={"owner": order.id, "cvc": 7})
        return paid["amount"]

    planned = plan(saga)
    node = planned.plan.nodes[0]
    assert (node.name, node.task, node.timeout, node.undo) == (
        "charge",
        "billing.charge",
        None,
        None,
    )
    assert node.retry == RetryRule(
        max_attempts=5,
        backoff="none",
        initial_delay=7_000,
        max_delay=60_000,
        jitter=False,
        retry_on=(),
        after_loss=True,
    )
    assert list(node.args) == ["amount", "card"]
    assert planned.plan.result == FromStep(step="charge", path=("amount",))
    assert [task.name for task in planned.adopted] == ["billing.charge"]


def test_an_existing_task_may_be_undone_by_another() -> None:
    """The undo gets parameters by name, defaults of the forward task included."""
    undo = define_adopted_compensation(charge, refund)

    def saga(flow: Flow, order: Order) -> None:
        flow.step(charge, order.amount, {})
        flow.step(charge, order.amount, {})

    planned = plan(saga, adopted_undos={charge.name: undo})
    node = planned.plan.nodes[1]
    assert node.undo is not None
    assert (node.undo.task, node.undo.wants) == ("billing.refund", ("amount", "result", "currency"))
    assert (node.undo.retry.max_attempts, node.undo.retry.after_loss) == (None, False)
    assert node.args["currency"] == Constant(value="EUR")
    assert [task.name for task in planned.adopted] == ["billing.charge", "billing.refund"]


def test_an_undo_that_asks_for_what_there_is_not_is_refused() -> None:
    """A parameter of an undo task that nobody can fill is named."""

    @task(name="billing.wrong")
    def wrong(payment: str) -> None: ...

    with pytest.raises(
        DefinitionError, match=r"step 'billing.charge', parameter 'payment'"
    ) as caught:
        define_adopted_compensation(charge, wrong)
    assert "amount, card, currency, result, error" in str(caught.value)
    with pytest.raises(DefinitionError, match=r"takes two existing tasks.*\.compensation"):
        define_adopted_compensation(reserve, refund)


def test_an_existing_task_with_annotations_for_type_checkers_only_can_be_adopted() -> None:
    """Its code is not ours to change: what cannot be read counts as unknown."""

    @task(name="legacy.old")
    def old(order: Nowhere) -> Nowhere: ...  # type: ignore[name-defined] # noqa: F821

    def saga(flow: Flow, order: Order) -> str:
        result: str = flow.step(old, order).deep["er"]
        return result

    assert plan(saga).plan.result == FromStep(step="old", path=("deep", "er"))


def test_the_celery_task_behind_a_step_is_not_taken_for_an_existing_one() -> None:
    """Passing the task in place of the step would lose its policy."""

    def saga(flow: Flow, order: Order) -> None:
        flow.step(reserve.task, order)

    with pytest.raises(DefinitionError, match=r"step 'reserve': .*pass the step itself"):
        plan(saga)


# --- steps -------------------------------------------------------------------------------------


def test_a_step_stays_a_plain_function_and_a_celery_task() -> None:
    """It can be called in a unit test, and has everything its Celery task has."""
    context = StepContext.for_test(step="reserve", attempt=2)
    order = Order(id="a", amount=1)
    assert reserve(context, order) == Hold(hold_id="a/2")
    assert release(context, order, None, None) == "reserve a None None"
    assert (reserve.__name__, reserve.__doc__) == ("reserve", "Hold stock.")
    assert reserve.name == "shop.reserve"
    assert reserve.si(order.model_dump()).task == "shop.reserve"
    with pytest.raises(AttributeError):
        reserve.__array__  # noqa: B018 -- the attribute is asked for
    with pytest.raises(AttributeError):
        reserve.no_such_thing  # noqa: B018 -- the attribute is asked for


def test_a_name_left_out_is_celerys_own() -> None:
    """Without a name the task is called what Celery calls it, as every task is."""

    def tidy() -> None: ...

    made = define_step(tidy, name=None, register=register, options={"rate_limit": "1/s"})
    assert made.name == made.task.name == app.gen_task_name("tidy", __name__)
    assert made.rate_limit == "1/s"


async def asynchronous() -> None:
    """A coroutine."""


async def asynchronous_generator() -> AsyncIterator[int]:
    """Yields, asynchronously."""
    yield 1


def generator() -> Iterator[int]:
    """Yields."""
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: None, "is a lambda, which has no name"),
        (3, "is made of a function, not of 3"),
        (SimpleNamespace, "is made of a function"),
        (asynchronous, r"is async.*asyncio\.run"),
        (asynchronous_generator, "is async"),
        (generator, "is a generator: return one value"),
        (charge, "is already a Celery task: pass it to flow.step"),
        (reserve, "<step shop.reserve> already: decorate a function once"),
    ],
)
def test_what_cannot_be_a_step_is_refused(function: Any, message: str) -> None:
    """Steps, compensations and sagas are made of plain functions with a name."""
    with pytest.raises(DefinitionError, match=message):
        step(name="shop.bad")(function)
    other = step(name="shop.other")(lambda_free())
    with pytest.raises(DefinitionError, match=message):
        other.compensation(function)
    with pytest.raises(DefinitionError):
        plan(function)


def lambda_free() -> Callable[..., Any]:
    """A function that can be a step."""

    def something() -> None: ...

    return something


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": "soon"}, "step 'shop.something': timeout: 'soon' is not a duration"),
        ({"effect": "magic"}, "effect must be one of .*'keyed', 'barrier', 'none'"),
    ],
)
def test_a_bad_option_of_a_step_is_named(options: Any, message: str) -> None:
    """A wrong option is refused where it is written."""
    with pytest.raises(DefinitionError, match=message):
        step(**options)(lambda_free())


def asks_unknown(order: Order, reslut: Hold | None) -> None:
    """A name with a slip."""


def asks_late_context(order: Order, ctx: StepContext) -> None:
    """A context that does not come first."""


def asks_sure_result(result: Hold) -> None:
    """A result that may not be there."""


def asks_sure_error(error: Failure) -> None:
    """An error that may not be there."""


def asks_other_result(result: Receipt | None) -> None:
    """The result of another step."""


def asks_other_type(order: Hold) -> None:
    """A parameter of another type."""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (asks_unknown, "step 'shop.hold', parameter 'reslut': .*it may ask for order, result, err"),
        (
            asks_late_context,
            "step 'shop.hold', parameter 'ctx': the StepContext is the first parameter",
        ),
        (asks_sure_result, r"parameter 'result': .*write result: Hold \| None"),
        (asks_sure_error, r"parameter 'error': .*write error: Failure \| None"),
        (asks_other_result, "parameter 'result': is Hold, and .* asks for"),
        (asks_other_type, "parameter 'order': is Order, and .* asks for Hold"),
    ],
)
def test_a_compensation_asks_only_for_what_there_is(
    function: Callable[..., Any], message: str
) -> None:
    """What a compensation asks for is checked by name and type when it is defined."""

    def hold(order: Order) -> Hold:
        raise NotImplementedError

    made = step()(hold)
    with pytest.raises(DefinitionError, match=message):
        made.compensation(function)
    assert made.undo is None


def test_a_parameter_called_result_is_ambiguous() -> None:
    """A step's own parameter named like its outcome cannot be asked for."""

    @step()
    def publish(result: str) -> str:
        raise NotImplementedError

    def unpublish(result: str | None) -> None: ...

    with pytest.raises(DefinitionError, match=r"parameter 'result': .*rename the parameter"):
        publish.compensation(unpublish)


def test_a_step_has_one_compensation() -> None:
    """A second compensation is refused, and the first stays."""

    def again(order: Order) -> None: ...

    with pytest.raises(DefinitionError, match=r"step 'shop.reserve': has a compensation already"):
        reserve.compensation(again)
    assert reserve.undo is release


def test_a_compensation_that_comes_after_the_plan_is_refused() -> None:
    """A saga that is planned would never know it, and never undo the step."""

    @step()
    def late(order: Order) -> None: ...

    def saga(flow: Flow, order: Order) -> None:
        flow.step(late, order)

    def undo(order: Order) -> None: ...

    plan(saga)
    with pytest.raises(DefinitionError, match=r"planned in saga 'shop.place_order' already"):
        late.compensation(undo)


# --- mistakes in sagas -------------------------------------------------------------------------


class Defined:
    """What `@sagas.saga` leaves behind, as far as planning knows it."""

    def __init__(self, planned: Planned) -> None:
        self.planned = planned


other_saga = Defined(plan_saga(place_order, name="shop.other"))
kept: dict[str, Any] = {}


def no_flow(order: Order) -> None:
    """Takes no flow."""


def no_parameters() -> None:
    """Takes nothing."""


def no_steps(flow: Flow, order: Order) -> None:
    """Does nothing."""


def reserved_input(flow: Flow, id: str) -> None:  # noqa: A002 -- the mistake that is tested
    """Has an input that `start` needs for itself."""


def many_inputs(flow: Flow, *orders: Order) -> None:
    """Has any number of inputs."""


def with_context(flow: Flow, ctx: StepContext) -> None:
    """Wants a context."""


def bad_default(flow: Flow, amount: int = "much") -> None:  # type: ignore[assignment]
    """Has a default that does not validate."""


def itself(flow: Flow, order: Order) -> None:
    """Calls itself, as a name that is not there yet."""
    flow.step(itself_defined, order)  # type: ignore[name-defined] # noqa: F821


itself.__name__ = "itself_defined"


def another(flow: Flow, order: Order) -> None:
    """Uses a saga as a step."""
    flow.step(other_saga, order)  # type: ignore[call-overload]


def calls_step(flow: Flow, order: Order) -> None:
    """Calls the step in place of wiring it."""
    reserve(None, order)  # type: ignore[arg-type]


def calls_step_with_constants(flow: Flow, order: Order) -> None:
    """Would run a step while it is planned."""
    reserve(StepContext.for_test(), Order(id="a", amount=1))


def calls_compensation(flow: Flow, order: Order) -> None:
    """Wants to undo by hand."""
    flow.step(release, order)  # type: ignore[call-overload]


def uses_signature(flow: Flow, order: Order) -> None:
    """Passes a signature."""
    flow.step(charge.s(1, {}))


def uses_function(flow: Flow, order: Order) -> None:
    """Passes a function that is no step."""
    flow.step(lambda_free)


def uses_value(flow: Flow, order: Order) -> None:
    """Passes a value as the task."""
    flow.step(order)  # type: ignore[call-overload]


def forgets(flow: Flow, order: Order) -> None:
    """Leaves an argument out."""
    flow.step(ship, order)


def misnames(flow: Flow, order: Order, hold: Hold) -> None:
    """Misnames an argument."""
    flow.step(ship, order, hold, remark="x")


def miswires(flow: Flow, order: Order) -> None:
    """Wires a wrong type."""
    flow.step(ship, order, order)


def misses_field(flow: Flow, order: Order) -> None:
    """Asks for a field that is not there."""
    flow.step(ship, order, order.hold)  # type: ignore[attr-defined, call-overload]


def bad_constant(flow: Flow, order: Order) -> None:
    """Gives a constant that does not validate."""
    flow.step(charge, "much", {})


def bad_own_constant(flow: Flow, order: Order) -> None:
    """Gives a constant that has no JSON."""
    flow.step(ship, order, {"hold_id": object()})


def decides(flow: Flow, order: Order) -> None:
    """Compares while planning."""
    if order.amount > 3:
        flow.step(reserve, order)


def breaks(flow: Flow, order: Order) -> None:
    """Raises something of its own."""
    raise KeyError("settings")


def unknown_name(flow: Flow, order: Order) -> None:
    """Has a slip in a name."""
    flow.step(resreve, order)  # type: ignore[name-defined] # noqa: F821


def returns_nothing(flow: Flow, order: Order) -> Receipt:  # type: ignore[return]
    """Promises a result and forgets it."""
    flow.step(reserve, order)


def returns_wrong(flow: Flow, order: Order) -> Receipt:
    """Promises another result."""
    hold: Any = flow.step(reserve, order)
    return hold  # type: ignore[no-any-return]


def borrows(flow: Flow, order: Order) -> None:
    """Uses a value of another saga."""
    flow.step(reserve, kept["order"])


def reuses(flow: Flow, order: Order) -> None:
    """Uses a flow whose time is over."""
    kept["flow"].step(reserve, order)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_flow, r"the first parameter of a saga is its flow: def no_flow\(flow: Flow"),
        (no_parameters, "the first parameter of a saga is its flow"),
        (no_steps, "has no steps"),
        (reserved_input, "parameter 'id': .*give the input another name"),
        (many_inputs, r"parameter '\*orders': .*take one list"),
        (with_context, "parameter 'ctx': .*take it in a step"),
        (bad_default, "parameter 'amount': its default is not valid"),
        (itself, "calls itself: a plan is finite"),
        (another, "calls saga 'shop.other' in flow.step"),
        (calls_step, r"step 'shop.reserve': .*write flow.step\(reserve, …\)"),
        (calls_step_with_constants, r"step 'shop.reserve': is called while the saga is planned"),
        (calls_compensation, r"<compensation .*release> runs by itself"),
        (uses_signature, r"not a signature of it \(.s, .si\)"),
        (uses_function, "takes a step or a Celery task, not <function lambda_free"),
        (uses_value, "takes a task first, and <input order> is a value"),
        (forgets, "step 'ship', parameter 'hold': ship needs it"),
        (misnames, "step 'ship', parameter 'remark': .*asks for order, hold, note"),
        (miswires, "step 'ship', parameter 'hold': should be Hold, and <input order> is Order"),
        (misses_field, "<input order> is Order and has no field 'hold'; it has id, amount"),
        (bad_constant, "step 'charge', parameter 'amount': should be int, not 'much'"),
        (bad_own_constant, "step 'ship', parameter 'hold': .*does not validate"),
        (decides, r"<input order.amount> cannot be compared \(>\)"),
        (breaks, "raised KeyError while it was planned: 'settings'; it is called once"),
        (unknown_name, "raised NameError while it was planned: name 'resreve'"),
        (returns_nothing, "returns nothing, and promises Receipt"),
        (returns_wrong, "its result should be Receipt, and <result of reserve> is Hold"),
        (borrows, "step 'reserve', parameter 'order': <input order> belongs to another saga"),
        (reuses, "the flow is used after the saga was planned"),
    ],
)
def test_a_mistake_is_found_while_planning(function: Callable[..., Any], message: str) -> None:
    """Every mistake is an error at import that names the saga and says what to write."""

    def lender(flow: Flow, order: Order) -> None:
        kept.update(flow=flow, order=order)
        flow.step(reserve, order)

    plan_saga(lender, name="shop.lender")
    with pytest.raises(DefinitionError, match=message) as caught:
        plan(function)
    assert caught.value.saga in ("shop.place_order", "shop.lender")
    assert str(caught.value).startswith("saga '")


def test_an_error_of_the_saga_itself_is_kept_as_the_cause() -> None:
    """The traceback shows the author's own line."""
    with pytest.raises(DefinitionError) as caught:
        plan(breaks)
    assert isinstance(caught.value.__cause__, KeyError)


def test_there_is_one_pivot_at_most() -> None:
    """One step can be the one after which a run only goes forward."""

    @step(pivot=True)
    def commit(order: Order) -> None: ...

    def once(flow: Flow, order: Order) -> None:
        flow.step(commit, order)

    def twice(flow: Flow, order: Order) -> None:
        flow.step(commit, order)
        flow.step(commit, order)

    assert plan(once).plan.pivot == "commit"
    with pytest.raises(DefinitionError, match=r"has 2 pivots \(commit, commit-2\)"):
        plan(twice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deadline": "soon"}, "deadline: 'soon' is not a duration"),
        ({"retention": 0}, "retention: a duration must be positive"),
        ({"version": 0}, "version must be a whole number from 1, not 0"),
        ({"version": True}, "version must be a whole number"),
        ({"on_deadline": "panic"}, "on_deadline must be one of .*'compensate', 'alert'"),
        ({"compensation_order": "random"}, "compensation_order must be one of .*'reverse'"),
    ],
)
def test_a_bad_option_of_a_saga_is_named(options: Any, message: str) -> None:
    """A wrong option is refused where it is written."""
    with pytest.raises(DefinitionError, match=f"saga 'shop.place_order': {message}"):
        plan(place_order, **options)


def test_types_that_cannot_travel_are_found_while_planning() -> None:
    """A step that asks for what JSON cannot carry is refused before anything runs."""

    @step()
    def listen(socket: Path, callback: Defined) -> None: ...

    def saga(flow: Flow, socket: Path) -> None:
        flow.step(listen, socket, None)

    with pytest.raises(DefinitionError, match=r"step 'listen', parameter 'callback': .*as JSON"):
        plan(saga)

    @step()
    def note(text: Any) -> None: ...

    @note.compensation
    def erase(text: Defined) -> None: ...

    def other(flow: Flow, order: Order) -> None:
        flow.step(note, order)

    with pytest.raises(DefinitionError, match=r"step 'note', parameter 'text': .*as JSON"):
        plan(other)


def test_a_failed_planning_leaves_nothing_behind() -> None:
    """After a mistake, steps can be called, and get compensations, as before."""

    @step()
    def once(order: Order) -> str:
        return order.id

    def saga(flow: Flow, order: Order) -> None:
        flow.step(once, order)
        raise ValueError

    with pytest.raises(DefinitionError):
        plan(saga)
    assert once(Order(id="a", amount=1)) == "a"

    @once.compensation
    def undo(order: Order) -> None: ...

    assert isinstance(undo, Compensation)
    assert isinstance(once, Step)


# --- the context -------------------------------------------------------------------------------


def test_the_context_is_there_inside_a_step_only() -> None:
    """`current` gives the innermost context, and explains itself outside of any."""
    outer, inner = StepContext.for_test(), StepContext.for_test(step="other")
    with entered(outer):
        with entered(inner):
            assert current() is inner
        assert current() is outer
    with pytest.raises(CommandRefused, match=r"no step is running here") as caught:
        current()
    assert caught.value.reason == "no_context"


def test_a_heartbeat_goes_to_whoever_runs_the_attempt() -> None:
    """Details are handed on, and a lost lease reaches the step."""
    beats: list[Any] = []

    def lost(details: Any) -> None:
        raise LeaseLost("stale", f"stop: {details}")

    StepContext.for_test(on_heartbeat=beats.append).heartbeat({"done": 3})
    assert beats == [{"done": 3}]
    with pytest.raises(LeaseLost, match=r"stop: None"):
        StepContext.for_test(on_heartbeat=lost).heartbeat()
    StepContext.for_test().heartbeat()


def test_a_context_for_tests_has_a_key_of_its_step() -> None:
    """What is not given has sensible values, and the key follows run and step."""
    context = StepContext.for_test(step="charge", run_id="order-42", tags={"a": "b"})
    assert context.idempotency_key == "order-42:charge"
    assert (context.attempt, context.tags, context.deadline) == (1, {"a": "b"}, None)
    assert StepContext.for_test(idempotency_key="k").idempotency_key == "k"
    with pytest.raises(AttributeError):
        context.attempt = 2  # type: ignore[misc]
