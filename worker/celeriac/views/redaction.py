"""What is not to be seen: fields that `saga_redact` names, and their values in texts.

Owns: hiding them in JSON values and in texts that quote them.  Refuses to know: who looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

HIDDEN = "•••"
_SHORTEST = 3  # characters: what is shorter stands in any text by accident


class Redaction:
    """Hides the fields of these names, whatever their case, at any depth."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(name.casefold() for name in names)

    def __bool__(self) -> bool:
        """True if anything is hidden."""
        return bool(self._names)

    def of(self, value: Any, within: Any = None) -> Any:
        """Return a JSON value with what is not to be seen hidden, also where a text quotes it.

        Where *value* was cut out of another, or has names of its own, that is *within*: what is
        hidden there is hidden here, whatever it is called.
        """
        if not self._names:
            return value
        quoted = sorted({*self._values(value), *self._values(within)}, key=len, reverse=True)
        return self._hide(value, quoted)

    def _values(self, value: Any) -> Iterator[str]:
        """The texts of all values under hidden names."""
        if isinstance(value, dict):
            for key, each in value.items():
                yield from _texts(each) if self._hides(key) else self._values(each)
        elif isinstance(value, list):
            for each in value:
                yield from self._values(each)

    def _hide(self, value: Any, quoted: list[str]) -> Any:
        if isinstance(value, dict):
            return {
                key: HIDDEN if self._hides(key) else self._hide(each, quoted)
                for key, each in value.items()
            }
        if isinstance(value, list):
            return [self._hide(each, quoted) for each in value]
        if isinstance(value, str):
            for text in quoted:
                value = value.replace(text, HIDDEN)
            return value
        # A number is no text, and may be the same one.
        return HIDDEN if any(text in quoted for text in _texts(value)) else value

    def _hides(self, key: object) -> bool:
        # A parameter of a saga is kept as `in:card`: what it is called counts.
        name = str(key).casefold()
        return name in self._names or name.removeprefix("in:") in self._names


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in a value, as a text would quote it."""
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif value is not None and not isinstance(value, bool) and len(str(value)) >= _SHORTEST:
        yield str(value)
