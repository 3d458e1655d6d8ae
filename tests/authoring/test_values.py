"""What goes in comes out, or is refused where it is written.

Owns: which values survive being written as JSON, which are refused and with which words, and which
types are refused when they are planned.  Refuses to know: runs.

The file is long because each kind of value has its types, and a model that spoils it.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import GenericAlias
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    field_serializer,
    model_validator,
)
from typing_extensions import TypedDict

from celeriac.authoring import Codec, Shape, read_carried, write_carried
from celeriac.authoring.comparison import difference
from celeriac.authoring.lossless_types import always, proof_of
from celeriac.errors import DefinitionError, InputInvalid, OutputInvalid

BERLIN = ZoneInfo("Europe/Berlin")


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Word(enum.StrEnum):
    """A choice that is text."""

    YES = "yes"


class Line(BaseModel):
    """A model that holds nothing special."""

    sku: str
    quantity: int = 1


class Marked(Line):
    """The same with one field more."""

    mark: str = "x"


class Twin(Line):
    """The same, with another name only."""


class Order(BaseModel):
    """A model with what most models have."""

    id: str
    lines: list[Line] = []
    at: datetime | None = None
    day: date = date(2024, 5, 1)
    colour: Colour = Colour.RED
    price: Decimal = Decimal("1.10")
    kind: Literal["a", "b"] = "a"
    customer: str = Field(default="", alias="customerName")
    more: dict[str, Any] = {}


class Least(BaseModel):
    """A model whose field has a least value."""

    amount: int = Field(gt=0)


class Tree(BaseModel):
    """A model that holds itself."""

    kids: list[Tree] = []


class OneWay(BaseModel):
    """A model that is written under a name under which it is not read."""

    hold_id: str = Field(serialization_alias="holdId")


class BothWays(BaseModel):
    """The same, read under both names."""

    hold_id: str = Field(
        serialization_alias="holdId", validation_alias=AliasChoices("hold_id", "holdId")
    )


class Deep(BaseModel):
    """A model whose field is looked for deep inside of what is read, and else by its name."""

    hold_id: str = Field(validation_alias=AliasPath("holds", 0))


class Renamed(BaseModel):
    """The same, where a validator knows the other name."""

    hold_id: str = Field(serialization_alias="holdId")

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, data: Any) -> Any:
        known = isinstance(data, dict) and "holdId" in data
        return {"hold_id": data["holdId"]} if known else data


class Card(BaseModel):
    """A model with a secret."""

    token: SecretStr


class Wallet(BaseModel):
    """A model whose secret lies deep."""

    cards: dict[str, list[Card | None]]


class Bearer(BaseModel):
    """A model that says that its secret is to be written."""

    token: SecretStr

    @field_serializer("token", when_used="json")
    def _written(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Cents(BaseModel):
    """A model whose validator is not idempotent."""

    amount: Annotated[int, BeforeValidator(lambda value: value * 100)]


class Draft(BaseModel):
    """A model that leaves a field out of what is written."""

    id: str
    note: str = Field(default="", exclude=True)


class Hidden(BaseModel):
    """The same, where the field has no default."""

    id: str
    note: str = Field(exclude=True)


class Counter(BaseModel):
    """A model with a private attribute."""

    id: str
    _calls: int = PrivateAttr(default=0)


class Open(BaseModel):
    """A model that takes fields nobody has declared."""

    model_config = ConfigDict(extra="allow")
    id: str


class Image(BaseModel):
    """A model that writes bytes as Base64, and reads them so."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Size(TypedDict):
    """A typed dictionary."""

    width: int
    line: NotRequired[Line]


@dataclasses.dataclass
class Parcel:
    """A dataclass."""

    grams: float
    lines: list[Line]


class Skus(RootModel[list[str]]):
    """A model that is its root."""


def counted(calls: int) -> Counter:
    """A counter whose private attribute was set."""
    made = Counter(id="a")
    made._calls = calls
    return made


