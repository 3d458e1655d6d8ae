"""What a step is given in a file, as authoring takes it: constants and placeholders.

Owns: putting values into a tree that was parsed before, so that no value can become anything but a
value; texts with values inside; `$either`.  Refuses to know: where the values come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from celeriac.authoring import (
    Placeholder,
    annotation_of,
    element_type,
    entry_type,
    express,
    fields_of,
    is_json,
    plain,
    source_of,
)
from celeriac.definitions.scalars import read_scalar
from celeriac.definitions.templates import Reference, parts_of, read_path, written
from celeriac.definitions.trees import Listed, Mapped, Scalar
from celeriac.errors import DefinitionError
from celeriac.machine import TextOf

if TYPE_CHECKING:
    from celeriac.authoring import Mapper
    from celeriac.definitions.problems import Mark, Problems
    from celeriac.definitions.trees import Tree

#: The key of a mapping that stands for the first of several values that exists.
EITHER = "$either"
_AT = "$at"


class Sources(Protocol):
    """Where values come from."""

    def value(self, reference: Reference, mark: Mark) -> Placeholder | None:
        """What a reference stands for; None if there is no such thing, which was told."""


class Values:
    """Makes values of trees, for one plan in the making."""

    def __init__(self, builder: Mapper, problems: Problems, anything: Placeholder) -> None:
        """*anything* stands for what is wrong, so that the rest can be looked at."""
        self._builder, self._problems, self.anything = builder, problems, anything

    def of(self, tree: Tree, annotation: Any, sources: Sources) -> Any:
        """The value of a tree for what has this type."""
        try:
            if isinstance(tree, Scalar):
                return self._text(tree, annotation, sources)
            if isinstance(tree, Listed):
                return [
                    self.of(each, element_type(annotation, index), sources)
                    for index, each in enumerate(tree.items)
                ]
            if EITHER in tree.entries:
                return self._either(tree, annotation, sources)
            return {
                key: self.of(each, entry_type(annotation, key), sources)
                for key, each in plain_keys(tree, self._problems).items()
            }
        except (DefinitionError, ValueError) as error:
            self._problems.add(tree.mark, getattr(error, "problem", str(error)))
            return self.anything

    def _text(self, scalar: Scalar, annotation: Any, sources: Sources) -> Any:
        parts = parts_of(scalar.text)
        if not any(isinstance(each, Reference) for each in parts):
            said = Scalar(scalar.mark, parts[0] if parts else "", scalar.plain)  # type: ignore[arg-type]
            return read_scalar(said, annotation)
        found = [self._part(each, scalar.mark, sources) for each in parts]
        if len(found) == 1 or any(each is self.anything for each in found):
            return found[0] if len(found) == 1 else self.anything
        return self.text(found)

    def as_json(self, value: Any) -> Any:
        """The same value, whose parts are the plain JSON that is kept of them."""
        if isinstance(value, Placeholder) and value is not self.anything:
            return Placeholder(source_of(value), annotation_of(value), self._builder, as_json=True)
        if isinstance(value, list):
            return [self.as_json(each) for each in value]
        return (
            {key: self.as_json(each) for key, each in value.items()}
            if isinstance(value, dict)
            else value
        )

    def text(self, parts: list[Any]) -> Placeholder:
        """A text that is put together of constants and placeholders."""
        made = []
        for each in parts:
            known = isinstance(each, Placeholder)
            kind = annotation_of(each) if known else str
            made.append(express(each, kind, self._builder, as_json=known and is_json(each)))
        return Placeholder(TextOf(parts=tuple(made)), str, self._builder, as_json=False)

    def _part(self, part: str | Reference, mark: Mark, sources: Sources) -> Any:
        if isinstance(part, str):
            return part
        found = sources.value(part, mark)
        return self.anything if found is None else inside(found, part.path)

    def _either(self, tree: Mapped, annotation: Any, sources: Sources) -> Any:
        several = tree.entries[EITHER]
        if not isinstance(several, Listed) or tree.entries.keys() - {EITHER, _AT}:
            raise DefinitionError(
                f"{EITHER} is a list of values, the first of which that exists is taken"
            )
        values = [self.of(each, annotation, sources) for each in several.items]
        if any(each is self.anything for each in values):
            return self.anything
        found = self._builder.either(tuple(values))
        place = tree.entries.get(_AT)
        if isinstance(place, Scalar):
            return inside(found, read_path(place.text))
        return found


def inside(value: Any, path: tuple[str | int, ...]) -> Any:
    """What is at a place inside of a value that is not there yet; DefinitionError."""
    for key in path:
        value = _one_deeper(value, key)
    return value


def _one_deeper(value: Placeholder, key: str | int) -> Any:
    if isinstance(key, int):
        return value[key]
    fields = fields_of(plain(annotation_of(value)))
    if fields and key not in fields:  # as it is written in JSON, where that has another name
        key = next((name for name, (path, _) in fields.items() if path == (key,)), key)
    try:
        return getattr(value, key) if not key.startswith("__") else value[key]
    except DefinitionError as error:
        try:
            return value[key]
        except DefinitionError:
            raise error from None


def plain_keys(tree: Mapped, problems: Problems) -> dict[str, Tree]:
    """A mapping by its keys, which are constants; what is none is told, and left out."""
    found = {}
    for key, each in tree.entries.items():
        try:
            found[_unescaped(key)] = each
        except ValueError as error:
            problems.add(tree.marks[key], str(error))
    return found


def _unescaped(key: str) -> str:
    """A key of a mapping; `$$either` is a key that is called `$either`, as `$${` is `${`."""
    parts = parts_of(key)
    if any(isinstance(each, Reference) for each in parts):
        raise ValueError(f"{key!r}: a key holds no value of a run, only what is behind it may")
    text = str(parts[0]) if parts else ""
    return text[1:] if _is_either(text) and text != EITHER else text


def escaped(key: str) -> str:
    """How a key of a mapping is written."""
    return written([f"${key}" if _is_either(key) else key])


def _is_either(key: str) -> bool:
    return key.startswith("$") and key.lstrip("$") == "either"
