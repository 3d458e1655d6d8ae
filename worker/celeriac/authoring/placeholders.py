"""What stands for a value while a saga is planned, and the expressions it becomes.

Owns: `Placeholder`, which gives fields and refuses everything that needs a real value, and turning
what an author wrote into an `Expression`.  Refuses to know: flows and steps; a placeholder only
remembers by identity to whom it belongs.

A placeholder has no public attribute, so that a field may have any name; the functions of this
module look inside.
"""

from __future__ import annotations

import json
import reprlib
import typing
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NoReturn

from celeriac.authoring.annotations import (
    UNSAID,
    Path,
    attribute_of,
    described,
    fields_of,
    fits,
    fits_as_json,
    is_union,
    item_of,
    loses_type,
    plain,
    without_none,
)
from celeriac.authoring.celery_values import write_carried
from celeriac.authoring.codecs import ANYTHING, Codec
from celeriac.authoring.compatibility import check_part, check_reader
from celeriac.errors import DefinitionError, InputInvalid
from celeriac.machine import (
    Constant,
    DictOf,
    Expression,
    FirstOf,
    FromInput,
    FromItem,
    FromMap,
    FromStep,
    ListOf,
    TextOf,
)

Source = FromInput | FromStep | FromItem | FromMap | FirstOf | TextOf


class Placeholder:
    """Stands for a value that is not there yet: pass it on, or name a field of it.

    `order.amount`, `order.lines[0].sku`: fields and items, as deep as needed.  Everything that
    needs the value itself raises DefinitionError and says what to write instead.
    """

    __slots__ = ("_annotation", "_json", "_owner", "_source")

    def __init__(self, source: Source, annotation: Any, owner: object, *, as_json: bool) -> None:
        for slot, value in zip(self.__slots__, (annotation, as_json, owner, source), strict=True):
            object.__setattr__(self, slot, value)

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # copy, inspect and the like try their luck
        return _inside(self, name, attribute_of)

    def __getitem__(self, key: Any) -> Placeholder:
        return _inside(self, key, item_of)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        _refuse(self, f".{name} cannot be set", "return a changed copy from a step")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        _refuse(self, f"[{key!r}] cannot be set", "return a changed copy from a step")

    def __repr__(self) -> str:
        source = object.__getattribute__(self, "_source")
        path = () if isinstance(source, TextOf) else source.path
        return f"<{_what(source)}{_path_text(path)}>"


def _what(source: Source) -> str:
    if isinstance(source, TextOf):
        return "text"
    if isinstance(source, FirstOf):
        return f"first of {', '.join(dict.fromkeys(steps_used(source)))}"
    if isinstance(source, FromStep):
        return f"result of {source.step}"
    if isinstance(source, FromMap):
        return f"results of {source.map}"
    if isinstance(source, FromItem):
        return f"element of {source.item}"
    return f"input {source.input}"


_IN_A_STEP = "a saga is planned once, before there are values; do this inside a step"
_NO_TEXT = (
    "is not text yet (f-string, str(), format())",
    "pass the value itself to a step, and make the text there",
)

# What needs the value itself: the method's name, what was tried, and what to write instead.
_REFUSED = {
    "eq": ("cannot be compared (==)", _IN_A_STEP),
    "ne": ("cannot be compared (!=)", _IN_A_STEP),
    "lt": ("cannot be compared (<)", _IN_A_STEP),
    "le": ("cannot be compared (<=)", _IN_A_STEP),
    "gt": ("cannot be compared (>)", _IN_A_STEP),
    "ge": ("cannot be compared (>=)", _IN_A_STEP),
    "bool": (
        "has no truth value yet (if, and, or, not)",
        "write `with flow.when(predicate, value):`, with a function that returns bool",
    ),
    "hash": (
        "cannot be a key of a mapping or an element of a set",
        "use it as a value, in a list or under a key of text",
    ),
    "str": _NO_TEXT,
    "format": _NO_TEXT,
    "iter": (
        "cannot be iterated or unpacked, its length is not known yet",
        "name its items one by one (value[0]), or pass the whole value and loop inside a step",
    ),
    "len": ("has no length yet", "pass the whole value and count inside a step"),
    "contains": ("cannot be searched (in)", _IN_A_STEP),
    "call": (
        "cannot be called",
        "it stands for a value that has fields but no methods yet; call the method in a step",
    ),
}
_ARITHMETIC = {
    "add": "+", "sub": "-", "mul": "*", "matmul": "@", "truediv": "/", "floordiv": "//",
    "mod": "%", "divmod": "divmod()", "pow": "**", "lshift": "<<", "rshift": ">>",
    "and": "&", "xor": "^", "or": "|",
}  # fmt: skip
_NUMBERS = {
    "neg": "-", "pos": "+", "abs": "abs()", "invert": "~", "round": "round()", "trunc": "trunc()",
    "floor": "floor()", "ceil": "ceil()", "int": "int()", "float": "float()",
    "complex": "complex()", "index": "an index or a range", "bytes": "bytes()",
    "reversed": "reversed()", "await": "await", "delitem": "del",
}  # fmt: skip


