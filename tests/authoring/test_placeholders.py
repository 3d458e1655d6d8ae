"""What stands for values while a saga is planned, and which types fit each other.

Owns: `Placeholder`, `express` and the comparison of annotations.  Refuses to know: flows.

The file is long because each operator, and each pair of types, is a case of its own.
"""

from __future__ import annotations

import inspect
import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    LiteralString,
    NamedTuple,
    NewType,
    NotRequired,
    Protocol,
    TypeVar,
)
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, RootModel, computed_field
from typing_extensions import TypedDict

from celeriac.authoring.annotations import accepts_none, as_json, fields_of, fits, fits_as_json
from celeriac.authoring.placeholders import Placeholder, annotation_of, express, owner_of, source_of
from celeriac.errors import DefinitionError
from celeriac.machine.expressions import Constant, DictOf, FromInput, FromStep, ListOf, TextOf

OWNER = object()
T = TypeVar("T")


class Size(NamedTuple):
    """A named tuple: a list in JSON."""

    width: int
    height: int


class Line(BaseModel):
    """A model inside another."""

    sku: str
    quantity: int


class Order(BaseModel):
    """A model with everything a field can be."""

    id: str
    lines: list[Line]
    customer: str = Field(alias="customerName")
    secret: str = Field(default="", exclude=True)
    gift: Line | None = None
    notes: dict[str, int] = {}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        """Computed, so not part of what is written."""
        return 1


class Skus(RootModel[list[str]]):
    """A model that is its root."""


@dataclass
class Parcel:
    """A dataclass."""

    weight: float
    size: Size
    labels: list[str] = dataclass_field(default_factory=list)


class Address(TypedDict):
    """A mapping with known keys."""

    street: str
    floor: NotRequired[int]


class Letter(BaseModel):
    """One of two kinds of mail."""

    kind: Literal["letter"]
    pages: int


class Postcard(BaseModel):
    """The other one."""

    kind: int


class Box(BaseModel, Generic[T]):
    """A generic model."""

    content: T


def given(annotation: Any, *, as_json: bool = False) -> Any:
    """A placeholder for an input called `value`."""
    return Placeholder(FromInput(input="value"), annotation, OWNER, as_json=as_json)


def path(placeholder: Any) -> tuple[str | int, ...]:
    """Where in the value a placeholder looks."""
    source = source_of(placeholder)
    assert not isinstance(source, TextOf)
    return source.path


@pytest.mark.parametrize(
    ("annotation", "look", "where", "found"),
    [
        (Order, lambda v: v.id, ("id",), str),
        (Order, lambda v: v.customer, ("customerName",), str),
        (Order, lambda v: v.lines[0].quantity, ("lines", 0, "quantity"), int),
        (Order, lambda v: v.lines[-1], ("lines", -1), Line),
        (Order, lambda v: v.notes["a"], ("notes", "a"), int),
        (Parcel, lambda v: v.size.height, ("size", 1), int),
        (Parcel, lambda v: v.size[0], ("size", 0), int),
        (Address, lambda v: v["street"], ("street",), str),
        (Skus, lambda v: v.root[0], (0,), str),
        (Box[Line], lambda v: v.content.sku, ("content", "sku"), str),
        (Annotated[Line, "noted"], lambda v: v.sku, ("sku",), str),
        (dict[int, Line], lambda v: v[5].sku, ("5", "sku"), str),
        (Mapping[str, Any], lambda v: v["a"].b[0], ("a", "b", 0), Any),
        (tuple[int, str], lambda v: v[1], (1,), str),
        (tuple[int, ...], lambda v: v[9], (9,), int),
        (list, lambda v: v[0], (0,), Any),
        (Letter | Postcard, lambda v: v.kind, ("kind",), Literal["letter"] | int),
        (Any, lambda v: v.anything["at"], ("anything", "at"), Any),
    ],
)
def test_a_placeholder_gives_what_is_inside(
    annotation: Any, look: Callable[[Any], Any], where: tuple[str | int, ...], found: Any
) -> None:
    """Fields, keys and items are followed as deep as wanted, with their types."""
    inside = look(given(annotation))
    assert path(inside) == where
    assert annotation_of(inside) == found
    assert owner_of(inside) is OWNER


