"""Reading a file that is written in the test itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from celeriac import FileInvalid
from tests.definitions.shop import sagas

if TYPE_CHECKING:
    from pathlib import Path

    from celeriac import Saga

_NAMES = itertools.count()


class Read(Protocol):
    """Reads a definition."""

    def __call__(self, steps: str, **more: str) -> Saga[Any, Any]:
        """Return the saga with these steps; the other fields by name."""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a definition whose head is written here."""

    def of(steps: str, **more: str) -> Saga[Any, Any]:
        head = "".join(f"{name}: {text}\n" for name, text in more.items())
        inside = "".join(f"  {line}\n" for line in steps.strip("\n").splitlines())
        file = tmp_path / "trip.yaml"
        file.write_text(f"saga: trip\n{head}steps:\n{inside}")
        return sagas.from_file(file)

    return of


def problems(read: Any, *args: Any, **more: Any) -> list[tuple[int, int, str]]:
    """All that is wrong with a file: line, column and text."""
    with pytest.raises(FileInvalid) as caught:
        read(*args, **more)
    return [(each.line, each.column, each.text) for each in caught.value.problems]
