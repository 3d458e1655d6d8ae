"""What is known of a gate, beside who is inside and who waits.

Owns: the record, how it is written down, and how a breaker stands by it.  Refuses to know: what
follows from it (`judging`), and where it is kept.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationError

from celeriac.errors import StoreError
from celeriac.machine import Frozen, Rule

State = Literal["closed", "open", "half_open"]
#: How an attempt ended, as a breaker sees it: `none` says nothing of what is behind it.
Outcome = Literal["failure", "answer", "none"]


class Record(Frozen):
    """What is known of a gate."""

    #: A number that is larger at each change, also over a gate that was forgotten meanwhile.
    version: int
    rule: Rule
    failures: tuple[int, ...] = ()  # of a breaker that is closed: when, in ms
    opened: int = 0  # ms: of a breaker that is open: since then; 0: it is closed
    until: int = 0  # ms: it lets one attempt try then; 0: when an operator says so
    by: str = ""  # the operator who opened or closed it last

    @property
    def set_open(self) -> bool:
        """True of a breaker that an operator has opened."""
        return bool(self.opened and not self.until)

    def state(self, now: int) -> State:
        """How a breaker stands at *now*."""
        if not self.opened:
            return "closed"
        return "half_open" if self.until and now >= self.until else "open"


def dump(record: Record) -> str:
    """Return a record as text that begins with its version, by which two are told apart."""
    return f"{record.version} {record.model_dump_json(exclude_defaults=True)}"


def load(gate: str, text: str) -> Record:
    """Return the record that `dump` wrote; raise StoreError if it is nothing of the kind."""
    try:
        return Record.model_validate_json(text.partition(" ")[2])
    except ValidationError as error:
        raise StoreError(
            f"what is kept of gate {gate!r} cannot be read: it was written by a newer version of "
            f"celeriac, or by something else; upgrade this process ({error.errors()[0]['msg']})"
        ) from error
