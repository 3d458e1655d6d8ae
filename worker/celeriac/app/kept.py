"""Definitions that are kept in the store: a file by the name and the version of its saga.

Owns: that a version never changes, and which one is meant if none is said.  Refuses to know: what
is in a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from celeriac.definitions import LARGEST
from celeriac.errors import DefinitionConflict, DefinitionNotFound, FileInvalid, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from celeriac.engine import Engine


class KeptDefinition(NamedTuple):
    """A definition in the store."""

    saga: str
    version: int
    text: str

    @property
    def name(self) -> str:
        """How it is called on the terminal."""
        return f"{self.saga}@{self.version}"


def read_file(path: Path) -> bytes:
    """What is in a file, but no more of it than a definition may have; raises FileInvalid."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise FileInvalid([Problem(str(path), 1, 1, f"cannot be read: {why}")]) from None


def keep(engine: Engine, saga: str, version: int, text: str) -> None:
    """Keep a definition; raises DefinitionConflict if the version is there as another one."""
    store = engine.store
    kept = engine.retry_while_unavailable(lambda: store.keep_definition(saga, version, text))
    if kept != text:
        raise DefinitionConflict(saga, version)


def kept_definitions(engine: Engine) -> list[KeptDefinition]:
    """All definitions, by name, the newest version first."""
    found = engine.retry_while_unavailable(engine.store.definitions)
    several = [KeptDefinition(*key, text) for key, text in found.items()]
    return sorted(several, key=lambda each: (each.saga, -each.version))


def kept_definition(engine: Engine, name: str, version: int | None) -> KeptDefinition:
    """The definition of this name, in the newest version if none is said.

    Raises DefinitionNotFound.
    """
    known = [each for each in kept_definitions(engine) if each.saga == name]
    found = next((each for each in known if version in (None, each.version)), None)
    if found is None:
        raise DefinitionNotFound(name, version, [each.version for each in known])
    return found
