"""All that is wrong with a file, each thing with its place.

Owns: collecting.  Refuses to know: what may be wrong.
"""

from __future__ import annotations

from typing import NamedTuple

from celeriac.errors import FileInvalid, Problem

_MOST = 100  # that are told
_LONGEST = 1_000  # characters of one


class Mark(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


class Problems:
    """What is wrong with one file, as far as it was found."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[Problem, None] = {}

    def add(self, mark: Mark, text: str) -> None:
        """Note that something is wrong; the same at the same place counts once."""
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        self._found[Problem(self.file, mark.line, mark.column, short)] = None

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self) -> None:
        """Raise FileInvalid if anything was found."""
        if self._found:
            found = sorted(self._found)
            left = len(found) - _MOST
            if left > 0:
                more = f"and {left} more are wrong behind this"
                found[_MOST:] = [found[_MOST]._replace(text=more)]
            raise FileInvalid(found)