@pytest.mark.parametrize(
    ("annotation", "look", "message"),
    [
        (Order, lambda v: v.amount, r"no field 'amount'; it has id, lines, customer, gift, notes$"),
        (Order, lambda v: v.total, "'total' is no field that is written as JSON"),
        (Order, lambda v: v.model_dump(), "'model_dump' is no field.*use .model_dump in a step"),
        (Order, lambda v: v.secret, "no field 'secret'"),
        (Order, lambda v: v.gift.sku, r"<input value.gift> may be None .*pass the whole value"),
        (Order, lambda v: v["id"], "write .name for a field"),
        (Order, lambda v: v.lines["a"], "has no item 'a'"),
        (Order, lambda v: v.lines[0:2], "takes a key .text. or an index"),
        (Order, lambda v: v.lines[True], "takes a key .text. or an index"),
        (Order, lambda v: v.lines[v.notes["a"]], "cannot be an index or a key"),
        (Line | None, lambda v: v.sku, "may be None"),
        (Parcel, lambda v: v.colour, "has no field 'colour'; it has weight, size, labels"),
        (Address, lambda v: v.street, r"write \['street'\] for a key"),
        (Address, lambda v: v["town"], "has no key 'town'; it has street, floor"),
        (dict[str, int], lambda v: v.a, r"write \['a'\] for a key"),
        (tuple[int, str], lambda v: v[2], "has no item 2"),
        (Letter | Postcard, lambda v: v.pages, "no field 'pages'"),
        (str, lambda v: v.upper(), "is str and has no fields"),
        (str, lambda v: v[0], "has no item 0"),
        (datetime, lambda v: v.year, "is datetime and has no fields"),
    ],
)
def test_what_is_not_inside_is_refused(
    annotation: Any, look: Callable[[Any], Any], message: str
) -> None:
    """A field that is not there, or may not be there, is refused with what there is."""
    with pytest.raises(DefinitionError, match=message):
        look(given(annotation))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda v: v == 1, r"<input value> cannot be compared \(==\): .*inside a step"),
        (lambda v: v != 1, r"compared \(!=\)"),
        (lambda v: v < 1, r"compared \(<\)"),
        (lambda v: v <= 1, r"compared \(<=\)"),
        (lambda v: v > 1, r"compared \(>\)"),
        (lambda v: v >= 1, r"compared \(>=\)"),
        (lambda v: v in [1, 2], r"compared \(==\)"),
        (lambda v: 1 in v, r"cannot be searched \(in\)"),
        (bool, "no truth value.*write `with flow.when"),
        (lambda v: not v, "no truth value"),
        (lambda v: v and 1, "no truth value"),
        (lambda v: 1 if v else 2, "no truth value"),
        (hash, "cannot be a key of a mapping"),
        (lambda v: {v: 1}, "cannot be a key of a mapping"),
        (str, "is not text yet.*make the text there"),
        (lambda v: f"{v}", "is not text yet"),
        (lambda v: f"{v:>10}", "is not text yet"),
        (lambda v: "%s" % v, "is not text yet"),  # noqa: UP031 -- the old way must fail as well
        (list, "cannot be iterated or unpacked.*loop inside a step"),
        (lambda v: [*v], "cannot be iterated"),
        (lambda v: {**v}, "no fields.*use .keys in the step"),
        (len, "has no length yet"),
        (lambda v: v(), "cannot be called"),
        (lambda v: v + 1, r"cannot be used with \+"),
        (lambda v: 1 + v, r"cannot be used with \+"),
        (lambda v: v - 1, "used with -"),
        (lambda v: 2 * v, r"used with \*"),
        (lambda v: v / 2, "used with /"),
        (lambda v: v // 2, "used with //"),
        (lambda v: v % 2, "used with %"),
        (lambda v: 2**v, r"used with \*\*"),
        (lambda v: v | 1, r"used with \|"),
        (lambda v: v & 1, "used with &"),
        (operator.neg, "used with -"),
        (operator.invert, "used with ~"),
        (abs, r"abs\(\)"),
        (round, r"round\(\)"),
        (math.floor, r"floor\(\)"),
        (int, r"int\(\)"),
        (float, r"float\(\)"),
        (range, "an index or a range"),
        (lambda v: [1, 2][v], "an index or a range"),
        (reversed, r"reversed\(\)"),
        (lambda v: setattr(v, "x", 1), r"\.x cannot be set: return a changed copy"),
        (lambda v: operator.setitem(v, "x", 1), r"\['x'\] cannot be set"),
        (lambda v: operator.delitem(v, "x"), "used with del"),
    ],
)
def test_a_placeholder_refuses_what_needs_the_value(
    use: Callable[[Any], Any], message: str
) -> None:
    """Everything that cannot be known while planning says so, and what to write instead."""
    with pytest.raises(DefinitionError, match=message):
        use(given(int))


def test_a_placeholder_can_be_shown() -> None:
    """Its repr says whence it comes, for messages and debuggers."""
    assert repr(given(Order).lines[0].sku) == "<input value.lines[0].sku>"
    step = Placeholder(FromStep(step="charge"), Any, OWNER, as_json=False)
    assert repr(step.id) == "<result of charge.id>"


