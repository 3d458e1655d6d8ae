"""How people answer a question: the fields of a form, and the payload that they make.

Owns: what an answer's JSON schema becomes on a page, and reading what was filled in.  Refuses to
know: whether an answer is valid (the signal's own type says so), and who gives it.

What decides comes as buttons: the first field that has few values, a `bool`, `Literal` or `Enum`.
What the page has no field for is typed as JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import InputInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_BUTTONS = 6
_WHOLE = ""  # the name of the field that is the whole payload
_DEEPEST = 20  # references that are followed


class Option(NamedTuple):
    """One value of a field that has few."""

    value: str  # JSON
    label: str


class Field(NamedTuple):
    """One thing to fill in."""

    name: str  # in the payload; empty: it is the whole of it
    label: str
    help: str
    kind: str  # options, text, number, date, datetime, json
    required: bool
    default: str  # as it is typed
    options: tuple[Option, ...] = ()


class Sheet(NamedTuple):
    """What is asked: fields, and the one whose values are the buttons."""

    fields: tuple[Field, ...]
    decision: Field | None


def sheet(schema: Mapping[str, Any], answerer: str = "") -> Sheet:
    """Return what to ask for a payload; a text called `by` is filled in with the *answerer*."""
    fields = list(_fields(schema, answerer))
    few = (each for each in fields if 0 < len(each.options) <= _MOST_BUTTONS)
    decision = next(few, None)
    return Sheet(tuple(each for each in fields if each is not decision), decision)


def payload(schema: Mapping[str, Any], filled_in: Mapping[str, str]) -> Any:
    """Return the payload that somebody filled in; raise InputInvalid for what is no value."""
    fields = list(_fields(schema, ""))
    found = {each.name: _value(each, filled_in.get(f"field.{each.name}", "")) for each in fields}
    if [each.name for each in fields] == [_WHOLE]:
        return None if found[_WHOLE] is _NOTHING else found[_WHOLE]
    return {name: value for name, value in found.items() if value is not _NOTHING}


_NOTHING = object()


def _value(field: Field, text: str) -> Any:
    if text == "" and (field.kind != "text" or not field.required):
        return _NOTHING
    if field.kind in ("options", "number", "json"):
        try:
            return json.loads(text)
        except ValueError:
            what = {"number": "a number", "json": "JSON"}.get(field.kind, "one of its values")
            raise InputInvalid(f"{field.label}: {text!r} is not {what}") from None
    return text


def _fields(schema: Mapping[str, Any], answerer: str) -> Iterator[Field]:
    whole, _ = _plain(schema, schema)
    properties = whole.get("properties")
    if whole.get("type") != "object" or not isinstance(properties, dict):
        yield _field(_WHOLE, schema, schema, required=True, answerer=answerer)
        return
    for name, each in properties.items():
        required = name in whole.get("required", ())
        yield _field(name, each, schema, required=required, answerer=answerer)


def _field(
    name: str, given: Mapping[str, Any], root: Mapping[str, Any], *, required: bool, answerer: str
) -> Field:
    plain, nullable = _plain(given, root)
    merged = {**plain, **{k: v for k, v in given.items() if k in ("title", "description")}}
    label = str(merged.get("title") or name.replace("_", " ") or "Answer")
    options = _options(plain)
    kind = "options" if options else _kind(plain)
    default = given.get("default")
    typed = "" if default is None else default if kind == "text" else json.dumps(default)
    if name == "by" and kind == "text" and not typed:
        typed = answerer
    about = str(merged.get("description", ""))
    return Field(name, label, about, kind, required and not nullable, str(typed), options)


def _plain(given: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """A schema without references and without the choice of null, and whether null will do."""
    nullable = False
    for _ in range(_DEEPEST):
        if "$ref" in given:
            found: Any = root
            for part in str(given["$ref"]).removeprefix("#/").split("/"):
                found = found.get(part, {})
            given = found
        elif len(given.get("allOf", ())) == 1:
            given = given["allOf"][0]
        elif "anyOf" in given:
            others = [each for each in given["anyOf"] if each.get("type") != "null"]
            nullable = nullable or len(others) < len(given["anyOf"])
            if len(others) != 1:
                return given, nullable
            given = others[0]
        else:
            return given, nullable
    return given, nullable


def _options(plain: Mapping[str, Any]) -> tuple[Option, ...]:
    if plain.get("type") == "boolean":
        return (Option("true", "Yes"), Option("false", "No"))
    values = [plain["const"]] if "const" in plain else plain.get("enum", ())
    return tuple(Option(json.dumps(each), str(each).replace("_", " ")) for each in values)


def _kind(plain: Mapping[str, Any]) -> str:
    kind, form = plain.get("type"), plain.get("format")
    if kind == "string":
        return {"date": "date", "date-time": "datetime"}.get(str(form), "text")
    return "number" if kind in ("integer", "number") else "json"
