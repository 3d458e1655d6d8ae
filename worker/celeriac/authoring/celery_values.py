"""Values as Celery's own serializer carries them: what an adopted task returns and is given.

Owns: writing a value as JSON in which Decimal, datetime, date, time, UUID and bytes are marked in
the way of Celery's JSON, and reading it.  Refuses to know: annotations of steps (`signatures`), and
Celery, which lends its encoder and decoder (`lend`).
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from celeriac.errors import InputInvalid

if TYPE_CHECKING:
    from celeriac.errors import SagaError

#: What JSON has no form for.
HALF = (
    "half of a character (a lone surrogate), which is no text: write "
    ".encode(errors='backslashreplace').decode() where it comes from"
)
_TYPE, _VALUE = "__type__", "__value__"
# No value of these can look different on both sides.
_PLAIN = (str, int, float, bool, type(None))

Encode = Callable[[Any], Any]  # raises TypeError for what it does not know
Decode = Callable[[dict[str, Any]], Any]  # raises ValueError for a mark that it does not know


def _encode(value: Any) -> Any:
    """What Celery's JSON makes of a value that is none of JSON's; TypeError if it knows none."""
    if isinstance(value, datetime):  # first: it is a date too
        return {_TYPE: "datetime", _VALUE: value.isoformat()}
    if isinstance(value, date):
        return {_TYPE: "date", _VALUE: value.isoformat()}
    if isinstance(value, time):
        return {_TYPE: "time", _VALUE: value.isoformat()}
    if isinstance(value, Decimal):
        return {_TYPE: "decimal", _VALUE: str(value)}
    if isinstance(value, UUID):
        return {_TYPE: "uuid", _VALUE: {"hex": value.hex}}
    if isinstance(value, bytes):
        return {_TYPE: "base64", _VALUE: base64.b64encode(value).decode()}
    raise TypeError


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: datetime.fromisoformat(text).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda found: UUID(**found),
    "bytes": lambda text: text.encode(),
    "base64": base64.b64decode,
}


def _decode(found: dict[str, Any]) -> Any:
    if found.keys() != {_TYPE, _VALUE}:
        return found
    return _DECODERS[found[_TYPE]](found[_VALUE])


_lent: tuple[Encode, Decode] = (_encode, _decode)


def lend(encode: Encode, decode: Decode) -> None:
    """Use these from now on: an application may have taught its serializer more types."""
    global _lent  # noqa: PLW0603 -- there is one serializer in a process
    _lent = (encode, decode)


def _default(value: Any) -> Any:
    """What to write of a value; what Celery would refuse is written as in a step's output."""
    try:
        return _lent[0](value)
    except TypeError:
        pass
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True, round_trip=True, warnings=False)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, Enum):
        return value.value
    return to_jsonable_python(value)


def write_carried(value: Any, what: str, kind: type[SagaError]) -> str:
    """Return *value* as JSON text; raise *kind* if there is none."""
    try:
        text = json.dumps(value, default=_default, allow_nan=False, separators=(",", ":"))
        if "\\ud" in text:  # of an escape: two halves may be a character, and one is none
            json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise kind(f"{what} cannot be written as JSON: it has {HALF}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise kind(f"{what} cannot be written as JSON: {error}") from error
    return text


def read_carried(text: str | bytes) -> Any:
    """Return the value of JSON text, with what is marked as it was."""
    if not is_marked(text):
        return json.loads(text)
    try:
        return json.loads(text, object_hook=_lent[1])
    except (ValueError, TypeError, LookupError, AttributeError):  # marked, but by nobody we know
        return json.loads(text)


def is_marked(text: str | bytes) -> bool:
    """Return whether *text* may hold a value that JSON alone does not tell."""
    return _TYPE in text if isinstance(text, str) else _TYPE.encode() in text


def marked(adapter: TypeAdapter[Any], text: str) -> str:
    """Return the JSON of a typed value as Celery's serializer would have written that value."""
    try:
        value = adapter.validate_json(text, by_alias=True, by_name=True)
        data = adapter.dump_python(value, by_alias=True, round_trip=True, warnings=False)
        return write_carried(data, "it", InputInvalid)
    except (ValidationError, InputInvalid):
        return text  # it was written by another definition: as it is


def can_differ(annotation: Any) -> bool:
    """Return whether `marked` may make another text of a value with this annotation."""
    return annotation is not None and annotation not in (Any, object, *_PLAIN)
