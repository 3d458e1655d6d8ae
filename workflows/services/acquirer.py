"""The acquirer: holds money on cards and vouchers, and takes it, or lets it go.

Owns: what is held and taken from whom, and how a source behaves.  Refuses to know: what is paid
for.  A source is a token `tok_<kind>_<rest>`.  Of kind `declined` nothing can be held, definitely;
of kind `frozen` what is held cannot be taken, definitely; of kind `busyN` the first N calls for
each key fail before anything happens.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workflows.services import ledger

if TYPE_CHECKING:
    import sqlite3

SECONDS = 0.02  # what a call takes


class AcquirerUnavailable(Exception):
    """No answer came; whether the request was carried out, nobody can tell from here."""


def authorise(source: str, cents: int, *, payment: str, key: str) -> str:
    """Hold *cents* on *source* under *key*; the id of the authorisation.

    Raises Refused (`declined`), then nothing is held; or AcquirerUnavailable.
    """
    with ledger.call("authorise", key, takes=SECONDS) as nth:
        kind = _behaviour(source, nth)
        if kind == "declined":
            raise ledger.Refused("declined", f"{source} was declined")
        return ledger.once(key, ledger.Effect("authorise", payment, source, cents=cents))


def capture(authorisation: str, source: str, cents: int, *, payment: str, key: str) -> str:
    """Take what was held; the id of the capture.

    Raises Refused (`frozen`, `void`), then nothing was taken; or AcquirerUnavailable.
    """
    effect = ledger.Effect("capture", payment, source, cents=cents, because=authorisation)
    with ledger.call("capture", key, takes=SECONDS) as nth:
        if _behaviour(source, nth) == "frozen":
            raise ledger.Refused("frozen", f"{source} is frozen: call the acquirer")
        return ledger.once(key, effect, lambda db: _check_held(db, authorisation))


def void(*, key: str) -> None:
    """Let go what is held under *key*; if nothing is yet, nothing ever will be."""
    with ledger.call("void", key, takes=SECONDS):
        ledger.undo(key, "authorise")


def _behaviour(source: str, nth: int) -> str:
    found = re.match(r"tok_([a-z]+)(\d*)_", source)
    if found is None:
        raise ledger.Refused("unknown_source", f"{source!r} is none: tokens begin with 'tok_'")
    if found[1] == "busy" and nth <= int(found[2] or 1):
        raise AcquirerUnavailable("the acquirer is busy: ask again")
    return found[1]


def _check_held(db: sqlite3.Connection, authorisation: str) -> None:
    query = "SELECT count(*) FROM keys WHERE answer = ? AND state = 'done'"
    if db.execute(query, (authorisation,)).fetchone() == (0,):
        raise ledger.Refused("void", f"{authorisation} is not held (any more)")
