"""The Python in the prose.

Owns: finding the blocks and running those that say they can be run.  Refuses to know: what they
are about.

A block after `<!-- example: NAME -->` is run; blocks of one file with the same name are parts of
one module.  All others are only compiled.
"""

from __future__ import annotations

import linecache
import re
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

BLOCK = re.compile(
    r"^(?:<!-- example: (?P<name>[\w-]+) -->\n+)?```python\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    """A block of Python in a page; `name` is None where it is not marked as running."""

    path: Path
    line: int
    name: str | None
    text: str

    @property
    def label(self) -> str:
        """Where it is, for people."""
        return f"{self.path.name}:{self.line}"

    def __str__(self) -> str:
        return self.label


def examples(pages: Iterable[Path]) -> list[Example]:
    """Every block of Python in the pages, those that exist."""
    return [
        Example(path, text[: match.start("text")].count("\n") + 1, match["name"], match["text"])
        for path in pages
        if path.exists()
        for text in [path.read_text(encoding="utf-8")]
        for match in BLOCK.finditer(text)
    ]


def run(parts: Sequence[Example]) -> ModuleType:
    """Run the parts of one example in a module of their own, and return it."""
    name = f"example_{(parts[0].name or '').replace('-', '_')}"
    module = ModuleType(name)
    # Annotations are looked up in the module, and sources by its file's name.
    sys.modules[name] = module
    try:
        for part in parts:
            file = f"<{part.label}>"
            linecache.cache[file] = (len(part.text), None, part.text.splitlines(True), file)
            exec(compile(part.text, file, "exec"), module.__dict__)  # noqa: S102  # our own text
    finally:
        del sys.modules[name]
    return module
