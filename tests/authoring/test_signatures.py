"""What functions ask for, and how their arguments and results become JSON.

Owns: `Shape`.  Refuses to know: sagas, steps and where the JSON goes.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, computed_field
from typing_extensions import TypedDict

from celeriac.authoring.signatures import Shape
from celeriac.context import StepContext
from celeriac.errors import DefinitionError, InputInvalid, OutputInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT = StepContext.for_test()


class Order(BaseModel):
    """A model with an alias and a computed field."""

    model_config = ConfigDict(extra="forbid")

    id: str
    amount: int
    customer: str | None = Field(default=None, alias="customerName")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shown(self) -> str:
        """How people see it."""
        return f"{self.id}: {self.amount}"


@dataclass
class Weight:
    """A plain dataclass."""

    grams: float


class Options(TypedDict, total=False):
    """Keyword arguments with types of their own."""

    speed: int
    note: str


def reserve(ctx: StepContext, order: Order, quantity: int = 1) -> Weight:
    """A step with a context and a default."""
    return Weight(grams=float(order.amount * quantity + ctx.attempt))


def every_kind(
    first: int, /, second: int = 2, *rest: int, named: int, other: int = 5, **more: int
) -> list[Any]:
    """A function with every kind of parameter."""
    return [first, second, rest, named, other, more]


def test_the_context_is_no_parameter() -> None:
    """A first parameter annotated StepContext is left out of what callers have to give."""
    shape = Shape.of(reserve)
    assert shape.context == "ctx"
    assert list(shape.parameters) == ["order", "quantity"]
    assert shape.returns is Weight
    assert shape.call(reserve, CONTEXT, {"order": Order(id="a", amount=2)}) == Weight(3.0)


def test_an_annotated_context_is_one_too() -> None:
    """What `Annotated` adds does not hide the context."""

    def step(ctx: Annotated[StepContext, "the context"]) -> None: ...

    assert Shape.of(step).context == "ctx"


def second_place(order: Order, ctx: StepContext) -> None:
    """A context where it cannot be."""


def by_name_only(*, ctx: StepContext) -> None:
    """A context that cannot be given by position."""


def two_of_them(ctx: StepContext, again: StepContext) -> None:
    """A context too many."""


@pytest.mark.parametrize("function", [second_place, by_name_only, two_of_them])
def test_a_context_elsewhere_is_refused(function: Callable[..., Any]) -> None:
    """The context is the first parameter, and only that."""
    with pytest.raises(DefinitionError, match=r"the StepContext is the first parameter"):
        Shape.of(function)


def test_what_is_bound_already_is_not_asked_for() -> None:
    """Bound methods and partial functions ask only for what is still missing."""

    class Warehouse:
        def hold(self, sku: str, quantity: int) -> None: ...

    def saga(flow: Any, order: Order) -> None: ...

    assert list(Shape.of(Warehouse().hold).parameters) == ["sku", "quantity"]
    assert list(Shape.of(saga, bound=True).parameters) == ["order"]
    partial = functools.partial(every_kind, 1, named=4)
    shape = Shape.of(partial)
    values = shape.bind([2, 3], {"other": 6})
    assert shape.call(partial, None, values) == [1, 2, (3,), 4, 6, {}]


def test_an_annotation_that_cannot_be_read_names_the_parameter() -> None:
    """A name that is only known to type checkers is refused, with the parameter and the remedy."""

    def step(order: Order, hold: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(DefinitionError, match=r"parameter 'hold': .*'Nowhere'.*module level"):
        Shape.of(step)
    tolerant = Shape.of(step, strict=False)
    assert tolerant.parameters["hold"].annotation is Any
    assert tolerant.parameters["order"].annotation is Order


@pytest.mark.parametrize(
    ("args", "kwargs", "values"),
    [
        ((1,), {"named": 4}, {"first": 1, "named": 4}),
        ((1, 2), {"named": 4}, {"first": 1, "second": 2, "named": 4}),
        ((1,), {"second": 2, "named": 4}, {"first": 1, "second": 2, "named": 4}),
        (
            (1, 2, 3, 4),
            {"named": 5, "extra": 6},
            {"first": 1, "second": 2, "*rest": [3, 4], "named": 5, "**more": {"extra": 6}},
        ),
        # The name of a positional-only parameter is free for another.
        ((1,), {"named": 4, "first": 7}, {"first": 1, "named": 4, "**more": {"first": 7}}),
    ],
)
def test_arguments_are_kept_by_name(
    args: tuple[Any, ...], kwargs: dict[str, Any], values: dict[str, Any]
) -> None:
    """Arguments of every kind are kept by key, and given back the way they came."""
    shape = Shape.of(every_kind)
    assert shape.bind(args, kwargs) == values
    assert shape.call(every_kind, None, values) == every_kind(*args, **kwargs)


@given(
    args=st.lists(st.integers(), min_size=1, max_size=5),
    kwargs=st.dictionaries(st.sampled_from("abcdef"), st.integers()),
    named=st.integers(),
)
def test_binding_and_calling_is_calling(
    args: list[int], kwargs: dict[str, int], named: int
) -> None:
    """Whatever Python accepts as a call goes through binding unchanged."""
    shape = Shape.of(every_kind)
    values = shape.bind(args, {**kwargs, "named": named})
    assert shape.call(every_kind, None, values) == every_kind(*args, named=named, **kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "parameter 'order': reserve needs it"),
        ((1, 2, 3), {}, "reserve takes 2 positional arguments, 3 were given.*order, quantity"),
        ((1,), {"order": 2}, "parameter 'order': is given twice"),
        ((1,), {"amount": 2}, "parameter 'amount': .*it asks for order, quantity"),
        ((1,), {"ctx": 2}, "parameter 'ctx': "),
    ],
)
def test_a_wrong_call_names_the_parameter(args: Any, kwargs: Any, message: str) -> None:
    """What is missing, unknown or given twice is named."""
    with pytest.raises(DefinitionError, match=message):
        Shape.of(reserve).bind(args, kwargs)


def test_a_plan_made_with_another_definition_is_explained() -> None:
    """A parameter that came or went since the run was planned is an error that says so."""
    shape = Shape.of(reserve)
    with pytest.raises(InputInvalid, match=r"'quantity_old'.*does not take it any more"):
        shape.arguments(CONTEXT, {"order": None, "quantity_old": 1})
    with pytest.raises(InputInvalid, match=r"'order'.*asks for it now"):
        shape.arguments(CONTEXT, {})
    with pytest.raises(InputInvalid, match=r"'gone'.*does not take it any more"):
        shape.load("gone", "1")


def test_arguments_come_back_from_json_as_they_were() -> None:
    """What was written for a parameter is read as the same value, of the annotated type."""
    shape = Shape.of(reserve)
    order = Order(id="a", amount=3, customerName="Ada")
    text = shape.dump_argument("order", order)
    assert json.loads(text) == {"id": "a", "amount": 3, "customerName": "Ada"}
    assert shape.load("order", text) == order
    assert shape.load("order", '{"id": "a", "amount": 3, "customer": "Ada"}') == order
    assert shape.load("quantity", b"7") == 7


def test_starred_arguments_are_written_as_what_they_are() -> None:
    """Further positional arguments are a list, further keyword arguments a mapping."""

    def step(*orders: Order, **counts: int) -> None: ...

    def other(**options: Unpack[Options]) -> None: ...

    shape = Shape.of(step)
    orders = [Order(id="a", amount=1)]
    assert shape.load("*orders", shape.dump_argument("*orders", orders)) == orders
    assert shape.load("**counts", '{"a": 1}') == {"a": 1}
    with pytest.raises(InputInvalid, match=r"'\*\*options' of other.*speed"):
        Shape.of(other).load("**options", '{"speed": "fast"}')


def test_a_wrong_input_says_where_and_does_not_repeat_it() -> None:
    """The message names the field, and leaves the value, which may be a secret, out of it."""
    shape = Shape.of(reserve)
    with pytest.raises(InputInvalid, match=r"'order' of reserve.*amount: .*integer") as caught:
        shape.dump_argument("order", {"id": "a", "amount": "secret"})
    assert "secret" not in str(caught.value)
    with pytest.raises(InputInvalid, match=r"amount: Field required"):
        shape.load("order", '{"id": "a"}')


def test_many_complaints_are_cut_short() -> None:
    """A list with a hundred wrong items gives a message one can read."""

    def step(counts: list[int]) -> None: ...

    with pytest.raises(InputInvalid, match=r"0: .*4: [^;]*; and 95 more"):
        Shape.of(step).load("counts", json.dumps(["x"] * 100))


def test_a_call_is_encoded_with_its_defaults() -> None:
    """The input of a run is complete: a default may change tomorrow, this run's may not."""
    shape = Shape.of(reserve)
    assert shape.encode([{"id": "a", "amount": 1}], {}) == {
        "order": '{"id":"a","amount":1,"customerName":null}',
        "quantity": "1",
    }
    with pytest.raises(InputInvalid, match=r"needs it"):
        shape.encode([], {})
    with pytest.raises(InputInvalid, match=r"'quantity'"):
        shape.encode([Order(id="a", amount=1)], {"quantity": "many"})


