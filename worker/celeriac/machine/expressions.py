"""Where the value of an argument comes from: the input, a result, or a constant.

Owns: the kinds of expressions in a plan.  Refuses to know: plans, values, and how an expression is
evaluated (`store.payloads`).
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A Pydantic model that cannot change and refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FromInput(Frozen):
    """An argument taken from the run's input, or from inside it."""

    input: str = Field(description="name of the saga's parameter")
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside it")


class FromStep(Frozen):
    """An argument taken from an earlier step's result, or from inside it."""

    step: str = Field(description="name of the step in the plan")
    path: tuple[str | int, ...] = Field(default=(), description="keys to follow inside it")


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


Expression = FromInput | FromStep | FirstOf | Constant | ListOf | DictOf
