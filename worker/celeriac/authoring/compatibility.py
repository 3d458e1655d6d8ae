"""Whether what is written as a value of one type can be read as another, or in parts.

Owns: refusing, while a saga is planned, a part whose form only its model knows, and a reader that
is no more than a base class of the writer and reads another form.  Refuses to know: values.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from celeriac.authoring.annotations import described, fields_of, is_union, plain, without_none
from celeriac.authoring.codecs import adapter_for
from celeriac.authoring.unreadable_types import serializes
from celeriac.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_part(annotation: Any, name: str, part: Any) -> None:
    """Raise DefinitionError if *part*, which is `.name` of a value, is written in another form.

    That is: only inside its model, it is read as it was.
    """
    for each in typing.get_args(annotation) if is_union(plain(annotation)) else (annotation,):
        if _serializes(each, name) and not _serializes(part):
            raise DefinitionError(
                f"is {described(annotation)}, where a serializer decides how {name!r} is written; "
                f"pass the whole value and use .{name} in the step (Json, and settings of a model "
                "such as ser_json_bytes, are serializers too)"
            )


def check_reader(source: Any, target: Any, what: str) -> None:
    """Raise DefinitionError if *target* has a base class that cannot read what *source* writes.

    *what* is the value, for the message.
    """
    for have, want in _pairs(source, target):
        if problem := _problem(have, want):
            raise DefinitionError(
                f"should be {described(want)}, and {what} is {described(have)}, {problem}; "
                f"annotate it as {described(have)}"
            )


def _pairs(source: Any, target: Any) -> Iterator[tuple[type[BaseModel], type[BaseModel]]]:
    """The models in *source*, each with the base class that *target* has in its place."""
    source, target = without_none(source), without_none(target)
    if isinstance(source, type) and isinstance(target, type):
        is_base = source is not target and issubclass(source, target)
        if is_base and issubclass(source, BaseModel) and issubclass(target, BaseModel):
            yield source, target
        return
    given, asked = typing.get_args(source), typing.get_args(target)
    if len(given) == len(asked):
        for one, other in zip(given, asked, strict=True):
            yield from _pairs(one, other)


def _problem(have: type[BaseModel], want: type[BaseModel]) -> str | None:
    written, read = fields_of(have), fields_of(want)
    for name, (path, _) in read.items():
        if name not in written:
            continue  # left out of what is written, so it has a default
        if path != written[name][0]:
            return f"which writes {name!r} under another name"
        if _serializes(have, name) != _serializes(want, name):
            return f"which writes {name!r} in another form"
    more = [name for name in written if name not in read]
    if more and want.model_config.get("extra") == "forbid":
        return f"whose field {more[0]!r} {described(want)} forbids"
    return None


def _serializes(annotation: Any, field: str | None = None) -> bool:
    try:
        return serializes(adapter_for(annotation).core_schema, field)
    except (DefinitionError, PydanticUserError):
        return False  # a type that nobody describes, or a class that is defined further down