def changed(model: BaseModel, **fields: Any) -> BaseModel:
    """A model with fields that were set and never validated."""
    for name, value in fields.items():
        setattr(model, name, value)
    return model


PLAIN = Order(id="a", lines=[Line(sku="s")])
SURVIVES: list[tuple[Any, Any]] = [
    (Order, PLAIN),
    (Order, Order(id="a", at=datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1))),
    (Order, Order(id="a", customerName="Ada", more={"a": [1, None, {"b": 1.5}]})),
    (Order, Order(id="a", lines=[Twin(sku="s")])),
    (list[Order | None], [PLAIN, None]),
    (Least, Least(amount=1)),
    (Tree, Tree(kids=[Tree(), Tree(kids=[Tree()])])),
    (BothWays, BothWays(hold_id="h")),
    (Renamed, Renamed(hold_id="h")),
    (Deep, Deep.model_validate({"holds": ["h"]})),
    (Bearer, Bearer(token=SecretStr("tok_42"))),
    (Draft, Draft(id="a")),
    (Counter, Counter(id="a")),
    (Open, Open.model_validate({"id": "a", "more": [1]})),
    (Image, Image(data=b"\xff")),
    (Size, {"width": 1, "line": Line(sku="s")}),
    (Parcel, Parcel(1.5, [Line(sku="s")])),
    (Skus, Skus(["a"])),
    (Line | Marked, Marked(sku="s")),
    (bytes, b"abc"),
    (dict[int, str], {1: "a", 10**30: "b"}),
    (dict[UUID, str], {UUID(int=1): "a"}),
    (dict[float, str], {1.5: "a", math.inf: "b"}),
    (dict[date, str], {date(2024, 1, 1): "a"}),
    (dict[Word, int], {Word.YES: 1}),
    (set[str], {"gift", "express"}),
    (tuple[int, ...], (1, 2)),
    (int | str | None, "1"),
    (int | float, 1.0),
    (date | datetime, date(2024, 1, 1)),
    (Annotated[int, PlainSerializer(str)], 7),
    (time, time(1, 2, 3, 4)),
    (timedelta, timedelta(days=-1, microseconds=3)),
    (Any, [1, 1.0, True, None, "x", {"a": []}]),
]


@pytest.mark.parametrize("annotation", [Sequence[int], Iterable[int], Iterable[int] | None])
@pytest.mark.parametrize("value", [[1, 2], (1, 2)])
def test_whatever_has_items_arrives_as_a_list(annotation: Any, value: Any) -> None:
    """An annotation that promises items, and no more, takes a tuple and gives a list."""
    codec = Codec(annotation)
    assert codec.load(codec.dump(value, "it", OutputInvalid), "it") == [1, 2]


@pytest.mark.parametrize(("annotation", "value"), SURVIVES)
def test_what_goes_in_comes_out(annotation: Any, value: Any) -> None:
    """A value that is written is read as the same value, in the same types."""
    codec = Codec(annotation)
    text = codec.dump(value, "it", OutputInvalid)
    assert difference(value, codec.load(text, "it")) is None


def shown(part: Any) -> str:
    """Python makes no text of the longest numbers here."""
    return part if isinstance(part, str) and part.isascii() else type(part).__name__


