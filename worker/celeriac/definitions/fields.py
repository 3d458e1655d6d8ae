"""The fields of a mapping in a file, each read as what it should be.

Owns: reading them, and telling of each that is unknown, missing or wrong.  Refuses to know: what
they mean.  A field that is wrong counts as left out, so that the others are looked at as well.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.definitions.scalars import is_null, number_of, read_scalar
from celeriac.definitions.trees import KINDS, Listed, Mapped, Scalar
from celeriac.errors import DefinitionError
from celeriac.machine import duration_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.definitions.problems import Mark, Problems
    from celeriac.definitions.trees import Tree

_LARGEST = 2**53  # which JSON can carry everywhere
K = TypeVar("K", Scalar, Listed, Mapped)


class Fields:
    """A mapping, field by field."""

    def __init__(self, tree: Mapped, problems: Problems, known: Iterable[str], what: str) -> None:
        """*known* are the fields that there are; *what* the mapping is of, for messages."""
        self.mark, self._tree, self._problems = tree.mark, tree, problems
        for name, mark in tree.marks.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                problems.add(mark, f"{name!r} is no field of {what}: {hint}")

    def __contains__(self, name: str) -> bool:
        return name in self._tree.entries

    def mark_of(self, name: str) -> Mark:
        """Where a field stands; where the mapping does, if it is not there."""
        return self._tree.marks.get(name, self.mark)

    def tree(self, name: str) -> Tree | None:
        """A field as it is; None if it is left out."""
        return self._tree.entries.get(name)

    def of_kind(self, name: str, kind: type[K], example: str) -> K | None:
        """A field that is a text, a list or a mapping, such as the *example*."""
        found = self.tree(name)
        if found is None or isinstance(found, kind):
            return found
        self._problems.add(found.mark, f"{name} is {KINDS[kind]}, such as {example}")
        return None

    def read(self, name: str, annotation: Any, example: str, default: Any = None) -> Any:
        """A field that is a value of some type."""
        scalar = self.of_kind(name, Scalar, example)
        if scalar is None:
            return default
        try:
            return read_scalar(scalar, annotation)
        except DefinitionError as error:
            self._problems.add(scalar.mark, f"{name} {error.problem}, such as {example}")
            return default

    def duration(self, name: str) -> int | None:
        """A field that is a duration, in milliseconds; a number is seconds."""
        scalar = self.of_kind(name, Scalar, "30s")
        if scalar is None:
            return None
        try:
            number = number_of(scalar)
            return duration_ms(scalar.text if number is None else number)
        except DefinitionError:
            self._problems.add(
                scalar.mark,
                f"{name} is a duration, such as 30s, 10m or 2d, not {scalar.text!r}",
            )
            return None

    def delay(self, name: str, default: int) -> int:
        """A field that is a duration or nothing at all, in milliseconds."""
        scalar = self.tree(name)
        if isinstance(scalar, Scalar) and scalar.text in ("0", "0s"):
            return 0
        found = self.duration(name)
        return default if found is None else found

    def names(self, name: str) -> list[Scalar]:
        """A field that is a list of names."""
        listed = self.of_kind(name, Listed, "[one, another]")
        found = []
        for each in listed.items if listed else ():
            if isinstance(each, Scalar) and each.text:
                found.append(each)
            else:
                self._problems.add(each.mark, f"{name} is a list of names")
        return found

    def limit(self, name: str) -> tuple[bool, int | None]:
        """A field that is a whole number from 1, or null; and whether it is there."""
        scalar = self.tree(name)
        if isinstance(scalar, Scalar) and is_null(scalar):
            return True, None
        found = self.whole(name)
        return found is not None, found

    def whole(self, name: str, *, least: int = 1) -> int | None:
        """A field that is a whole number."""
        found: int | None = self.read(name, int, "3")
        if found is not None and found < least:
            self._problems.add(self.mark_of(name), f"{name} is a whole number from {least}")
            return None
        if found is not None and found > _LARGEST:
            self._problems.add(self.mark_of(name), f"{name} is a whole number up to {_LARGEST}")
            return None
        return found

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """A field that is one of a few words."""
        found: str = self.read(name, str, allowed[0], default)
        if found not in allowed:
            self._problems.add(
                self.mark_of(name), f"{name} is one of {', '.join(allowed)}, not {found!r}"
            )
            return default
        return found
