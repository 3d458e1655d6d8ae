"""Putting texts together where they are used: with secrets, with what a step gave, and in URLs.

Owns: what may stand in such a text, and that a value in a URL stays one value.  Refuses to know:
where the values come from.

What a file says stands in `parts` as constants, and a value of a run only ever under `value`: so no
value can ask for a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from celeriac.errors import Abort

if TYPE_CHECKING:
    from celeriac.actions.secrets import Secrets

MISSING = "outcome_unknown"


class Filler(BaseModel):
    """A part of a text: a constant, a value, a secret, or something inside of the own result."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["text", "value", "secret", "result"]
    value: Any = None


class Hole(BaseModel):
    """A text that is put together when it is used, and where in the request it belongs."""

    model_config = ConfigDict(extra="forbid")

    at: list[str | int]
    parts: list[Filler]


def filled(
    request: dict[str, Any], holes: list[Hole], secrets: Secrets, result: Any
) -> dict[str, Any]:
    """The request with its texts; raises Abort for a value that cannot stand where it should."""
    for hole in holes:
        is_url = hole.at == ["url"] and len(hole.parts) > 1
        values = [_part(each, secrets, result, is_url=is_url) for each in hole.parts]
        place: Any = request
        for key in hole.at[:-1]:
            place = place[key]
        place[hole.at[-1]] = values[0] if len(values) == 1 else "".join(map(_text, values))
    return request


def _part(part: Filler, secrets: Secrets, result: Any, *, is_url: bool) -> Any:
    if part.kind == "text":
        return part.value
    if part.kind == "secret":
        return secrets.get(part.value)
    value = part.value if part.kind == "value" else _inside(result, part.value)
    return _in_url(_text(value)) if is_url else value


def _in_url(text: str) -> str:
    """A value as one part of a URL, whatever it holds."""
    if text in (".", "..", ""):
        raise Abort(f"{text!r} cannot be a part of a URL", code="value_refused", effect=False)
    return quote(text, safe="")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Abort(
        "only texts, numbers, true and false can stand inside of a text",
        code="value_refused",
        effect=False,
    )


def _inside(result: Any, path: list[str | int]) -> Any:
    for key in path:
        try:
            result = result[key]
        except (KeyError, IndexError, TypeError):
            raise Abort(
                f"the step has left no {'.'.join(map(str, path))}, since its outcome is unknown or "
                "its answer was another one: undo it by hand, and waive it",
                code=MISSING,
            ) from None
    return result
