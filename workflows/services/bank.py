"""The bank: charges cards and gives money back; some cards are trouble, always in the same way.

Owns: what was taken from each card, in cents, and how a card behaves.  Refuses to know: what was
bought.  A card is a token `tok_<kind>_<rest>`; what its kind does, every time:

=============  ===================================================================================
`declined`     charging is refused, definitely
`busyN`        the first N calls fail before anything is charged
`lostN`        the card is charged at the first call, but the first N answers are lost
`down`         every call fails before anything is charged
`mute`         the card is charged at the first call, but no answer ever arrives
`closed`       charging works, giving back does not: the account was closed
any other      works
=============  ===================================================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workflows.services import ledger

if TYPE_CHECKING:
    import sqlite3

SECONDS = 0.02  # what a call takes
_ALWAYS = 1_000_000


class BankUnavailable(Exception):
    """No answer came; whether the card was charged, nobody can tell from here."""


def charge(card: str, cents: int, *, order: str, hold: str, key: str) -> str:
    """Take *cents* from *card* for *order*, of which *hold* is kept; the id of the payment.

    Raises Refused (`card_declined`), then nothing was taken; or BankUnavailable, then it may be.
    """
    kind, number = _behaviour(card)
    effect = ledger.Effect("charge", order, card, cents=cents, because=hold)
    with ledger.call("charge", key, takes=SECONDS) as nth:
        if kind == "declined":
            raise ledger.Refused("card_declined", "the card was declined")
        if kind in ("busy", "down") and nth <= number:
            raise BankUnavailable("the bank is busy: ask again")
        payment = ledger.once(key, effect, lambda db: _take(db, card, cents))
        if kind in ("lost", "mute") and nth <= number:
            raise BankUnavailable("the connection broke before the answer arrived")
        return payment


def refund(*, key: str) -> None:
    """Give back what *key* took; if it took nothing yet, it never will.

    Raises Refused (`account_closed`) if the money has nowhere to go.
    """
    with ledger.call("refund", key, takes=SECONDS):
        ledger.undo(key, "charge", _give_back)


def taken() -> int:
    """All the money the shop has taken and not given back, in cents."""
    found = ledger.connection().execute("SELECT coalesce(sum(taken), 0) FROM accounts").fetchone()
    return int(found[0])


def _behaviour(card: str) -> tuple[str, int]:
    found = re.match(r"tok_([a-z]+)(\d*)_", card)
    if found is None:
        raise ledger.Refused("card_invalid", f"{card!r} is no card: tokens begin with 'tok_'")
    return found[1], int(found[2] or _ALWAYS)


def _take(db: sqlite3.Connection, card: str, cents: int) -> None:
    db.execute(
        "INSERT INTO accounts VALUES (?, ?)"
        " ON CONFLICT (card) DO UPDATE SET taken = taken + excluded.taken",
        (card, cents),
    )


def _give_back(db: sqlite3.Connection, effect: ledger.Effect) -> None:
    if _behaviour(effect.item)[0] == "closed":
        raise ledger.Refused("account_closed", "the account of this card was closed")
    _take(db, effect.item, -effect.cents)
