"""Hotels, cars and insurers: all of them take bookings by key, and some towns are trouble.

Owns: what is booked where.  Refuses to know: who travels, and why.
"""

from __future__ import annotations

from typing import Literal

from workflows.services import ledger

SECONDS = 0.02  # what a call takes

Kind = Literal["hotel", "car", "insurance"]


def book(kind: Kind, town: str, *, trip: str, key: str) -> str:
    """Book a hotel, a car or an insurance in *town*; the number of the booking.

    Raises Refused (`sold_out`) for a car in Venice and a hotel in Bielefeld: nothing is booked.
    """
    with ledger.call("book", key, takes=SECONDS):
        if (kind, town) in (("car", "Venice"), ("hotel", "Bielefeld")):
            raise ledger.Refused("sold_out", f"there is no {kind} in {town}")
        return ledger.once(key, ledger.Effect("book", trip, f"{kind} in {town}", quantity=1))


def cancel(*, key: str) -> None:
    """Cancel what is booked under *key*; if nothing is yet, nothing ever will be."""
    with ledger.call("cancel_booking", key, takes=SECONDS):
        ledger.undo(key, "book")