def returns(annotation: Any) -> Shape:
    """The shape of a function that returns *annotation*."""

    def step() -> None: ...

    step.__annotations__["return"] = annotation
    return Shape.of(step)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (Order, Order(id="a", amount=1), '{"id":"a","amount":1,"customerName":null}'),
        (Order, {"id": "a", "amount": 1}, '{"id":"a","amount":1,"customerName":null}'),
        (Weight, Weight(2.5), '{"grams":2.5}'),
        (None, None, "null"),
        (Decimal, Decimal("1.10"), '"1.10"'),
        (datetime, datetime(2024, 5, 1, tzinfo=UTC), '"2024-05-01T00:00:00Z"'),
        (dict[int, str], {1: "a"}, '{"1":"a"}'),
        (str, "null NaN", '"null NaN"'),
        (list[int | None], [1, None], "[1,null]"),
    ],
)
def test_a_result_is_written_by_its_annotation(annotation: Any, value: Any, text: str) -> None:
    """What is recorded is the JSON of the annotated type, and can be read as that type."""
    shape = returns(annotation)
    assert shape.dump(value) == text
    assert shape.dump(shape.load_result(text)) == text


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Order, None, "what step returned does not validate"),
        (Order, {"id": "a"}, "amount: Field required"),
        (None, 3, "does not validate"),
        (Any, object(), "cannot be written as JSON: .*object"),
        (Any, b"\xff", "cannot be written as JSON"),
        (Any, "\ud800", "cannot be written as JSON"),
        (float, math.nan, "cannot be written as JSON: it holds nan; use None"),
        (Any, {"a": [1, math.inf, None]}, r"its a\[1\] holds inf"),
        (Weight, Weight(-math.inf), "its .* holds -inf"),
        (Weight, Weight("heavy"), "cannot be written as JSON"),  # type: ignore[arg-type]
    ],
)
def test_a_result_that_cannot_be_recorded_is_refused(
    annotation: Any, value: Any, message: str
) -> None:
    """What does not fit the annotation, or has no form in JSON, fails the step with a reason."""
    with pytest.raises(OutputInvalid, match=message):
        returns(annotation).dump(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    """A circle has no form in JSON."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(OutputInvalid, match=r"cannot be written as JSON"):
        returns(Any).dump(circle)


class Socket:
    """Something that JSON cannot carry."""


def test_types_that_cannot_travel_are_refused_before_anything_runs() -> None:
    """Preparing a shape finds the parameter whose type has no JSON."""

    def step(order: Order, socket: Socket) -> None: ...

    with pytest.raises(DefinitionError, match=r"parameter 'socket': .*cannot be carried as JSON"):
        Shape.of(step).prepare()
    Shape.of(reserve).prepare()


def test_a_builtin_without_a_signature_is_refused() -> None:
    """A function whose parameters nobody knows cannot be wired."""
    with pytest.raises(DefinitionError, match=r"wrap it in a function"):
        Shape.of(max)


def test_arguments_are_given_by_position_or_by_name() -> None:
    """By name where they were, by position up to the last that has to be, defaults not at all."""

    def sent(a: int, b: int = 2, c: int = 3, *, d: int = 4) -> None: ...

    def counted(a: int, b: int = 2, *more: int, c: int = 3) -> None: ...

    shape, other = Shape.of(sent), Shape.of(counted)
    assert shape.given_by_name({"c": 1, "d": 1}) == ("c",)
    assert shape.arguments(None, {"a": 1}) == ([1], {})
    assert shape.arguments(None, {"a": 1, "c": 5}) == ([1, 2, 5], {})
    assert shape.arguments(None, {"a": 1, "c": 5}, ("c",)) == ([1], {"c": 5})
    assert shape.arguments(None, {"a": 1, "b": 7, "c": 5}, ("b",)) == ([1, 7, 5], {})
    assert shape.arguments(None, {"a": 1, "d": 5}, ("a",)) == ([], {"a": 1, "d": 5})
    assert other.arguments(None, {"a": 1, "*more": [8, 9]}) == ([1, 2, 8, 9], {})
    assert other.arguments(None, {"a": 1, "*more": [], "c": 5}, ("a",)) == ([], {"a": 1, "c": 5})
