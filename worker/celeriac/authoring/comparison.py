"""Whether a value that came back from JSON is the one that went in, and if not, where it differs.

Owns: comparing the two.  Refuses to know: how they were written and read.

Equal is what Python calls equal, of the same class or of one that it stands for (a text that is
also an enum's member comes back as the text).  Models and dataclasses are compared by what they
hold.  What is said of a difference names fields and classes, never values: these may be secrets.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Difference(NamedTuple):
    """Where a value came back changed, and how."""

    path: str  # fields and indexes; empty for the value itself
    problem: str


def difference(before: Any, after: Any, path: str = "") -> Difference | None:
    """Return the first place where *after*, which came back, is not *before*; None if equal."""
    if before is after:
        return None
    kind = type(after)
    if type(before) is not kind and not _stands_for(before, after):
        return Difference(path, _of_classes(type(before), kind))
    for shape, compare in _BY_SHAPE:
        if isinstance(after, shape):
            return compare(before, after, path)
    if dataclasses.is_dataclass(after):
        return _of_dataclasses(before, after, path)
    return None if _equal(before, after) else Difference(path, _CHANGED)


_CHANGED = (
    "would come back as another value: its validator and its serializer have to undo each other"
)
_EXCLUDED = (
    "would come back as its default, since it is left out of what is written (exclude=True): "
    "leave it at its default, or do not exclude it"
)
_PRIVATE = "would be lost, since JSON holds no private attributes: make it a field"
_ZONE = "would lose its time zone, which has no offset without a date: pass a datetime"
_FOLD = (
    "would lose its fold, which says which of two hours it is when a clock goes back: give it a "
    "time zone (tzinfo)"
)
_KEYS = (
    "that would come back as another, since keys are text in JSON: use text, annotate the keys "
    "with their type, or use a list of pairs"
)


def _of_classes(before: type, after: type) -> str:
    return (
        f"is of type {before.__name__} and would come back as {after.__name__}: annotate it with "
        "its type, or pass what its annotation says"
    )


def _stands_for(before: Any, after: Any) -> bool:
    kind: Any = type(after)
    if not isinstance(before, kind):
        return False
    if issubclass(kind, BaseModel):
        same: bool = type(before).model_fields.keys() == kind.model_fields.keys()
        return same
    if dataclasses.is_dataclass(before):
        return _names(before) == _names(after)
    # A point in time that is also a date is more than that.
    return not (isinstance(before, dt.datetime) and type(after) is dt.date)


def _equal(before: Any, after: Any) -> bool:
    if not _can_be_compared(type(after)):
        # Nothing says what is equal: that it holds the same has to do.
        here, there = getattr(before, "__dict__", None), getattr(after, "__dict__", None)
        return here is not None and there is not None and difference(here, there) is None
    try:
        return bool(before == after) or (before != before and after != after)  # noqa: PLR0124 -- NaN
    except Exception:  # noqa: BLE001 -- a comparison of theirs
        return False


def _can_be_compared(kind: Any) -> bool:
    return kind.__eq__ is not object.__eq__


def _of_models(before: BaseModel, after: BaseModel, path: str) -> Difference | None:
    for name, field in type(after).model_fields.items():
        found = _in_place(before.__dict__, after.__dict__, name, path)
        if found:
            left_out = field.exclude or field.exclude_if
            return Difference(below(path, name), _EXCLUDED) if left_out else found
    extra, others = before.__pydantic_extra__ or {}, after.__pydantic_extra__ or {}
    if extra.keys() != others.keys():
        return Difference(path, _CHANGED)
    for name in extra:
        if found := _in_place(extra, others, name, path):
            return found
    here, there = before.__pydantic_private__ or {}, after.__pydantic_private__ or {}
    lost = next((name for name in here if _in_place(here, there, name, path)), None)
    return Difference(below(path, lost), _PRIVATE) if lost else None


def _of_dataclasses(before: Any, after: Any, path: str) -> Difference | None:
    names = _names(after)
    here, there = _held(before, names), _held(after, names)
    found = (_in_place(here, there, name, path) for name in names)
    return next((each for each in found if each), None)


def _names(value: Any) -> tuple[str, ...]:
    return tuple(each.name for each in dataclasses.fields(value))


def _held(value: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _in_place(
    before: Mapping[str, Any], after: Mapping[str, Any], name: str, path: str
) -> Difference | None:
    """The first difference under *name*, where one of the two may have nothing."""
    here = below(path, name)
    if name in before and name in after:
        return difference(before[name], after[name], here)
    return Difference(here, _CHANGED) if name in before or name in after else None


def _of_dicts(before: Any, after: Any, path: str) -> Difference | None:
    for key, value in before.items():
        if key not in after:
            return Difference(path, f"has a key of type {type(key).__name__} {_KEYS}")
        if found := difference(value, after[key], below(path, key)):
            return found
    return None if len(before) == len(after) else Difference(path, _CHANGED)


def _of_lists(before: Any, after: Any, path: str) -> Difference | None:
    if len(before) != len(after):
        return Difference(path, _CHANGED)
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        if found := difference(one, other, below(path, index)):
            return found
    return None


def _of_deques(before: Any, after: Any, path: str) -> Difference | None:
    if before.maxlen != after.maxlen:
        return Difference(path, "would lose its maxlen: use a list, and limit it where it is used")
    return _of_lists(before, after, path)


def _of_times(before: Any, after: Any, path: str) -> Difference | None:
    if (before.tzinfo is None) != (after.tzinfo is None):
        return Difference(path, _ZONE)
    if before.tzinfo is None and before.fold != after.fold:
        return Difference(path, _FOLD)
    if _equal(before, after):
        return None
    # Python calls no two zones equal in the hour that a clock passes twice.
    here, there = (each.replace(tzinfo=None, fold=0) for each in (before, after))
    same = here == there and before.utcoffset() == after.utcoffset()
    return None if same else Difference(path, _CHANGED)


_BY_SHAPE: tuple[tuple[Any, Callable[[Any, Any, str], Difference | None]], ...] = (
    (BaseModel, _of_models),
    (dict, _of_dicts),
    (deque, _of_deques),
    ((list, tuple), _of_lists),
    ((dt.datetime, dt.time), _of_times),
)


def below(path: str, key: Any) -> str:
    """Return the path to what is under *key* in the value at *path*."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    # A key of a mapping may be anything, also a secret; a field's name is none.
    return f"{path}.{key}".lstrip(".") if isinstance(key, str) and key.isidentifier() else path
