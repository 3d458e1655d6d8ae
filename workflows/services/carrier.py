"""The carrier: takes parcels, calls them back, and is slow where a ferry is needed.

Owns: what it delivers, where to, and how long it thinks about it.  Refuses to know: what is in a
parcel, and how long anybody is willing to wait.
"""

from __future__ import annotations

from workflows.services import ledger

SECONDS = 0.01  # what a call takes
FERRY_SECONDS = 10.0  # … and where the ferry has to confirm first


def ship(address: str, shipping: str, *, order: str, payment: str, key: str) -> str:
    """Send the parcel of *order*, paid for by *payment*, to *address*; its tracking number.

    By ferry the parcel is accepted only after `FERRY_SECONDS`: too late for whoever cannot wait,
    but accepted.  Raises Refused (`undeliverable`) for post boxes; then nothing was sent.
    """
    effect = ledger.Effect("ship", order, address, quantity=1, because=payment)
    with ledger.call("ship", key, takes=FERRY_SECONDS if shipping == "ferry" else SECONDS):
        if address.startswith("PO Box"):
            raise ledger.Refused("undeliverable", "parcels are not delivered to post boxes")
        return ledger.once(key, effect)


def cancel(*, key: str) -> None:
    """Call the parcel of *key* back; if it was not sent yet, it never will be."""
    with ledger.call("cancel", key, takes=SECONDS):
        ledger.undo(key, "ship")
