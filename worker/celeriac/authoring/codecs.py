"""How values of one type are written as JSON and read back, so that what goes in comes out.

Owns: writing, and refusing what would not come back as it is.  Refuses to know: where a value
belongs; whoever asks says what to call it, and which error to raise.

A value is written by alias, and read by alias and by name.  Where the type does not prove that
JSON carries it whole (`lossless_types`), it is read back at once and compared.
"""

from __future__ import annotations

import functools
import math
import operator
import re
import types
import typing
from collections import deque
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from celeriac.authoring.celery_values import HALF, is_marked, read_carried
from celeriac.authoring.comparison import below, difference
from celeriac.authoring.lossless_types import always, proof_of
from celeriac.authoring.unreadable_types import hopeless
from celeriac.errors import DefinitionError, InputInvalid
from celeriac.failure import safe_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.authoring.lossless_types import Proof
    from celeriac.errors import SagaError

_OF_ITEMS = (Sequence, Iterable)
_COMPLAINTS = 5  # so many are shown; a list of a thousand wrong items has a thousand
_NOT_OF_ITS_TYPE = re.compile(r"Expected `([^`]+)`[^\[]*\[(?:field_name='(\w+)')?")
# What Pydantic writes, without a word, for half of a character in a key.
_REPLACED = "\N{REPLACEMENT CHARACTER}".encode()
_LONGEST_NUMBER = 4_000  # Python and Pydantic read whole numbers of 4,300 digits and no more


class Codec:
    """Writes and reads the values of one type; raises DefinitionError for one that cannot be."""

    def __init__(self, annotation: Any, key: str | None = None) -> None:
        self.adapter = adapter_for(annotation, key)
        self._is_none = annotation is None or annotation is type(None)  # what most steps return
        self._proof: Proof | None = None
        self._proof_with_nulls: Proof | None = None
        try:
            schema = self.adapter.core_schema
            found = hopeless(schema)
            self._proof = proof_of(schema)
            self._proof_with_nulls = proof_of(schema, nulls=True)
        except PydanticUserError:
            return  # a class that is defined further down: its values are read back
        if found:
            what = f"its {found.path} " if found.path else ""
            raise DefinitionError(f"{what}{found.problem}", parameter=key)

    def dump(self, value: Any, what: str, kind: type[SagaError]) -> str:
        """Return *value* as JSON, from which `load` makes the same again.

        Raises *kind*, and calls the value *what*, if it does not validate, has no form in JSON, or
        would come back as another.
        """
        if value is None and self._is_none:
            return "null"
        valid, text = _written(self.adapter, value, what, kind)
        proof = self._proof_with_nulls if _holds_nothing(text) else self._proof
        known = len(text) <= _LONGEST_NUMBER and _REPLACED not in text
        if known and _proves(proof, valid):
            return text.decode()
        if problem := self._problem(valid, text):
            _refuse_unwritable(self.adapter, valid, what, kind)
            raise kind(f"{what} {problem}")
        return text.decode()

    def load(self, text: str | bytes, what: str) -> Any:
        """Return the value that was written; raise InputInvalid if it does not validate."""
        try:
            if is_marked(text):  # an adopted task returned it
                value = read_carried(text)
                return self.adapter.validate_python(value, by_alias=True, by_name=True)
            # By name too: a field with only a validation alias is dumped under its name.
            return self.adapter.validate_json(text, by_alias=True, by_name=True)
        except ValidationError as error:
            raise InputInvalid(f"{what} does not validate: {complaints(error)}") from None

    def same(self, text: str | bytes, other: str | bytes) -> bool:
        """Return whether two texts are of equal values; a text that cannot be read is of none."""
        try:
            one, two = self.load(text, ""), self.load(other, "")
            return difference(one, two) is None and difference(two, one) is None
        except Exception:  # noqa: BLE001 -- a validator of theirs
            return False

    def _problem(self, valid: Any, text: bytes) -> str | None:
        """What becomes of a value that is read back; None if it is the same."""
        try:
            found = difference(valid, self.adapter.validate_json(text, by_alias=True, by_name=True))
        except ValidationError as error:
            return f"cannot be read back from JSON: {complaints(error)}"
        except Exception as error:  # noqa: BLE001 -- validators are their code
            return f"cannot be read back from JSON: {safe_text(error)}"
        if found is None:
            return None
        where = f"its {found.path}" if found.path else "it"
        return f"would not survive as JSON: {where} {found.problem}"


def _proves(proof: Proof | None, valid: Any) -> bool:
    try:
        return proof is always or (proof is not None and proof(valid))
    except Exception:  # noqa: BLE001 -- it holds what its class does not promise
        return False


def adapter_for(annotation: Any, key: str | None = None) -> TypeAdapter[Any]:
    """Return Pydantic's adapter for *annotation*; DefinitionError if there can be none."""
    try:
        found: TypeAdapter[Any] = TypeAdapter(_as_stored(annotation))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise DefinitionError(
            f"values of type {annotation!r} cannot be carried as JSON ({reason}); use a Pydantic "
            "model, a dataclass or plain values, and pass references to anything else",
            parameter=key,
        ) from error
    if not found.pydantic_complete and (name := _only_named(annotation)):
        raise DefinitionError(
            f"{name!r} is the name of a type in quotes, and nobody can look it up from here: "
            "define the type above, and give the type itself",
            parameter=key,
        )
    return found


