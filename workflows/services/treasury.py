"""The treasury: posts in the books, and transfers money on a later day, of which it tells then.

Owns: what was transferred and posted by key, and whom to call back.  Refuses to know: what for.
"""

from __future__ import annotations

from workflows.services import ledger

SECONDS = 0.02  # what a call takes

#: The orders that were taken and not answered yet: the address to call back, by key.
callbacks: dict[str, str] = {}


def order(account: str, cents: int, *, expense: str, key: str, callback: str) -> None:
    """Take the order to transfer *cents*; whoever knows *callback* is told when it is done.

    Raises Refused (`no_account`) for an account in Atlantis: nothing is transferred.
    """
    with ledger.call("transfer", key, takes=SECONDS):
        if account.startswith("AT-LANTIS"):
            raise ledger.Refused("no_account", f"there is no account {account}")
        ledger.once(key, ledger.Effect("transfer", expense, account, cents=cents))
        callbacks[key] = callback


def recall(*, key: str) -> None:
    """Take back what was transferred under *key*; if nothing is yet, nothing ever will be."""
    with ledger.call("recall", key, takes=SECONDS):
        ledger.undo(key, "transfer")
        callbacks.pop(key, None)


def post(what: str, cents: int, *, expense: str, key: str) -> str:
    """Post a debt in the books; the number of the entry."""
    with ledger.call("post", key, takes=SECONDS):
        return ledger.once(key, ledger.Effect("post", expense, what, cents=cents))


def reverse(*, key: str) -> None:
    """Reverse the entry of *key*; if there is none yet, there never will be."""
    with ledger.call("reverse", key, takes=SECONDS):
        ledger.undo(key, "post")
