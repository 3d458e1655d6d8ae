"""Signals: messages to a run from outside, such as an approval, by name and with a typed payload.

Owns: `Signal`, how its payload is written and checked, and which app it belongs to.  Refuses to
know: runs, and what waits for it (`waits`).
"""

from __future__ import annotations

import weakref
from typing import Any, Generic, Literal, Protocol, TypeVar

from celeriac.authoring.codecs import Codec
from celeriac.authoring.names import checked_name
from celeriac.errors import ConfigurationError, InputInvalid

T = TypeVar("T")
#: What became of a signal that was accepted: a wait took it, or it is kept for one to come.
Answer = Literal["taken", "kept"]


class Mailer(Protocol):
    """Who sends signals to the runs of an app: its `Sagas`."""

    def signal(
        self,
        run_id: str,
        signal: Any,
        payload: Any = None,
        id: str | None = None,  # noqa: A002 -- the word of the interface
    ) -> Answer:
        """Send a signal to a run."""


class Signal(Generic[T]):
    """A message to a run from outside: `approved = Signal("approved", Approval)`.

    Make one per name, in a module; sagas wait for it with `flow.wait(approved)`.
    """

    def __init__(self, name: str, payload: type[T]) -> None:
        """*payload* is its type: a model, a dataclass, or plain values such as `str`.

        Raises DefinitionError for a name that cannot be, or a type that JSON cannot carry.
        """
        self.name = checked_name(name)
        self.payload = payload
        self._codec = Codec(payload)
        self._mailers: weakref.WeakSet[Any] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<signal {self.name}>"

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its payload, as plans keep it."""
        return self._codec.adapter.json_schema(by_alias=True)

    def dump(self, payload: Any) -> str:
        """Return a payload as JSON; raise InputInvalid if it is not of the type."""
        return self._codec.dump(payload, f"the payload of signal {self.name!r}", InputInvalid)

    def load(self, text: str) -> T:
        """Return the payload that JSON text holds; raise InputInvalid if it is none."""
        found: T = self._codec.load(text, f"the payload of signal {self.name!r}")
        return found

    def belongs_to(self, mailer: Mailer) -> None:
        """Note that sagas of *mailer* wait for it."""
        self._mailers.add(mailer)

    def send(
        self,
        run_id: str,
        payload: T,
        id: str | None = None,  # noqa: A002 -- the word of the interface
    ) -> Answer:
        """Send it to a run; return `taken` if a wait took it, `kept` if one has yet to come.

        The same *id* counts once, whatever the run has done since; left out, each call is a signal
        of its own.  Raises InputInvalid or PayloadTooLarge with nothing written, RunNotFound,
        CommandRefused, and ConfigurationError if not exactly one app waits for it.
        """
        found = list(self._mailers)
        if len(found) != 1:
            problem = (
                f"sagas of {len(found)} apps wait for it: write sagas.signal(run_id, signal, "
                "payload) of one of them"
                if found
                else "no saga of this process waits for it: import the module that defines it"
            )
            raise ConfigurationError(f"signal {self.name!r}: {problem}")
        (mailer,) = found
        answer: Answer = mailer.signal(run_id, self, payload, id)
        return answer
