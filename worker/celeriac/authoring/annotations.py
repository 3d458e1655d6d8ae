"""What type annotations say: whether a value of one fits another, and what is inside.

Owns: comparing annotations, and the way to a field inside a value's JSON.  Refuses to know: whose
annotations they are.

Comparing is cautious: only what is surely wrong does not fit; a construct not known here does.
Values travel as copies, so containers count as covariant: a `list[Dog]` fits `list[Animal]`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, Union

import typing_extensions
from pydantic import BaseModel, RootModel

from celeriac.errors import DefinitionError

NoneType = type(None)
UNSAID: Any = inspect.Parameter.empty  # the annotation of what has none
Path = tuple[str | int, ...]

_UNIONS = (Union, types.UnionType)
_QUALIFIERS = (
    typing.Annotated,
    typing.Required,
    typing.NotRequired,
    typing.Final,
    typing.ClassVar,
    typing_extensions.ReadOnly,
)
_RENAMED = {typing.NewType: "__supertype__", typing_extensions.TypeAliasType: "__value__"}
_PROMOTIONS = {(int, float), (int, complex), (float, complex)}  # PEP 484, the numeric tower
_AS_THEY_ARE = (str, int, float, bool, NoneType)
_BARE = (list, tuple, dict, set, frozenset, Sequence, Mapping, AbstractSet)


def fits(source: Any, target: Any) -> bool:
    """True unless a value of *source* is surely wrong where *target* is asked for."""
    source, target = plain(source), plain(target)
    if source is Any or target is Any or source == target:
        return True
    if is_union(source):
        return all(fits(each, target) for each in typing.get_args(source))
    if is_union(target):
        return any(fits(source, each) for each in typing.get_args(target))
    literal = Literal in (typing.get_origin(source), typing.get_origin(target))
    return (_literal_fits if literal else _class_fits)(source, target)


def fits_as_json(source: Any, target: Any) -> bool:
    """Like `fits`, where one side sees plain JSON in place of what it is annotated with."""
    return fits(source, target) or fits(as_json(source), as_json(target))


def accepts_none(annotation: Any) -> bool:
    """True if None may be given where *annotation* is asked for."""
    return fits(NoneType, annotation)


def loses_type(source: Any, target: Any) -> bool:
    """True if *target* leaves a type unsaid, so that what *source* puts there stays plain JSON.

    A bare `list` does so for its items.  `Any` is said: whoever writes it asks for plain JSON.
    """
    if target is UNSAID:
        return not _is_plain_json(source)
    source, target = without_none(source), without_none(target)
    if is_union(source):
        return any(loses_type(each, target) for each in typing.get_args(source))
    (_, given), (kind, asked) = _parts(source), _parts(target)
    if kind in _BARE and not asked:
        return not all(each is Ellipsis or _is_plain_json(each) for each in given)
    return len(given) == len(asked) and any(map(loses_type, given, asked))


def without_none(annotation: Any) -> Any:
    """*annotation* without what does not change the kind of value, and what `A | None` adds to A.

    A union of more is `Any`: nothing is known of what is inside.
    """
    annotation = plain(annotation)
    if not is_union(annotation):
        return annotation
    left = [each for each in typing.get_args(annotation) if plain(each) is not NoneType]
    return plain(left[0]) if len(left) == 1 else Any


def _is_plain_json(annotation: Any) -> bool:
    """True if values of *annotation* are the same as JSON that nobody gives a type."""
    annotation = plain(annotation)
    if annotation is Any or annotation in _AS_THEY_ARE:
        return True
    if is_union(annotation):
        return all(map(_is_plain_json, typing.get_args(annotation)))
    if typing.get_origin(annotation) is Literal:
        return {str, int, bool, NoneType}.issuperset(map(type, typing.get_args(annotation)))
    if typing_extensions.is_typeddict(annotation):
        return all(_is_plain_json(each) for _, each in fields_of(annotation).values())
    kind, args = _parts(annotation)
    if kind in (dict, Mapping) and args:
        return plain(args[0]) in (str, Any) and _is_plain_json(args[1])
    return (
        kind in _BARE
        and not issubclass(kind, (tuple, AbstractSet))
        and all(map(_is_plain_json, args))
    )


def as_json(annotation: Any) -> Any:
    """The type of what *annotation* looks like once it was written as JSON."""
    annotation = plain(annotation)
    if is_union(annotation):
        return _union(as_json(each) for each in typing.get_args(annotation))
    origin, args = _parts(annotation)
    if annotation in _AS_THEY_ARE or typing.get_origin(annotation) is Literal:
        return annotation
    if _is_subclass(origin, RootModel):
        return as_json(fields_of(annotation)["root"][1])
    has_fields = bool(fields_of(annotation)) and not _is_named_tuple(annotation)
    if has_fields or _is_subclass(origin, Mapping):
        value = as_json(args[-1]) if args and not has_fields else Any
        return types.GenericAlias(dict, (str, value))
    if _is_subclass(origin, (Sequence, AbstractSet)) and not _is_subclass(origin, (str, bytes)):
        return list
    return Any


def plain(annotation: Any) -> Any:
    """*annotation* without what does not change the kind of value: Annotated, NewType, aliases."""
    if annotation is UNSAID or isinstance(annotation, str | typing.ForwardRef):
        return Any
    if annotation is None:
        return NoneType
    if isinstance(annotation, typing.TypeVar):
        return plain(annotation.__bound__ or Any)
    for kind, meant in _RENAMED.items():
        if isinstance(annotation, kind):
            return plain(getattr(annotation, meant))
    if typing.get_origin(annotation) in _QUALIFIERS:
        return plain(typing.get_args(annotation)[0])
    return annotation


def is_union(annotation: Any) -> bool:
    """True for `A | B` and `Optional[A]`."""
    return typing.get_origin(annotation) in _UNIONS


def described(annotation: Any) -> str:
    """How *annotation* is shown in an error message."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__ if annotation is not NoneType else "None"
    return str(annotation).replace("typing.", "")