def _only_named(annotation: Any) -> str | None:
    """The first type in *annotation* that is only called by its name."""
    if isinstance(annotation, str | typing.ForwardRef):
        return annotation if isinstance(annotation, str) else annotation.__forward_arg__
    if typing.get_origin(annotation) is typing.Literal:
        return None
    items = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        items = items[:1]
    return next(filter(None, map(_only_named, items)), None)


def _as_stored(annotation: Any) -> Any:
    """*annotation* with a list for what only promises items: JSON has nothing else for it."""
    origin, items = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _OF_ITEMS and items:
        return types.GenericAlias(list, items)
    if origin not in (typing.Union, types.UnionType):
        return annotation
    members = tuple(map(_as_stored, items))
    return annotation if members == items else functools.reduce(operator.or_, members)


def write(adapter: TypeAdapter[Any], value: Any, what: str, kind: type[SagaError]) -> str:
    """Return *value* as JSON, by alias; raise *kind* if it does not validate or has no JSON.

    What is read is not compared: for those who take plain JSON, whatever it was made of.
    """
    valid, text = _written(adapter, value, what, kind)
    if _holds_nothing(text) or _REPLACED in text:
        _refuse_unwritable(adapter, valid, what, kind)
    return text.decode()


def _written(
    adapter: TypeAdapter[Any], value: Any, what: str, kind: type[SagaError]
) -> tuple[Any, bytes]:
    try:
        valid = adapter.validate_python(value, by_alias=True, by_name=True)
    except ValidationError as error:
        raise kind(f"{what} does not validate: {complaints(error)}") from None
    except Exception as error:
        raise kind(f"{what} cannot be written as JSON: {_unwritable(error)}") from error
    try:
        # round_trip: what is written must be readable by the same annotation.
        return valid, adapter.dump_json(valid, by_alias=True, round_trip=True, warnings="error")
    except Exception as error:  # noqa: BLE001 -- serializers are their code
        _refuse_unwritable(adapter, valid, what, kind)
        # Pydantic's own text repeats the value, and says no more than ours.
        cause = None if isinstance(error, PydanticSerializationError) else error
        raise kind(f"{what} cannot be written as JSON: {_unwritable(error)}") from cause


def _holds_nothing(text: bytes) -> bool:
    """True if JSON may hold what Pydantic writes as null without a word.

    That is NaN, and None where an instance holds it against its class.
    """
    return b"null" in text or b"NaN" in text or b"Infinity" in text


def _unwritable(error: Exception) -> str:
    """What Pydantic says, but of a value that is not of its type only where it is."""
    text = safe_text(error)
    found = _NOT_OF_ITS_TYPE.search(text)
    if found is None:
        return text
    expected, field = found.groups()
    return f"{f'its {field}' if field else 'it'} should be {expected}, and was never validated"


def _refuse_unwritable(
    adapter: TypeAdapter[Any], valid: Any, what: str, kind: type[SagaError]
) -> None:
    """Raise *kind* about the first thing in a value that has no form in JSON, if one is found."""
    try:
        data = adapter.dump_python(valid, round_trip=True, warnings=False)
        found = next(_unwritable_leaves(data, ""), None)
    except Exception:  # noqa: BLE001 -- serializers of theirs; or it holds itself
        return
    if found:
        path, problem = found
        where = f"its {path}" if path else "it"
        raise kind(f"{what} cannot be written as JSON: {where} {problem}")


def _unwritable_leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each place in plain data that JSON has no form for, and the way out."""
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(key, str) and not _is_text(key):
                yield path, f"has a key with {HALF}"
            yield from _unwritable_leaves(each, below(path, key))
    elif isinstance(value, list | tuple | set | frozenset | deque):
        for index, each in enumerate(value):
            yield from _unwritable_leaves(each, below(path, index))
    elif problem := _no_json(value):
        yield path, problem


_NOT_UTF8 = (
    "is bytes that are not UTF-8: use a model with "
    "ConfigDict(ser_json_bytes='base64', val_json_bytes='base64'), or base64 text"
)


def _no_json(value: Any) -> str | None:
    # No math.isfinite for a Decimal: it raises for a signalling NaN.
    if isinstance(value, Decimal):
        return None if value.is_finite() else f"holds {value}; use None instead"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"holds {float(value)!r}; use None instead"
    if isinstance(value, str):
        return None if _is_text(value) else f"has {HALF}"
    return _NOT_UTF8 if isinstance(value, bytes) and not _is_utf8(value) else None


def _is_text(value: str) -> bool:
    try:
        str.encode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def complaints(error: ValidationError) -> str:
    """Return what Pydantic found, on one line and without the offending values."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    rows = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}".lstrip(": ") for each in found]
    more = len(rows) - _COMPLAINTS
    text = "; ".join(rows[:_COMPLAINTS]) + (f"; and {more} more" if more > 0 else "")
    return safe_text(text)


#: Of values whose type nobody said.
ANYTHING = Codec(Any)
