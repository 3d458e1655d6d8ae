"""A YAML file as a tree of texts, lists and mappings, each with its place.

Owns: what of YAML is read at all, and how much of it.  Refuses to know: what a text stands for:
whether `NO`, `1.10` or `08:30` is text depends on the field that it is for (`scalars`).

No tags, anchors, aliases, merges, directives or second documents: none is needed to write a saga,
and each has been used to make a small file large or to run code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.definitions.problems import Mark
from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.definitions.problems import Problems

LARGEST = 256 * 1024  # bytes of a file
_DEEPEST = 40
_MOST_NODES = 20_000
_LONGEST_KEY = 200
#: What YAML takes for the end of a line, and of a comment, while people see none.
_HIDDEN_BREAK = re.compile("[\x85\u2028\u2029]|\r(?!\n)")


@dataclass(frozen=True)
class Scalar:
    """A text; `plain` if it stood there without quotes."""

    mark: Mark
    text: str
    plain: bool = False


@dataclass(frozen=True)
class Listed:
    """A list."""

    mark: Mark
    items: list[Tree] = field(default_factory=list)


@dataclass(frozen=True)
class Mapped:
    """A mapping; its keys are text."""

    mark: Mark
    entries: dict[str, Tree] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)  # of the keys


Tree = Scalar | Listed | Mapped

KINDS = {Scalar: "a text", Listed: "a list", Mapped: "a mapping"}


def yaml_module() -> Any:
    """The library that reads and writes YAML; ConfigurationError where it is not installed."""
    try:
        import yaml  # noqa: PLC0415 -- an extra, which may not be there
    except ImportError:
        raise ConfigurationError(
            "definitions in files need PyYAML: install celeriac[yaml]"
        ) from None
    return yaml


def read_tree(content: bytes | str, problems: Problems) -> Tree | None:
    """The tree of a file; what is wrong is added to *problems*, and None is returned if all is."""
    start = Mark(1, 1)
    data = content.encode() if isinstance(content, str) else content
    if len(data) > LARGEST:
        problems.add(start, f"is {len(data)} bytes long, and a definition has {LARGEST} at most")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add(start, f"is not UTF-8 (byte {error.start}): save it as UTF-8")
        return None
    yaml = yaml_module()
    hidden = _HIDDEN_BREAK.search(text)
    if hidden:
        told = f"holds {hidden[0]!r}, a line break that editors do not show: leave it out"
        problems.add(_place_of(text, hidden.start()), told)
        return None
    try:
        return _Reader(yaml, text, problems).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add(_mark(mark) if mark else start, _told(error))
    except yaml.YAMLError as error:
        told = f"holds a character that YAML does not allow: {error.reason}"
        problems.add(_place_of(text, getattr(error, "position", 0)), told)
    except _TooMuch as error:
        problems.add(error.mark, error.problem)
    return None


class _TooMuch(Exception):
    def __init__(self, mark: Mark, problem: str) -> None:
        self.mark, self.problem = mark, problem


def _place_of(text: str, position: int) -> Mark:
    """The line and column of a character."""
    before = text.rfind("\n", 0, position) + 1
    return Mark(text.count("\n", 0, position) + 1, position - before + 1)


def _told(error: Any) -> str:
    what = f"{error.problem}"
    return f"is not valid YAML: {error.context}, {what}" if error.context else what


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


class _Reader:
    """Makes a tree of the events of YAML; nothing is resolved, constructed or evaluated."""

    def __init__(self, yaml: Any, text: str, problems: Problems) -> None:
        self._yaml, self._problems, self._nodes = yaml, problems, 0
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)

    def document(self) -> Tree | None:
        """The one document of the file."""
        yaml, found = self._yaml, None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                mark = _mark(event.start_mark)
                if found is not None:
                    self._problems.add(mark, "is a second document: write one saga to a file")
                    return found
                if event.version or event.tags:
                    self._problems.add(
                        mark, "directives (%YAML, %TAG) are not read: leave them out"
                    )
                found = self._node(next(self._events), 0)
        if found is None:
            self._problems.add(Mark(1, 1), "is empty: write saga: and steps:")
        return found

    def _node(self, event: Any, depth: int) -> Tree | None:
        yaml, mark = self._yaml, _mark(event.start_mark)
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _TooMuch(mark, f"a definition has {_MOST_NODES} values at most")
        if depth > _DEEPEST:
            raise _TooMuch(mark, f"is nested more than {_DEEPEST} deep")
        if isinstance(event, yaml.AliasEvent):
            self._problems.add(mark, f"*{event.anchor}: aliases are not read; write it out")
            return None
        self._refuse_properties(event, mark)
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(mark, event.value, not event.style)
        if isinstance(event, yaml.SequenceStartEvent):
            listed = Listed(mark)
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                if (item := self._node(event, depth + 1)) is not None:
                    listed.items.append(item)
            return listed
        mapped = Mapped(mark)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            self._enter(mapped, key, _mark(event.start_mark), depth)
        return mapped

    def _refuse_properties(self, event: Any, mark: Mark) -> None:
        if event.anchor:
            self._problems.add(mark, f"&{event.anchor}: anchors are not read; leave it out")
        if event.tag:
            self._problems.add(mark, f"the tag {event.tag}: tags are not read; leave it out")

    def _enter(self, mapped: Mapped, key: Tree | None, mark: Mark, depth: int) -> None:
        """Read the value of a key, and put it under it."""
        value = self._node(next(self._events), depth + 1)
        if not isinstance(key, Scalar):
            if key is not None:
                self._problems.add(mark, f"a key is a text, and not {KINDS[type(key)]}")
        elif key.plain and key.text == "<<":
            self._problems.add(mark, "<<: merges are not read; write the keys out")
        elif len(key.text) > _LONGEST_KEY:
            self._problems.add(mark, f"a key has {_LONGEST_KEY} characters at most")
        elif key.text in mapped.entries:
            first = mapped.marks[key.text].line
            self._problems.add(mark, f"{key.text!r} stands here twice, first in line {first}")
        elif value is not None:
            mapped.entries[key.text], mapped.marks[key.text] = value, mark
