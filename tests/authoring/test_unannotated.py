"""Functions that say nothing of their types, and what is read by somebody else in another type.

Owns: which wirings are refused since a value would arrive as plain JSON, and that an undo can read
what it will be given.  Refuses to know: how values are written.
"""

# ruff: noqa: ANN001, ANN002, ANN201, ANN202, ARG001 -- they say nothing on purpose
from __future__ import annotations

from dataclasses import replace
from datetime import timedelta  # noqa: TC003 -- Pydantic reads it
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    RootModel,
    model_serializer,
)
from pydantic.dataclasses import dataclass

from celeriac.authoring import Flow  # noqa: TC001 -- annotations are read when the program runs
from celeriac.errors import DefinitionError, InputInvalid, OutputInvalid
from tests.authoring.test_planning import Hold, Order, plan, reserve, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.authoring import Step


@step()
def pick(order: Order) -> list[Hold]:
    """Take everything from the shelves."""
    return []


@step()
def log(entry, *others, level="info"):  # type: ignore[no-untyped-def]
    """Write down whatever comes."""


def test_a_parameter_that_says_nothing_gets_no_model() -> None:
    """A step that would get a dict in place of a model is refused, with what to write."""
    wirings: list[tuple[Callable[..., Any], str, str]] = [
        (lambda flow, order: flow.step(log, order), "entry", "Order"),
        (lambda flow, order: flow.step(log, flow.step(reserve, order)), "entry", "Hold"),
        (lambda flow, order: flow.step(log, {"a": [order]}), "entry", "Order"),
        (lambda flow, order: flow.step(log, 1, 2, order), r"\*others", "Order"),
        (lambda flow, order: flow.step(log, 1, level=order), "level", "Order"),
        (lambda flow, order: flow.step(log, flow.step(pick, order)), "entry", r"list\[.*Hold\]"),
    ]
    for wire, parameter, shown in wirings:

        def saga(flow: Flow, order: Order) -> None:
            wire(flow, order)  # noqa: B023 -- planned at once

        message = (
            rf"step 'log', parameter '{parameter}': would get plain JSON .*annotate it as {shown}"
        )
        with pytest.raises(DefinitionError, match=message):
            plan(saga)


def test_a_parameter_that_says_nothing_gets_what_is_plain() -> None:
    """Text, numbers and what is the same in JSON need no annotation, and `Any` asks for JSON."""

    @step()
    def keep(everything: Any, items: list[Any]) -> None: ...

    @step()
    def count(order: Order) -> dict[str, list[int | None]]: ...  # type: ignore[empty-body]

    def saga(flow: Flow, order: Order) -> None:
        counted = flow.step(count, order)
        flow.step(log, order.amount, order.id, [order.id], counted, level="high")
        flow.step(keep, order, [order])

    assert len(plan(saga).plan.nodes) == 3


def test_a_saga_that_says_nothing_returns_what_its_step_does() -> None:
    """The result is a model where a step returned one, and plain JSON is refused in its place."""

    def whole(flow: Flow, order: Order):  # type: ignore[no-untyped-def]
        return flow.step(reserve, order)

    def field(flow: Flow, order: Order):  # type: ignore[no-untyped-def]
        return flow.step(pick, order)[0]

    def json(flow: Flow, order: Order) -> Any:
        return flow.step(reserve, order)

    text = '{"hold_id": "h"}'
    assert plan(whole).result(text) == plan(field).result(text) == Hold(hold_id="h")
    assert plan(json).result(text) == {"hold_id": "h"}

    def inside(flow: Flow, order: Order):  # type: ignore[no-untyped-def]
        return {"hold": flow.step(reserve, order), "amount": order.amount}

    with pytest.raises(
        DefinitionError, match=r"its result would get plain JSON .*annotate it as Hold"
    ):
        plan(inside)


def test_a_bare_container_says_nothing_of_its_items() -> None:
    """A `list` of models would arrive as a list of dicts."""

    @step()
    def ship_all(holds: list) -> None: ...  # type: ignore[type-arg]  # that is the point

    def saga(flow: Flow, order: Order) -> None:
        flow.step(ship_all, flow.step(pick, order))

    with pytest.raises(
        DefinitionError, match=r"parameter 'holds': .*annotate it as list\[.*Hold\]"
    ):
        plan(saga)


def test_a_constant_that_would_arrive_changed_is_refused() -> None:
    """What an author writes into a saga comes out as it is, too."""
    for value in (Hold(hold_id="h"), {None: 1}, ("a", "b")):

        def saga(flow: Flow, order: Order) -> None:
            flow.step(log, value)  # noqa: B023 -- planned at once

        with pytest.raises(
            DefinitionError, match=r"parameter 'entry': .*would not survive as JSON"
        ):
            plan(saga)


def test_a_compensation_that_says_nothing_gets_no_model() -> None:
    """A compensation gets what the step got and returned, in the types of the step."""

    def made() -> Step[..., Any, Hold]:
        @step()
        def book(order: Order, note: str) -> Hold: ...  # type: ignore[empty-body]

        return book

    def by_order(order): ...  # type: ignore[no-untyped-def]
    def by_result(result): ...  # type: ignore[no-untyped-def]
    def by_error(error): ...  # type: ignore[no-untyped-def]
    def by_note(note): ...  # type: ignore[no-untyped-def]

    for undo, parameter, shown in (
        (by_order, "order", "Order"),
        (by_result, "result", r"Hold \| None"),
        (by_error, "error", r"Failure \| None"),
    ):
        message = rf"parameter '{parameter}': would be plain JSON .*annotate it as {shown}"
        with pytest.raises(DefinitionError, match=message):
            made().compensation(undo)
    made().compensation(by_note)


