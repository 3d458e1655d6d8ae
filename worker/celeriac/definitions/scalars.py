"""What a text in a file is, by the type of the field that it is for.

Owns: `NO` is text for a country and no truth value, `1.10` is a text, a price or a number, `08:30`
a time where one is asked for.  Refuses to know: where the text stands.

Quotes make a text of anything.  Without them, what JSON calls a number, true, false or null may be
that; whatever the field takes is what it is.  Nothing else is guessed.
"""

from __future__ import annotations

import json
import math
import re
import typing
from decimal import Decimal
from typing import Any

from pydantic import PydanticUserError, ValidationError

from celeriac.authoring import UNSAID, adapter_for, complaints, described, plain
from celeriac.definitions.problems import Mark
from celeriac.definitions.trees import Scalar
from celeriac.errors import DefinitionError

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")
_LONGEST = 40  # characters of a value, in a message
_MOST_DIGITS = 400  # of a number
_WORDS = {"true", "false", "null"}


def read_scalar(scalar: Scalar, annotation: Any) -> Any:
    """The value of a text for a field of this type; DefinitionError if it is none."""
    if annotation is UNSAID or plain(annotation) in (Any, object):
        return _as_json(scalar)
    try:
        adapter = adapter_for(annotation)
    except DefinitionError:
        return _as_json(scalar)
    problem = ""
    for text in _candidates(scalar, annotation):
        try:
            return adapter.validate_json(text, strict=True)
        except ValidationError as error:
            problem = complaints(error)
        except (PydanticUserError, ValueError) as error:
            problem = str(error)
    raise DefinitionError(f"should be {described(annotation)}, not {_shown(scalar)} ({problem})")


def read_given(text: str, annotation: Any) -> Any:
    """The value of a text that was typed for a field of this type; DefinitionError if it is none.

    A list or an object is JSON; what is for a text is that text, whatever it looks like.
    """
    wanted = plain(annotation)
    if wanted is str:
        return text
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass  # a text that begins so, perhaps
    if not text and str in typing.get_args(wanted):
        return text
    return read_scalar(Scalar(Mark(1, 1), text, plain=True), annotation)


def is_null(scalar: Scalar) -> bool:
    """True for what stands for nothing where any value may stand."""
    return scalar.plain and scalar.text in ("null", "")


def number_of(scalar: Scalar) -> int | float | None:
    """The number that a text is to JSON; None if it is none.  DefinitionError: nobody counts so."""
    if not (scalar.plain and _NUMBER.match(scalar.text)):
        return None
    if len(scalar.text) > _MOST_DIGITS:
        raise DefinitionError(
            f"is a number of {len(scalar.text)} characters, and {_MOST_DIGITS} are the most: write "
            "it in quotes, as text"
        )
    found: int | float = json.loads(scalar.text)
    if found in (math.inf, -math.inf):
        raise DefinitionError(f"is {_shown(scalar)}, which is more than a number can be")
    return found


def _as_json(scalar: Scalar) -> Any:
    """What a text is where nobody said what should be there."""
    if is_null(scalar):
        return None
    if scalar.plain and scalar.text in _WORDS:
        return json.loads(scalar.text)
    found = number_of(scalar)
    return scalar.text if found is None else found


def _candidates(scalar: Scalar, annotation: Any) -> list[str]:
    """What a text may be, as JSON, the likeliest first."""
    text = json.dumps(scalar.text)
    if not scalar.plain:
        return [text]
    if scalar.text == "":
        return ["null"]
    if scalar.text in _WORDS or _NUMBER.match(scalar.text):
        # A Decimal keeps all its digits in a text only.
        exact = plain(annotation) is Decimal or Decimal in typing.get_args(annotation)
        return [text, scalar.text] if exact and scalar.text not in _WORDS else [scalar.text, text]
    return [text]


def _shown(scalar: Scalar) -> str:
    short = scalar.text if len(scalar.text) <= _LONGEST else scalar.text[:_LONGEST] + "…"
    return short if scalar.plain and short else json.dumps(short)