def test_a_placeholder_does_not_pretend_to_other_protocols() -> None:
    """What looks for a special method finds none, instead of a field of that name."""
    value = given(Any)
    assert not hasattr(value, "__fspath__")
    assert not hasattr(value, "__array__")
    with pytest.raises(TypeError):
        json.dumps(value)


# --- expressions -------------------------------------------------------------------------------


def expressed(value: Any, annotation: Any = Any, *, as_json: bool = False) -> Any:
    """The expression of *value* for a parameter of type *annotation*."""
    return express(value, annotation, OWNER, as_json=as_json)


def test_a_placeholder_becomes_its_source() -> None:
    """What stands for a value is written down as the way to it."""
    assert expressed(given(Order).id, str) == FromInput(input="value", path=("id",))


@pytest.mark.parametrize(
    ("value", "annotation", "stored"),
    [
        (3, int, 3),
        ("3", int, 3),
        (None, int | None, None),
        ((1, 2), tuple[int, int], [1, 2]),
        (Line(sku="a", quantity=1), Line, {"sku": "a", "quantity": 1}),
        ({"sku": "a", "quantity": 1}, Line, {"sku": "a", "quantity": 1}),
        (UUID(int=0), UUID, "00000000-0000-0000-0000-000000000000"),
        ({"b", "a", "c"}, set[str], ["a", "b", "c"]),
        (["b", "a"], frozenset[str], ["a", "b"]),
        ({"x": [{"b", "a"}]}, Any, {"x": [["a", "b"]]}),
        ([2, 1], list[int], [2, 1]),
    ],
)
def test_a_constant_is_validated_and_kept_as_json(value: Any, annotation: Any, stored: Any) -> None:
    """Constants are stored as JSON of the parameter's type; sets in an order of their own."""
    assert expressed(value, annotation) == Constant(value=stored)


def test_placeholders_may_sit_inside_lists_and_mappings() -> None:
    """A list or mapping is taken apart as far as there are placeholders in it."""
    value = given(Order)
    found = expressed({"ids": [value.id, "x"], "plain": {"a": (1, 2)}})
    assert found == DictOf(
        entries={
            "ids": ListOf(items=(FromInput(input="value", path=("id",)), Constant(value="x"))),
            "plain": Constant(value={"a": [1, 2]}),
        }
    )
    sku = given(str)
    assert isinstance(expressed({"sku": sku, "quantity": 1}, Line), DictOf)
    assert isinstance(expressed([sku], list[str] | None), ListOf)
    assert isinstance(expressed([sku], set[str]), ListOf)
    assert isinstance(expressed((sku, 1), tuple[str, int]), ListOf)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (given(int), str, "should be str, and <input value> is int"),
        (given(Order).gift, Line, "should be Line, and <input value.gift> is"),
        ([given(int)], list[str], "should be str, and <input value> is int"),
        ({"sku": given(int)}, Line, "should be str, and"),
        ({"a": given(int)}, dict[str, str], "should be str, and"),
        ((1, given(int)), tuple[int, str], "should be str, and"),
        ([given(int)], int, "should be int, not a list"),
        ({"a": given(int)}, int, "should be int, not a mapping"),
        ({1: given(int)}, Any, "keys of a mapping with placeholders are text, not 1"),
        ("x", int, "'x' does not validate"),
        ([given(str), "x"], list[int], "should be int"),
        ([given(int), "x"], list[int], "'x' does not validate"),
        (object(), Any, "cannot be written as JSON"),
        (math.nan, float, "it holds nan"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(value: Any, annotation: Any, message: str) -> None:
    """Placeholders are compared by type, constants are validated, wherever they sit."""
    with pytest.raises(DefinitionError, match=message):
        expressed(value, annotation)


def test_a_placeholder_of_another_flow_is_refused() -> None:
    """Values of one saga mean nothing in another."""
    with pytest.raises(DefinitionError, match="belongs to another saga"):
        express(given(int), int, object(), as_json=False)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (given(Order), dict),
        (given(Order), Order),
        (given(datetime), str),
        ({"a": 1}, Order),
        ("2024-05-01", datetime),
        ("a", Literal["a", "b"]),
        (3, float),
        (given(dict, as_json=True), Order),
    ],
)
def test_tasks_that_take_json_take_the_json_form(value: Any, annotation: Any) -> None:
    """An existing task gets a model as a mapping and a time as text, whatever it is annotated."""
    assert expressed(value, annotation, as_json=True)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ("a", int),
        (3, str),
        ([1], dict),
        ("c", Literal["a"]),
        (given(str), int),
        (given(Order), int),
    ],
)
def test_tasks_that_take_json_refuse_what_is_surely_wrong(value: Any, annotation: Any) -> None:
    """An existing task's annotations are still compared where JSON says something else."""
    with pytest.raises(DefinitionError, match="should be"):
        expressed(value, annotation, as_json=True)


