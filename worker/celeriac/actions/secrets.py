"""Secrets by reference: asked of the app where they are used, and masked wherever they show up.

Owns: finding who provides them, and masking them by value.  Refuses to know: where secrets are
kept.  A secret is never stored, and never an argument of a task.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from celeriac.errors import Abort, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.actions.requests import Allowance

MASK = "•••"


def find_provider(named: str | Callable[[str], str]) -> Callable[[str], str]:
    """Return what `saga_secrets` names: `package.module.name`; raise ConfigurationError."""
    found: Any = named
    if isinstance(named, str):
        module, _, name = named.partition(":") if ":" in named else named.rpartition(".")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(
                f"saga_secrets: {named!r} cannot be imported ({error}): give package.module.name"
            ) from error
    if not callable(found):
        raise ConfigurationError(
            f"saga_secrets: {named!r} cannot be called: name a function that takes the name of a "
            "secret and returns it"
        )
    return found  # type: ignore[no-any-return]  # whatever it is, it is called with a name


class Secrets:
    """The secrets that one attempt has asked for."""

    def __init__(self, allowed: Allowance) -> None:
        self._ask = allowed.secret
        self._known: dict[str, str] = {}
        self._spellings: list[str] = []  # of those known, the longest first

    def get(self, name: str) -> str:
        """Return a secret; raise Abort, without effect, if there is none."""
        if name not in self._known:
            try:
                found = self._ask(name)
            except Exception as error:  # noqa: BLE001 -- it is code of the app
                # What it says may hold the secret: the kind must do.
                problem = (
                    f"the secret {name} cannot be had ({type(error).__name__}): see saga_secrets"
                )
                raise Abort(problem, code="no_secret", effect=False) from None
            if not isinstance(found, str) or not found:
                problem = f"the secret {name} is no text: see saga_secrets"
                raise Abort(problem, code="no_secret", effect=False)
            self._known[name] = found
            self._spellings = sorted(
                {each for secret in self._known.values() for each in _spellings(secret)},
                key=len,
                reverse=True,
            )
        return self._known[name]

    @property
    def longest(self) -> int:
        """How many bytes the longest of them has."""
        return max((len(each.encode()) for each in self._spellings), default=0)

    def text_of(self, data: bytes, most: int) -> str:
        """The text of the first *most* bytes, masked; of a secret that goes on there, nothing.

        That is seen if *data* has as many bytes more as the longest secret.
        """
        for spelling in (each.encode() for each in self._spellings):
            near = max(0, most - len(spelling) + 1)
            start = data.find(spelling, near, most + len(spelling) - 1)
            most = start if 0 <= start < most else most
        found: str = self.masked(data[:most].decode(errors="replace"))
        return found

    def masked(self, value: Any) -> Any:
        """The same value, with each secret masked that stands in a text of it."""
        if isinstance(value, str):
            for spelling in self._spellings:
                value = value.replace(spelling, MASK)
            return value
        if isinstance(value, list):
            return [self.masked(each) for each in value]
        if isinstance(value, dict):
            return {self.masked(key): self.masked(each) for key, each in value.items()}
        return value


def _spellings(secret: str) -> tuple[str, ...]:
    """A secret as it may come back: as it is, in a URL, and inside of a text of JSON."""
    in_json = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    return secret, quote(secret), quote(secret, safe=""), quote_plus(secret), *in_json