def test_what_an_undo_cannot_read_is_refused_before_it_is_owed() -> None:
    """What a compensation reads in a narrower type is read so before it can be needed."""

    @step()
    def book(order: Any) -> Any: ...

    @book.compensation
    def unbook(order: Order, result: Hold | None) -> None: ...

    shape = book.shape
    assert shape.dump({"hold_id": "h"}) == '{"hold_id":"h"}'
    with pytest.raises(
        OutputInvalid, match=r"book could not be undone: argument 'result' of unbook"
    ):
        shape.dump({"number": 7})
    assert shape.load("order", '{"id":"a","amount":1}') == {"id": "a", "amount": 1}
    with pytest.raises(InputInvalid, match=r"book could not be undone: argument 'order' of unbook"):
        shape.load("order", '{"id":"a"}')


def test_an_undo_may_read_a_narrower_kind_of_the_same() -> None:
    """A constraint, or a union where the step has `Any`, is looked at as well."""

    @step()
    def weigh(grams: int) -> Any: ...

    @weigh.compensation
    def unload(grams: Annotated[int, Field(gt=0)], result: Hold | Order | None) -> None: ...

    with pytest.raises(InputInvalid, match=r"weigh could not be undone: .*greater than 0"):
        weigh.shape.load("grams", "0")
    with pytest.raises(OutputInvalid, match="weigh could not be undone: argument 'result'"):
        weigh.shape.dump({"number": 7})
    assert weigh.shape.load("grams", "1") == 1
    assert weigh.shape.dump({"hold_id": "h"}) == '{"hold_id":"h"}'


class Priced(BaseModel):
    """A model that writes cents as whole euros, and reads them so."""

    cents: Annotated[
        int,
        BeforeValidator(lambda value: value if value > 99 else value * 100),
        PlainSerializer(lambda value: value // 100),
    ]
    note: Annotated[str, AfterValidator(str.strip)] = ""
    site: AnyUrl | None = None


class Wrapped(BaseModel):
    """A model that decides as a whole how it is written."""

    cents: int

    @model_serializer
    def _written(self) -> dict[str, int]:
        return {"cents": self.cents // 100}


def test_what_a_serializer_writes_is_read_as_a_whole_only() -> None:
    """A field that is written in another form would arrive in that form: 20 for 2000."""

    @step()
    def pay(cents: int) -> None: ...

    @step()
    def tell(note: str, site: AnyUrl | None) -> None: ...

    def one(flow: Flow, order: Priced) -> None:
        flow.step(pay, order.cents)

    def other(flow: Flow, order: Wrapped) -> None:
        flow.step(pay, order.cents)

    def fine(flow: Flow, order: Priced) -> None:
        flow.step(tell, order.note, order.site)

    for saga in (one, other):
        with pytest.raises(
            DefinitionError,
            match=r"serializer decides how 'cents' is written; pass the whole value",
        ):
            plan(saga)
    plan(fine)


class Packed(BaseModel, ser_json_bytes="base64", val_json_bytes="base64"):
    """Its bytes are written as base64, and those of nobody else."""

    seal: bytes = b""
    seals: list[bytes] = []
    note: str = ""


class Sealed(RootModel[bytes]):
    """The same, without a name."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


@dataclass(config=ConfigDict(ser_json_timedelta="float"))
class Waiting:
    """Its time is written in seconds."""

    time: timedelta
    note: str = ""


class Told(BaseModel):
    """A list that is written as text."""

    numbers: Json[list[int]]


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Packed, "seal"),
        (Packed, "seals"),
        (Packed | Waiting, "note"),
        (Sealed, "root"),
        (Waiting, "time"),
        (Told, "numbers"),
    ],
)
def test_a_part_in_a_form_of_its_own_is_read_as_a_whole_only(annotation: Any, name: str) -> None:
    """Base64 is no bytes of another step, and the text of a list is no list."""

    @step()
    def take(value: Any) -> None: ...

    def saga(flow: Flow, value: Any) -> None:
        flow.step(take, getattr(value, name))

    saga.__annotations__["value"] = annotation
    if name == "note":
        plan(saga)
        return
    with pytest.raises(DefinitionError, match=rf"decides how '{name}' is written; pass the whole"):
        plan(saga)


class Base(BaseModel):
    """What a step asks for."""

    name: str
    seal: bytes = b""


class Closed(BaseModel, extra="forbid"):
    """What a step asks for, and no more."""

    name: str


class Renamed(Base):
    """Written under another name."""

    name: str = Field(alias="NAME")


class Encoded(Base, ser_json_bytes="base64", val_json_bytes="base64"):
    """Written in another form."""


class Longer(Closed):
    """With one field more."""

    age: int = 0


class Older(Base):
    """With one field more, where that does no harm."""

    age: int = 0


@pytest.mark.parametrize(
    ("given", "asked", "message"),
    [
        (Renamed, Base, "Renamed, which writes 'name' under another name; annotate it as Renamed"),
        (list[Encoded], list[Base], "Encoded, which writes 'seal' in another form"),
        (Longer | None, Closed | None, "Longer, whose field 'age' Closed forbids"),
        (Older, Base, None),
        (Base, Base, None),
    ],
)
def test_a_base_class_reads_what_a_model_writes(
    given: Any, asked: Any, message: str | None
) -> None:
    """A model in place of its base class is refused at import if it is written otherwise."""

    @step()
    def take(value: Any) -> None: ...

    take.shape.parameters["value"] = replace(
        take.shape.parameters["value"], annotation=asked, said=asked
    )

    def saga(flow: Flow, value: Any) -> None:
        flow.step(take, value)

    saga.__annotations__["value"] = given
    if message is None:
        plan(saga)
        return
    with pytest.raises(DefinitionError, match=message):
        plan(saga)