def _union(members: Iterable[Any]) -> Any:
    return functools.reduce(operator.or_, members)


# --- comparing ---------------------------------------------------------------------------------


def _literal_fits(source: Any, target: Any) -> bool:
    if typing.get_origin(source) is not Literal:
        return False
    values = typing.get_args(source)
    if typing.get_origin(target) is Literal:
        allowed = [(type(each), each) for each in typing.get_args(target)]
        return all((type(each), each) in allowed for each in values)
    return all(fits(type(each), target) for each in values)


def _class_fits(source: Any, target: Any) -> bool:
    (have, have_args), (want, want_args) = _parts(source), _parts(target)
    if not (isinstance(have, type) and isinstance(want, type)):
        return True  # a construct that is not known here: not ours to judge
    if (have, want) in _PROMOTIONS:
        return True
    if typing_extensions.is_typeddict(want):
        return typing_extensions.is_typeddict(have) or have in (dict, Mapping)
    if not _is_subclass(have, want, unknown=True):
        return False
    return _arguments_fit(have, have_args, want, want_args)


def _arguments_fit(
    have: type, have_args: tuple[Any, ...], want: type, want_args: tuple[Any, ...]
) -> bool:
    if not have_args or not want_args:
        return True
    if have is tuple:
        return _tuple_fits(have_args, want, want_args)
    if len(have_args) != len(want_args):
        return True
    return all(fits(a, b) for a, b in zip(have_args, want_args, strict=True))


def _tuple_fits(have: tuple[Any, ...], want: type, want_args: tuple[Any, ...]) -> bool:
    endless = have[-1] is Ellipsis
    if want is not tuple or want_args[-1] is Ellipsis:
        items = have[:1] if endless else have
        return all(fits(each, want_args[0]) for each in items)
    if endless:
        return True
    return len(have) == len(want_args) and all(
        fits(a, b) for a, b in zip(have, want_args, strict=True)
    )


