"""YAML of plain values: mappings, lists, and texts with quotes wherever they might be misread.

Owns: when a text needs quotes, by the rules by which it is read (`scalars`).  Refuses to know: what
is written.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.definitions.trees import yaml_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SIMPLE = re.compile(r"[A-Za-z_$][A-Za-z0-9_.$\[\]{}/@-]*( [A-Za-z0-9_.@-]+)*\Z")


class Text(NamedTuple):
    """A text that is read by the type of its field, and so needs no quotes."""

    text: str


def emitted(document: Mapping[str, Any]) -> str:
    """A document as YAML."""
    yaml = yaml_module()
    events = [
        yaml.StreamStartEvent(),
        yaml.DocumentStartEvent(explicit=False),
        *_events(yaml, document),
        yaml.DocumentEndEvent(explicit=False),
        yaml.StreamEndEvent(),
    ]
    text: str = yaml.emit(events, allow_unicode=True, width=100)
    return text


def _events(yaml: Any, value: Any) -> Iterator[Any]:
    if isinstance(value, Text):
        yield yaml.ScalarEvent(None, None, (True, True), value.text)
    elif isinstance(value, dict):
        flow = bool(value) and all(not isinstance(each, dict | list) for each in value.values())
        yield yaml.MappingStartEvent(None, None, True, flow_style=flow and len(value) <= 2)  # noqa: PLR2004
        for key, each in value.items():
            yield from _events(yaml, key)
            yield from _events(yaml, each)
        yield yaml.MappingEndEvent()
    elif isinstance(value, list):
        yield yaml.SequenceStartEvent(
            None, None, True, flow_style=not any(isinstance(each, dict | list) for each in value)
        )
        for each in value:
            yield from _events(yaml, each)
        yield yaml.SequenceEndEvent()
    elif isinstance(value, str):
        words = ("true", "false", "null")
        plain = _SIMPLE.match(value) and value not in words and "${" not in value
        style = None if plain else '"'
        yield yaml.ScalarEvent(None, None, (True, True), value, style=style)
    else:
        yield yaml.ScalarEvent(None, None, (True, True), json.dumps(value))
