"""The expressions in a text: `${vars.region}`, `${steps.reserve.output.hold_id}`.

Owns: which there are, and how they are written.  Refuses to know: what they stand for.  Nothing is
computed: an expression names a value, or a place inside of one.

Before a brace, `$$` is a plain `$`: `$${` is a text, `$$${vars.fee}` a price in dollars.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

_PLACE = re.compile(r"(?<!\$)(?P<plain>(?:\$\$)*+)(?:\$\{(?:(?P<inside>[^{}]*)\})?|(?<=\$)\{)")
_DOLLARS = re.compile(r"\$+(?=\{|\Z)")
_VARS = re.compile(r"vars\.(?P<name>\w+)(?P<path>.*)\Z")
_STEPS = re.compile(r"steps\.(?P<name>[^\s~/\\\[\]]+?)\.output(?P<path>(?:[.\[].*)?)\Z")
_SECRETS = re.compile(r"secrets\.(?P<name>\w+)\Z")
_PART = re.compile(r'\.(?P<key>[^\s.\[\]"]+)|\[(?P<index>-?\d+)\]|\[(?P<text>"(?:[^"\\]|\\.)*")\]')
_DEEPEST = 40  # parts of a place
_FORMS = {"vars": _VARS, "steps": _STEPS, "secrets": _SECRETS}
Kind = Literal["vars", "steps", "secrets"]


@dataclass(frozen=True)
class Reference:
    """An expression: a value by its name, and where inside of it."""

    kind: Kind
    name: str
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        output = ".output" if self.kind == "steps" else ""
        return f"${{{self.kind}.{self.name}{output}{written_path(self.path)}}}"


Part = str | Reference


def parts_of(text: str) -> list[Part]:
    """The constants and expressions that a text is made of; ValueError for what is neither."""
    found: list[Part] = []
    end = 0
    for match in _PLACE.finditer(text):
        plain = match["plain"]
        found.append(text[end : match.start()] + plain[::2])
        end = match.end()
        opened = match[0][len(plain) :]
        if opened == "{":
            found.append("{")
        elif match["inside"] is None:
            raise ValueError(
                f"{opened + text[end:][:40]!r} has no end: write }} behind it, or $${{"
            )
        else:
            found.append(_reference(match["inside"].strip()))
    found.append(text[end:])
    return _joined(found)


def written(parts: list[Part]) -> str:
    """The text that is read as these parts."""
    parts = _joined(parts)
    last = len(parts) - 1
    return "".join(
        _plain(each, at_end=n == last) if isinstance(each, str) else str(each)
        for n, each in enumerate(parts)
    )


def _plain(text: str, *, at_end: bool) -> str:
    """How a text is written that no expression is to be found in, nor at its end."""
    return _DOLLARS.sub(
        lambda found: found[0] * (1 if at_end and found.end() == len(text) else 2), text
    )


def written_path(path: tuple[str | int, ...]) -> str:
    """How a place inside of a value is written."""
    return "".join(_written_part(each) for each in path)


def read_path(text: str) -> tuple[str | int, ...]:
    """The place inside of a value that a text names; ValueError if it names none."""
    found: list[str | int] = []
    end = 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        if len(found) == _DEEPEST:
            raise ValueError(f"a place is {_DEEPEST} deep inside of a value at most")
        end = part.end()
        if part["index"] is not None:
            found.append(int(part["index"]))
        else:
            found.append(part["key"] if part["text"] is None else json.loads(part["text"]))
    if end != len(text):
        raise ValueError(f"{text[end:]!r} is no place inside of a value: write .name or [0]")
    return tuple(found)


def _written_part(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    simple = _PART.fullmatch(f".{key}") and not set(key) & set("{}$")
    return f".{key}" if simple else f"[{json.dumps(key)}]"


def _reference(text: str) -> Reference:
    kind = text.partition(".")[0]
    form = _FORMS.get(kind)
    match = form.match(text) if form else None
    if match is None:
        raise ValueError(
            f"${{{text}}} is no expression: there are ${{vars.NAME}}, ${{steps.NAME.output}} with "
            "places inside (.field, [0]), and ${secrets.NAME} in actions"
        )
    path = read_path(match["path"]) if "path" in match.re.groupindex else ()
    return Reference(kind, match["name"], path)  # type: ignore[arg-type]  # one of the forms


def _joined(parts: list[Part]) -> list[Part]:
    """The parts without empty texts, and with no two texts beside each other."""
    found: list[Part] = []
    for each in parts:
        if isinstance(each, str) and found and isinstance(found[-1], str):
            found[-1] += each
        elif each != "":
            found.append(each)
    return found
