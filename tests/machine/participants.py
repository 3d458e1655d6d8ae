"""The services that steps talk to, as far as a saga can tell them apart: what they do with keys.

Owns: three kinds of participant, and what they have on record of a key.  Refuses to know: runs.

A tombstone and a key that is done again until the answer is definite are the two that
docs/invariants.md calls safe; the third is what no engine can help.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True, slots=True)
class Account:
    """What a participant has on record of one idempotency key."""

    standing: int = 0  # effects that stand now
    made: int = 0  # effects there ever were
    closed: bool = False  # a tombstone: it was undone, and may not be done any more
    undone: frozenset[int] = frozenset()  # the generations whose undo was seen


class Participant(Enum):
    """How a participant deals with keys."""

    TOMBSTONE = "the undo of a key forbids a later do of it"
    KEYED = "a key is done once, and undone once for each generation"
    FORGETFUL = "every request is a new one"

    def do(self, account: Account) -> tuple[Account, bool]:
        """Return the account after a request, and whether it was granted."""
        if account.closed:
            return account, False
        if account.made and self is not Participant.FORGETFUL:
            return account, True
        return replace(account, standing=account.standing + 1, made=account.made + 1), True

    def undo(self, account: Account, generation: int) -> Account:
        """Return the account after a request to undo."""
        if self is Participant.TOMBSTONE:
            return replace(account, standing=0, closed=True)
        if self is Participant.FORGETFUL:
            return replace(account, standing=max(0, account.standing - 1))
        if generation in account.undone:
            return account
        return replace(account, standing=0, undone=account.undone | {generation})