REFUSED: list[tuple[Any, Any, str]] = [
    (Order, Order(id="a", lines=[Marked(sku="s")]), r"its lines\[0\] is of type Marked .*as Line"),
    (Order, Order(id="a", more={"a": (1, 2)}), r"its more\.a is of type tuple .*come back as list"),
    (Order, Order(id="a", more={"a": {1: 2}}), r"its more\.a has a key of type int .*use text"),
    (Order, Order(id="a", more={"a": Decimal(1)}), r"its more\.a is of type Decimal .*as str"),
    (Order, Order.model_construct(lines=[]), r"id: Field required"),  # type: ignore[call-arg]  # on purpose
    (Order, changed(Order(id="a"), id=None), r"id: Input should be a valid string"),
    (Order, changed(Order(id="a"), lines=[None]), r"lines\.0: Input should be"),
    (Order, changed(Order(id="a"), lines=None), r"lines: Input should be a valid"),
    (Parcel, Parcel(math.nan, []), r"its \w+ holds nan; use None"),
    (int | float, math.inf, "it holds inf; use None"),
    (Order, changed(Order(id="a"), kind="c"), r"kind: Input should be 'a' or 'b'"),
    (Order, changed(Order(id="a"), colour="red"), r"its colour should be enum"),
    (
        Order,
        changed(Order(id="a"), day=datetime(2024, 1, 1, 3, tzinfo=UTC)),
        r"its day should be date",
    ),
    (Least, changed(Least(amount=1), amount=-1), r"amount: Input should be greater than 0"),
    (Cents, Cents(amount=1999), r"its amount would come back as another value: its validator"),
    (Draft, Draft(id="a", note="x"), r"its note would come back as its default.*exclude=True"),
    (Counter, counted(3), r"its _calls would be lost.*private"),
    (Open, Open.model_validate({"id": "a", "more": (1,)}), r"its more is of type tuple"),
    (Size, {"width": 1, "line": Marked(sku="s")}, r"its line is of type Marked"),
    (Parcel, Parcel(1.5, [Marked(sku="s")]), r"its lines\[0\] is of type Marked"),
    (bytes, b"\xff", "cannot be written as JSON: it is bytes that are not UTF-8: use .*base64"),
    (dict[str, list[bytes]], {"a": [b"", b"\xff"]}, r"its a\[1\] is bytes that are not UTF-8"),
    (str, "\ud800", r"cannot be written as JSON: it has half of a character .*backslashreplace"),
    (dict[str, list[str]], {"a": ["\udce9"]}, r"its a\[0\] has half of a character"),
    (dict[str, int], {"\udce9": 1}, "it has a key with half of a character"),
    (Any, [{"\udce9": 1}], r"its \[0\] has a key with half of a character"),
    (Order, Order(id="a", more={"\udce9": 1}), "its more has a key with half of a character"),
    (float, math.nan, "it holds nan; use None"),
    (list[Decimal | float], [math.inf], r"its \[0\] holds inf"),
    (datetime, datetime(2024, 10, 27, 2, 30, fold=1), "it would lose its fold.*tzinfo"),  # noqa: DTZ001 -- on purpose
    (list[time], [time(2, 30, fold=1)], r"its \[0\] would lose its fold"),
    (time, time(2, 30, tzinfo=BERLIN), "it would lose its time zone"),
    (deque[int], deque([1, 2], maxlen=2), "it would lose its maxlen: use a list"),
    (dict, {None: 1}, "has a key of type NoneType that would come back as another"),
    (dict[str | None, int], {None: 1}, "has a key of type NoneType"),
    (dict[int | str, int], {1: 1, "1": 2}, "has a key of type int"),
    (Annotated[str, PlainSerializer(lambda value: value + "!")], "a", "come back as another value"),
    (datetime, datetime(1880, 1, 1, tzinfo=BERLIN), "come back as another value"),
    (datetime, datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=30))), "another value"),
    (Decimal | str, "1", "it is of type str and would come back as Decimal"),
    (Any, {None: 1}, "has a key of type NoneType"),
    (Any, (1, 2), "it is of type tuple and would come back as list: annotate it"),
    (Any, {"a"}, "it is of type set and would come back as list"),
    (Any, Decimal("1.10"), "it is of type Decimal and would come back as str"),
    (Any, datetime(2024, 1, 1, tzinfo=UTC), "it is of type datetime and would come back as str"),
    (Any, Line(sku="s"), "it is of type Line and would come back as dict"),
    (Any, Colour.RED, "it is of type Colour and would come back as str"),
    (int, 10**5000, "cannot be read back from JSON"),
    (Any, [10**5000], "cannot be read back from JSON"),
]


