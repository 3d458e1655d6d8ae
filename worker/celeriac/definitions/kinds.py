"""The types that variables of a file may have: `string`, `list[integer]`, `date`.

Owns: their names.  Refuses to know: variables.  They are the words of JSON's schema, and those that
a text in JSON cannot say by itself.
"""

from __future__ import annotations

import re
import types
import typing
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

KINDS: dict[str, Any] = {
    "any": Any,
    "string": str,
    "integer": int,
    "number": float,
    "decimal": Decimal,
    "boolean": bool,
    "date": date,
    "datetime": datetime,
    "time": time,
    "list": list,
    "object": dict[str, Any],
}
_DEEPEST = 10  # lists of lists
_LIST = re.compile(r"list\[(.+)\]\Z")


def kind_named(name: str) -> Any:
    """The type of this name; KeyError if there is none."""
    inner = _LIST.match(name)
    if inner and name.count("[") > _DEEPEST:
        raise KeyError(name)
    return types.GenericAlias(list, (kind_named(inner[1]),)) if inner else KINDS[name]


def planned_kind(annotation: Any) -> Any:
    """The type that a variable has for the steps: an object may be any model of theirs."""
    if annotation == KINDS["object"]:
        return Any
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is list and args:
        return types.GenericAlias(list, (planned_kind(args[0]),))
    return annotation


def kind_of(value: Any) -> Any:
    """The type of a variable whose default is *value*, a value of JSON."""
    if isinstance(value, bool):
        return bool
    for kind in (str, int, float, list):
        if isinstance(value, kind):
            return kind
    return dict[str, Any] if isinstance(value, dict) else Any


def name_of(annotation: Any) -> str:
    """The name of the type that is nearest to an annotation of Python."""
    for name, kind in KINDS.items():
        if annotation == kind:
            return name
    args = getattr(annotation, "__args__", ())
    if getattr(annotation, "__origin__", None) is list and args:
        return f"list[{name_of(args[0])}]"
    return "any"