def _parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The class behind *annotation*, and what stands in its brackets."""
    generic = getattr(annotation, "__pydantic_generic_metadata__", None)
    if generic and generic["origin"]:
        return generic["origin"], generic["args"]
    origin = typing.get_origin(annotation)
    return (annotation, ()) if origin is None else (origin, typing.get_args(annotation))


def _is_subclass(have: Any, want: type | tuple[type, ...], *, unknown: bool = False) -> bool:
    try:
        return isinstance(have, type) and issubclass(have, want)
    except TypeError:  # a Protocol that cannot be asked at run time
        return unknown


# --- looking inside ----------------------------------------------------------------------------


def attribute_of(annotation: Any, name: str) -> tuple[Path, Any]:
    """The path in JSON to attribute *name* of a value, and its annotation.

    Raises DefinitionError if there is no such field, or might be none.
    """
    annotation = plain(annotation)
    if annotation is Any:
        return (name,), Any
    if is_union(annotation):
        return _in_each(annotation, name, attribute_of)
    fields = {} if typing_extensions.is_typeddict(annotation) else fields_of(annotation)
    if name not in fields:
        raise DefinitionError(_no_field(annotation, name, fields))
    return fields[name]


def item_of(annotation: Any, key: Any) -> tuple[Path, Any]:
    """The path in JSON to item *key* of a value, and its annotation; else DefinitionError."""
    annotation = plain(annotation)
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise DefinitionError(
            f"takes a key (text) or an index (a whole number), not {key!r}; pass the whole value "
            "and look inside it in the step"
        )
    if annotation is Any:
        return (key,), Any
    if is_union(annotation):
        return _in_each(annotation, key, item_of)
    if typing_extensions.is_typeddict(annotation):
        return _typed_key(annotation, key)
    origin, args = _parts(annotation)
    if _is_subclass(origin, Mapping):
        return (str(key),), args[1] if len(args) > 1 else Any
    if isinstance(key, int) and _is_subclass(origin, tuple):
        return (key,), _tuple_item(annotation, args, key)
    if isinstance(key, int) and _is_list(origin):
        return (key,), args[0] if args else Any
    raise DefinitionError(
        f"is {described(annotation)} and has no item {key!r}"
        + ("; write .name for a field" if fields_of(annotation) else "")
    )


def element_of(annotation: Any) -> Any:
    """The type of the elements of a list or tuple; DefinitionError for what is neither."""
    annotation = plain(annotation)
    if annotation is Any or annotation is UNSAID:
        return Any
    origin, args = _parts(annotation)
    if origin is list:
        return args[0] if args else Any
    if origin is tuple:
        kinds = tuple(dict.fromkeys(each for each in args if each is not Ellipsis))
        if not kinds:
            return Any
        return kinds[0] if len(kinds) == 1 else typing.Union[kinds]  # noqa: UP007 -- as they are
    raise DefinitionError(
        f"is {described(annotation)}, and a map is over a list or a tuple: make one in a step"
    )


def fields_of(annotation: Any) -> dict[str, tuple[Path, Any]]:
    """The fields of a model, dataclass, TypedDict or named tuple: path in JSON, annotation."""
    kind = _parts(plain(annotation))[0]
    if not isinstance(kind, type):
        return {}
    names = getattr(kind, "_fields", ()) if issubclass(kind, tuple) else ()
    if _is_subclass(kind, RootModel):
        return {"root": ((), annotation.model_fields["root"].annotation)}
    declared = _pydantic_fields(annotation if isinstance(annotation, type) else kind)
    if declared is not None:
        return declared
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return {f.name: ((f.name,), hints.get(f.name, Any)) for f in dataclasses.fields(kind)}
    if typing_extensions.is_typeddict(kind):
        return {key: ((key,), each) for key, each in _typed_keys(kind).items()}
    hints = _hints(kind) if names else {}
    return {name: ((index,), hints.get(name, Any)) for index, name in enumerate(names)}


def _typed_keys(kind: Any) -> dict[str, Any]:
    hints = _hints(kind)
    return hints or dict.fromkeys(sorted(kind.__required_keys__ | kind.__optional_keys__), Any)


def _pydantic_fields(kind: type) -> dict[str, tuple[Path, Any]] | None:
    declared = kind.model_fields if issubclass(kind, BaseModel) else None
    declared = declared or getattr(kind, "__pydantic_fields__", None)
    if declared is None:
        return None
    return {
        name: ((field.serialization_alias or field.alias or name,), field.annotation)
        for name, field in declared.items()
        if not field.exclude
    }


def _in_each(annotation: Any, key: Any, look: Any) -> tuple[Path, Any]:
    members = typing.get_args(annotation)
    if any(plain(each) is NoneType for each in members):
        raise DefinitionError(
            f"may be None ({described(annotation)}), so nothing inside it can be asked for while "
            "planning; pass the whole value and look inside it in the step"
        )
    found = [look(each, key) for each in members]
    if len({path for path, _ in found}) > 1:
        raise DefinitionError(
            f"keeps {key!r} in different places ({described(annotation)}); pass the whole value"
        )
    return found[0][0], _union(each for _, each in found)


def _no_field(annotation: Any, name: str, fields: Mapping[str, Any]) -> str:
    shown = described(annotation)
    if typing_extensions.is_typeddict(annotation) or _is_subclass(_parts(annotation)[0], Mapping):
        return f"is {shown}; write [{name!r}] for a key"
    if not fields:
        return f"is {shown} and has no fields; pass the whole value and use .{name} in the step"
    kind = _parts(annotation)[0]
    if hasattr(kind, name):
        return (
            f"is {shown}, where {name!r} is no field that is written as JSON; while planning "
            f"there are only its fields: {', '.join(fields)}; use .{name} in a step"
        )
    return f"is {shown} and has no field {name!r}; it has {', '.join(fields)}"


def _typed_key(annotation: Any, key: str | int) -> tuple[Path, Any]:
    fields = fields_of(annotation)
    if key not in fields:
        raise DefinitionError(
            f"is {described(annotation)} and has no key {key!r}; it has {', '.join(fields)}"
        )
    return fields[str(key)]


def _tuple_item(annotation: Any, args: tuple[Any, ...], index: int) -> Any:
    if _is_named_tuple(annotation):
        args = tuple(each for _, each in fields_of(annotation).values())
    if not args:
        return Any
    if args[-1] is Ellipsis:
        return args[0]
    if not -len(args) <= index < len(args):
        raise DefinitionError(f"is {described(annotation)} and has no item {index}")
    return args[index]


def _is_list(kind: Any) -> bool:
    return _is_subclass(kind, Sequence) and not _is_subclass(kind, (str, bytes, bytearray))


def _is_named_tuple(kind: Any) -> bool:
    return _is_subclass(kind, tuple) and hasattr(kind, "_fields")


def _hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 -- an annotation is code and may raise anything
        return {}