@pytest.mark.parametrize(("annotation", "value", "message"), REFUSED, ids=shown)
def test_what_would_come_out_changed_is_refused(annotation: Any, value: Any, message: str) -> None:
    """A value that JSON does not carry whole is refused where it is written, with the field."""
    with pytest.raises(OutputInvalid, match=message):
        Codec(annotation).dump(value, "it", OutputInvalid)


def test_what_an_adopted_task_returns_is_text() -> None:
    """Half of a character could be written, and read by the next task, but not as the result."""
    assert read_carried(write_carried(["\N{GRINNING FACE}"], "it", OutputInvalid)) == ["😀"]
    with pytest.raises(OutputInvalid, match=r"it has half of a character .*backslashreplace"):
        write_carried({"a": "\udce9"}, "it", OutputInvalid)


def test_a_serializer_that_raises_is_refused_in_words() -> None:
    """Whatever a serializer raises, and whatever its text holds, is an error of ours."""

    def broken(_: str) -> str:
        raise LookupError("no caf\udce9")

    with pytest.raises(OutputInvalid, match=r"cannot be written as JSON: .*no caf") as caught:
        Codec(Annotated[str, PlainSerializer(broken)]).dump("a", "it", OutputInvalid)
    str(caught.value).encode()


def test_what_is_said_of_a_value_holds_none_of_it() -> None:
    """An error names fields and types; the value may be a secret."""
    wrong = [
        (Least, changed(Least(amount=1), amount="4242")),
        (Order, changed(Order(id="a"), more={"card": Decimal(4242)})),
        (Annotated[str, PlainSerializer(lambda value: value + "!")], "4242"),
    ]
    for annotation, value in wrong:
        with pytest.raises(OutputInvalid) as caught:
            Codec(annotation).dump(value, "it", OutputInvalid)
        assert "4242" not in str(caught.value)
        assert "4242" not in "".join(traceback.format_exception(caught.value))


SECRETS: list[tuple[Any, str]] = [
    (Card, "its token is a secret"),
    (Wallet, r"its cards\.token is a secret"),
    (SecretBytes, "is a secret"),
    (list[SecretStr | None], "is a secret"),
    (dict[str, Secret[int]], "is a secret"),
]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        *SECRETS,
        (OneWay, "its hold_id is written as 'holdId' and read as 'hold_id'.*alias='holdId'"),
        (list[OneWay | None], "its hold_id is written as 'holdId'"),
        (Hidden, r"its note is left out .*exclude=True"),
        (dict[tuple[int, int], str], "has keys that JSON cannot carry.*list of pairs"),
        (dict[None, int], "has keys that JSON cannot carry"),
    ],
)
def test_types_that_never_come_back_are_refused_when_planned(annotation: Any, message: str) -> None:
    """What cannot survive with any value is a DefinitionError, with the way out."""

    def step(order: annotation) -> None: ...

    step.__annotations__["order"] = annotation
    with pytest.raises(DefinitionError, match=rf"parameter 'order': {message}"):
        Shape.of(step).prepare()


# --- what is proven, and so not read back ------------------------------------------------------


@pytest.mark.parametrize("annotation", [str, int, set[str], int | str | None, dict[int, float]])
def test_plain_types_need_no_look(annotation: Any) -> None:
    """Types without a value that gets lost are proven when they are planned."""
    assert proof_of(Codec(annotation).adapter.core_schema) is always


@pytest.mark.parametrize("annotation", [Order, Parcel, Size, Skus, list[Line], tuple[Line, int]])
def test_plain_models_need_a_glance(annotation: Any) -> None:
    """Models are looked at, since an instance need not be what its class says; not read back."""
    proof = proof_of(Codec(annotation).adapter.core_schema)
    values = [value for kind, value in SURVIVES if kind is annotation][:1]
    assert proof is not None
    assert all(proof(value) for value in values)