# --- types -------------------------------------------------------------------------------------

OrderId = NewType("OrderId", str)


class Animal:
    """A class."""


class Dog(Animal):
    """A class below it."""


class Walks(Protocol):
    """A protocol that cannot be asked at run time."""

    def walk(self) -> None:
        """Walk."""


class Colour(StrEnum):
    """Text with names."""

    RED = "red"


class Level(IntEnum):
    """Numbers with names."""

    LOW = 1


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Any, int),
        (int, Any),
        (int, object),
        (inspect.Parameter.empty, int),
        ("Forward", int),
        (int, int),
        (None, type(None)),
        (Dog, Animal),
        (bool, int),
        (int, float),
        (list[int], list[float]),
        (Colour, str),
        (Level, int),
        (OrderId, str),
        (str, OrderId),
        (Annotated[int, "x"], int),
        (int, Annotated[int, "x"]),
        (T, int),
        (int, int | None),
        (None, int | None),
        (int | str, str | int | None),
        (Dog | None, Animal | None),
        (Literal["a"], str),
        (Literal["a"], Literal["a", "b"]),
        (Literal[1], float),
        (list, list[int]),
        (list[int], list),
        (list[Dog], list[Animal]),
        (list[int], Sequence[int]),
        (list[int], Iterable[float]),
        (dict[str, Dog], Mapping[str, Animal]),
        (tuple[int, str], tuple[int, str]),
        (tuple[int, int], tuple[int, ...]),
        (tuple[int, ...], tuple[int, int]),
        (tuple[int, int], Sequence[int]),
        (Size, tuple),
        (Address, dict[str, Any]),
        (dict, Address),
        (Box[int], Box[float]),
        (Dog, Walks),
        (str, LiteralString),
    ],
)
def test_what_may_fit_is_accepted(source: Any, target: Any) -> None:
    """Equal, narrower, promoted and unknown types fit."""
    assert fits(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (int, str),
        (str, int),
        (float, int),
        (Animal, Dog),
        (Order, Line),
        (dict, Order),
        (None, int),
        (int, None),
        (int | None, int),
        (int | str, int),
        (int, str | None),
        (Literal["a", "c"], Literal["a", "b"]),
        (Literal[1], Literal[True]),
        (Literal["a"], int),
        (str, Literal["a"]),
        (list[int], list[str]),
        (list[int], set[int]),
        (dict[str, int], dict[str, str]),
        (dict[int, int], dict[str, int]),
        (list[int], Mapping[str, int]),
        (tuple[int, str], tuple[int, int]),
        (tuple[int, str, int], tuple[int, str]),
        (tuple[int, str], tuple[int, ...]),
        (tuple[int, str], Sequence[int]),
        (Order, Address),
        (Box[int], Box[str]),
        (list[Animal | None], list[Animal]),
    ],
)
def test_what_is_surely_wrong_is_refused(source: Any, target: Any) -> None:
    """Unrelated types, possible Nones and wrong contents do not fit."""
    assert not fits(source, target)


def test_none_is_accepted_where_it_is_written() -> None:
    """Only an annotation that says so, or none at all, accepts None."""
    assert [accepts_none(each) for each in (None, int | None, Any, object)] == [True] * 4
    assert [accepts_none(each) for each in (int, Order, Literal["a"])] == [False] * 3


@pytest.mark.parametrize(
    ("annotation", "form"),
    [
        (int, int),
        (Order, dict[str, Any]),
        (Parcel, dict[str, Any]),
        (Address, dict[str, Any]),
        (dict[int, Order], dict[str, dict[str, Any]]),
        (Skus, list),
        (Size, list),
        (set[int], list),
        (datetime, Any),
        (Colour, Any),
        (bytes, Any),
        (Line | None, dict[str, Any] | None),
    ],
)
def test_types_have_a_form_in_json(annotation: Any, form: Any) -> None:
    """What a task sees that takes plain JSON is known as far as JSON has types."""
    assert as_json(annotation) == form
    assert fits_as_json(annotation, form)


def test_a_class_whose_annotations_cannot_be_read_still_has_fields() -> None:
    """Fields are known by name, and may be anything."""

    @dataclass
    class Local:
        thing: Nowhere  # type: ignore[name-defined] # noqa: F821

    class Keys(TypedDict):
        thing: Nowhere  # type: ignore[name-defined] # noqa: F821

    assert fields_of(Local) == {"thing": (("thing",), Any)}
    assert fields_of(Keys) == {"thing": (("thing",), Any)}