def _refuse(placeholder: Placeholder, problem: str, instead: str) -> NoReturn:
    raise DefinitionError(f"{placeholder!r} {problem}: {instead}")


def _refusing(problem: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(self: Placeholder, *others: object, **more: object) -> NoReturn:
        del others, more
        _refuse(self, problem, instead)

    return refuse


def _equip() -> None:
    for name, (problem, instead) in _REFUSED.items():
        setattr(Placeholder, f"__{name}__", _refusing(problem, instead))
    for name, symbol in {**_ARITHMETIC, **_NUMBERS}.items():
        refuse = _refusing(f"cannot be used with {symbol}", _IN_A_STEP)
        setattr(Placeholder, f"__{name}__", refuse)
        if name in _ARITHMETIC:
            setattr(Placeholder, f"__r{name}__", refuse)


_equip()


# --- looking inside ----------------------------------------------------------------------------


def owner_of(placeholder: Placeholder) -> object:
    """The flow for which the placeholder was made."""
    owner: object = object.__getattribute__(placeholder, "_owner")
    return owner


def source_of(placeholder: Placeholder) -> Source:
    """The expression that the placeholder stands for."""
    source: Source = object.__getattribute__(placeholder, "_source")
    return source


def annotation_of(placeholder: Placeholder) -> Any:
    """The type of the value it stands for; `Any` if nothing is known."""
    return object.__getattribute__(placeholder, "_annotation")


def is_json(placeholder: Placeholder) -> bool:
    """True if the value comes from a task that returns plain JSON, whatever its annotation."""
    found: bool = object.__getattribute__(placeholder, "_json")
    return found


def _inside(placeholder: Placeholder, key: Any, look: Any) -> Placeholder:
    if isinstance(key, Placeholder):
        _refuse(key, "cannot be an index or a key of another one", _IN_A_STEP)
    try:
        path, annotation = look(annotation_of(placeholder), key)
        if isinstance(key, str):
            check_part(annotation_of(placeholder), key, annotation)
    except DefinitionError as error:
        raise DefinitionError(f"{placeholder!r} {error.problem}") from None
    source = source_of(placeholder)
    assert not isinstance(source, TextOf)  # a text has no parts: it was refused
    deeper = source.model_copy(update={"path": (*source.path, *path)})
    return Placeholder(deeper, annotation, owner_of(placeholder), as_json=is_json(placeholder))


def steps_used(expression: Expression) -> Iterator[str]:
    """The steps whose results an expression needs."""
    if isinstance(expression, FromStep):
        yield expression.step
    elif isinstance(expression, FromMap):
        yield expression.map
    elif isinstance(expression, FirstOf):
        for each in expression.first:
            yield from steps_used(each)
    elif isinstance(expression, ListOf | TextOf):
        for each in parts_of(expression):
            yield from steps_used(each)
    elif isinstance(expression, DictOf):
        for each in expression.entries.values():
            yield from steps_used(each)


def parts_of(expression: ListOf | TextOf) -> tuple[Expression, ...]:
    """What a list or a text is made of."""
    return expression.items if isinstance(expression, ListOf) else expression.parts


def _path_text(path: Path) -> str:
    return "".join(f".{key}" if isinstance(key, str) else f"[{key}]" for key in path)


# --- expressions -------------------------------------------------------------------------------


def express(value: Any, annotation: Any, owner: object, *, as_json: bool) -> Expression:
    """Return *value*, as an author wrote it for something of type *annotation*, as an expression.

    A placeholder, a constant, or a list, tuple or mapping with placeholders somewhere inside.
    *annotation* is `UNSAID` if the author gave none.  *as_json*: whoever gets it takes plain JSON,
    whatever the annotation.  Raises DefinitionError.
    """
    if isinstance(value, Placeholder):
        return _refer(value, annotation, owner, as_json=as_json)
    if not _holds_placeholder(value):
        return _constant(value, annotation, as_json=as_json)
    if isinstance(value, Mapping):
        return _express_mapping(value, annotation, owner, as_json=as_json)
    if not any(fits(kind, annotation) for kind in (list, tuple, set, frozenset)):
        raise DefinitionError(f"should be {described(annotation)}, not a list")
    return ListOf(
        items=tuple(
            express(each, element_type(annotation, index), owner, as_json=as_json)
            for index, each in enumerate(value)
        )
    )


def _refer(value: Placeholder, annotation: Any, owner: object, *, as_json: bool) -> Expression:
    if owner_of(value) is not owner:
        raise DefinitionError(
            f"{value!r} belongs to another saga; each saga has its own flow and its own values"
        )
    compare = fits_as_json if as_json or is_json(value) else fits
    if not compare(annotation_of(value), annotation):
        raise DefinitionError(
            f"should be {described(annotation)}, and {value!r} is {described(annotation_of(value))}"
        )
    if not (as_json or is_json(value)):
        check_reader(annotation_of(value), annotation, repr(value))
    if not (as_json or is_json(value)) and loses_type(annotation_of(value), annotation):
        shown = described(annotation_of(value))
        raise DefinitionError(
            f"would get plain JSON in place of {shown}, since no annotation says what it is "
            f"({value!r}): annotate it as {shown}"
        )
    return source_of(value)


def _holds_placeholder(value: Any) -> bool:
    if isinstance(value, Placeholder):
        return True
    if isinstance(value, Mapping):
        return any(_holds_placeholder(each) for each in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_placeholder(each) for each in value)
    return False


def _constant(value: Any, annotation: Any, *, as_json: bool) -> Constant:
    if as_json and not fits_as_json(_type_of(value), annotation):
        raise DefinitionError(f"should be {described(annotation)}, not {reprlib.repr(value)}")
    what = reprlib.repr(value)
    codec = ANYTHING if as_json or plain(annotation) is Any else Codec(annotation)
    adapter = codec.adapter
    try:
        if as_json:  # with types that JSON alone does not tell
            data = json.loads(write_carried(value, what, InputInvalid))
            return Constant(value=_in_order(value, data))
        asked_for_json = annotation is not UNSAID and codec is ANYTHING
        given = _with_lists(value) if asked_for_json else value
        text = codec.dump(given, what, InputInvalid)
    except InputInvalid as error:
        raise DefinitionError(str(error)) from None
    written = adapter.dump_python(adapter.validate_python(value), round_trip=True, warnings=False)
    return Constant(value=_in_order(written, json.loads(text)))


def _with_lists(value: Any) -> Any:
    """*value* with lists in place of tuples and sets: `Any` asks for it as JSON has it."""
    if isinstance(value, dict):
        return {key: _with_lists(each) for key, each in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [_with_lists(each) for each in value]
    return value


def _in_order(value: Any, data: Any) -> Any:
    """*data*, the JSON of *value*, with the elements of sets sorted.

    The order of a set is another in each process, and a plan has to be the same in all.
    """
    if isinstance(value, AbstractSet) and isinstance(data, list):
        return sorted(data, key=json.dumps)
    if isinstance(value, list | tuple) and isinstance(data, list):
        return [_in_order(a, b) for a, b in zip(value, data, strict=True)]
    if isinstance(value, dict) and isinstance(data, dict) and len(value) == len(data):
        pairs = zip(value.values(), data.items(), strict=True)
        return {key: _in_order(each, item) for each, (key, item) in pairs}
    return data


def _type_of(value: Any) -> Any:
    return Literal[value] if isinstance(value, str | int) else type(value)


def _express_mapping(
    value: Mapping[Any, Any], annotation: Any, owner: object, *, as_json: bool
) -> Expression:
    wrong = next((key for key in value if not isinstance(key, str)), None)
    if wrong is not None:
        raise DefinitionError(f"keys of a mapping with placeholders are text, not {wrong!r}")
    if not (fits(dict, annotation) or fields_of(annotation) or is_union(plain(annotation))):
        raise DefinitionError(f"should be {described(annotation)}, not a mapping")
    return DictOf(
        entries={
            key: express(each, entry_type(annotation, key), owner, as_json=as_json)
            for key, each in value.items()
        }
    )


def element_type(annotation: Any, index: int) -> Any:
    """The type of an element of a list."""
    if annotation is UNSAID:
        return UNSAID
    annotation = without_none(annotation)
    args = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, AbstractSet) and args:
        return args[0]
    try:
        return item_of(annotation, index)[1]
    except DefinitionError:
        return Any


def entry_type(annotation: Any, key: str) -> Any:
    """The type of what stands in a mapping under a key."""
    if annotation is UNSAID:
        return UNSAID
    annotation = without_none(annotation)
    for name, (path, each) in fields_of(annotation).items():
        if key in (name, *path):
            return each
    try:
        return item_of(annotation, key)[1]
    except DefinitionError:
        return Any
