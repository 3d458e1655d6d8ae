"""Where the values come from that a step is given, and the result of a run.

Owns: the kinds of expressions, and what becomes of one for an element of a map.  Refuses to know:
how they are written in a saga (`authoring`), and how they are evaluated (`store/payloads.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from celeriac.machine.numbering import map_of, numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Frozen(BaseModel):
    """A Pydantic model that cannot change and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; what was worked out of the original is worked out anew for it."""
        made = super().model_copy(update=update, deep=deep)
        for name in vars(made).keys() - type(self).model_fields.keys():
            del vars(made)[name]  # a cached property, of other values
        return made


class FromInput(Frozen):
    """An argument taken from the run's input, or from inside it."""

    input: str = Field(description="name of the saga's parameter")
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside it")


class FromStep(Frozen):
    """An argument taken from an earlier step's result, or from inside it."""

    step: str = Field(description="name of the step in the plan")
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside it")


class FromItem(Frozen):
    """An argument taken from the element of a map that an instance is for, or from inside it."""

    item: str = Field(description="name of the map")
    number: int = Field(default=-1, description="of the element, 0-based; -1: the instance's own")
    of: Expression | None = Field(
        default=None, description="the list, for a task that needs to know how that was written"
    )
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside it")


class FromMap(Frozen):
    """An argument taken from the results of a map, a list in the order of its elements."""

    map: str = Field(description="name of the map")
    each: Expression = Field(description="what one element gives")
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside the list")


class FirstOf(Frozen):
    """An argument taken from the first of several places that has a value, or from inside it.

    A step that was guarded out, or skipped itself, has none; one that returned None has.
    """

    first: tuple[Expression, ...]
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside it")


class Constant(Frozen):
    """An argument written in the saga itself."""

    value: Any = Field(description="any JSON value")


class ListOf(Frozen):
    """A list with other expressions inside."""

    items: tuple[Expression, ...]


class DictOf(Frozen):
    """A mapping with other expressions inside."""

    entries: dict[str, Expression]


class TextOf(Frozen):
    """A text that is put together of constants and of values: texts, numbers, true and false."""

    parts: tuple[Expression, ...]


Expression = (
    FromInput | FromStep | FromItem | FromMap | FirstOf | Constant | ListOf | DictOf | TextOf
)


def with_parts(value: Expression, make: Callable[[Expression], Expression]) -> Expression:
    """An expression with *make* of each that it consists of; one that has no parts is the same."""
    if isinstance(value, DictOf):
        return DictOf(entries={key: make(each) for key, each in value.entries.items()})
    for name, kind in {"first": FirstOf, "items": ListOf, "parts": TextOf}.items():
        if isinstance(value, kind):
            return value.model_copy(update={name: tuple(map(make, getattr(value, name)))})
    return value


def bound(value: Expression, node: str, number: int) -> Expression:
    """An expression of a map's node, as it is for the element *number*."""
    if isinstance(value, FromItem):
        return value.model_copy(update={"number": number}) if value.item == node else value
    if isinstance(value, FromStep):
        if map_of(value.step) != node:
            return value
        return value.model_copy(update={"step": numbered(value.step, number)})
    return with_parts(value, lambda each: bound(each, node, number))