leaves: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats()),
    (str, st.text()),
    (bool, st.booleans()),
    (bytes, st.binary()),
    (Decimal, st.decimals()),
    (UUID, st.uuids()),
    (date, st.dates()),
    (datetime, st.datetimes(timezones=st.none() | st.timezones())),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (Colour, st.sampled_from(Colour)),
    (Word, st.sampled_from(Word)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (Line, st.builds(Line, sku=st.text(), quantity=st.integers()) | st.just(Marked(sku="s"))),
    (Cents, st.builds(Cents, amount=st.integers())),
    (Draft, st.builds(Draft, id=st.text(), note=st.text())),
    (Open, st.dictionaries(st.text(), st.integers()).map(lambda more: Open(id="a", **more))),
    (Image, st.builds(Image, data=st.binary())),
    (Parcel, st.builds(Parcel, grams=st.floats(), lines=st.just([]))),
    (Any, st.recursive(st.none() | st.integers() | st.text() | st.decimals(), st.lists)),
]
Typed = tuple[Any, st.SearchStrategy[Any]]


def _larger(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    """Types made of others, with their values."""
    keys = st.sampled_from([each for each in leaves if each[0] not in (Line, Any)])
    pairs = st.tuples(inner, inner)
    return st.one_of(
        inner.map(lambda of: (GenericAlias(list, (of[0],)), st.lists(of[1], max_size=3))),
        inner.map(lambda of: (of[0] | None, st.none() | of[1])),
        inner.map(
            lambda of: (
                GenericAlias(tuple, (of[0], ...)),
                st.lists(of[1], max_size=3).map(tuple),
            )
        ),
        pairs.map(lambda two: (two[0][0] | two[1][0], two[0][1] | two[1][1])),
        pairs.map(
            lambda two: (
                GenericAlias(tuple, (two[0][0], two[1][0])),
                st.tuples(two[0][1], two[1][1]),
            )
        ),
        st.tuples(keys, inner).map(
            lambda two: (
                GenericAlias(dict, (two[0][0], two[1][0])),
                st.just({}) | _one_entry(two[0][1], two[1][1]),
            )
        ),
    )


def _one_entry(
    keys: st.SearchStrategy[Any], values: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    return st.tuples(keys, values).map(_entry)


def _entry(pair: tuple[Any, Any]) -> dict[Any, Any]:
    try:
        return {pair[0]: pair[1]}
    except TypeError:
        return {}  # no key of a dict


# Too slow: the first draw builds the strategies of every type, which takes seconds under load.
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_value_of_any_type_comes_out_or_is_refused(data: st.DataObject) -> None:
    """Types and values of all kinds: what is written is read as the same, proven or compared."""
    annotation, values = data.draw(st.recursive(st.sampled_from(leaves), _larger, max_leaves=4))
    value = data.draw(values)
    try:
        codec = Codec(annotation)
        valid = codec.adapter.validate_python(value)
        text = codec.dump(value, "it", OutputInvalid)
    except (DefinitionError, OutputInvalid, ValueError):
        return
    found = codec.load(text, "it")
    assert difference(valid, found) is None
    assert codec.same(text, codec.dump(found, "it", InputInvalid))


@settings(max_examples=100)
@given(
    line=st.none() | st.builds(Line.model_construct, sku=st.none() | st.text()),
    fields=st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(*(strategy for _, strategy in leaves))
            for name in ("id", "lines", "at", "day", "colour", "price", "kind", "more")
        },
    ),
)
@example(line=None, fields={"price": Decimal("sNaN")})
@example(line=Line.model_construct(sku=""), fields={"price": Decimal("Infinity")})
def test_an_instance_that_nobody_validated_comes_out_or_is_refused(
    line: Any, fields: dict[str, Any]
) -> None:
    """A proof holds for what an instance holds, not for what its class promises."""
    made = Order.model_construct(**{"id": "a", "lines": [line], **fields})
    codec = Codec(Order)
    try:
        text = codec.dump(made, "it", OutputInvalid)
    except OutputInvalid:
        return
    assert difference(made, codec.load(text, "it")) is None
