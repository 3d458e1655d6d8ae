"""Writes `catalogue.json` and `orders.jsonl`: a day of a small shop, always the same one.

Owns: the articles, the customers, and how many orders of which kind there are: `KINDS`.  Refuses to
know: what must become of an order; that is read off the order itself (`workflows.reconcile`).

Run it with `python -m workflows.data.make_orders` after changing something.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
T = TypeVar("T")

# sku, name, price in cents, on hand
ARTICLES = (
    ("SEED-CELERY", "Celery seed, 2 g", 249, 160),
    ("SEED-CELERIAC", "Celeriac seed, 1 g", 319, 160),
    ("SEED-PARSNIP", "Parsnip seed, 5 g", 279, 160),
    ("SEED-LOVAGE", "Lovage seed, 1 g", 295, 120),
    ("TRAY-40", "Seed tray, 40 cells", 1195, 90),
    ("POT-COIR-50", "Coir pots, 50 pieces", 1649, 90),
    ("DIBBER-OAK", "Dibber, oak", 1880, 60),
    ("FORK-HAND", "Hand fork, forged", 3450, 60),
    ("KNIFE-ROOT", "Root knife, folding", 4275, 60),
    ("CAN-9L", "Watering can, 9 l", 3899, 60),
    ("FLEECE-10M", "Garden fleece, 10 m", 2290, 80),
    ("COMPOST-40L", "Peat-free compost, 40 l", 1099, 90),
    ("FRAME-COLD", "Cold frame, larch", 18900, 40),
    ("SPADE-BORDER", "Border spade, ash handle", 7450, 40),
    ("CLOCHE-GLASS", "Cloche, glass", 3599, 0),  # sold out
    ("SIEVE-RIDDLE", "Garden riddle, 6 mm", 2699, 0),  # sold out
)
SOLD_OUT = tuple(article for article in ARTICLES if not article[3])
IN_STOCK = tuple(article for article in ARTICLES if article[3])

# How many of 200 are of which kind; all others have nothing special about them.
KINDS = {
    "declined": 16,
    "sold_out": 9,
    "too_many": 3,
    "busy": 10,
    "lost": 10,
    "post_box": 6,
    "down": 1,
    "mute": 2,
    "closed": 2,
}
TOTAL = 200
# Spread so that never more than three worker processes wait for a ferry at a time.
FERRIES = (8, 26, 44, 115, 133, 151)

FIRST = (
    *("Ada", "Bela", "Chidi", "Dara", "Edda", "Farid", "Greta", "Hana", "Ilse", "Jonas", "Kofi"),
    *("Lale", "Mirek", "Noor", "Oda", "Priya", "Quirin", "Rosa", "Sanne", "Tomás", "Ugo", "Vera"),
)
LAST = (
    *("Abend", "Birch", "Castell", "Dunne", "Ekwe", "Farrow", "Grieve", "Holm", "Ito", "Jansen"),
    *("Kessel", "Lind", "Moreau", "Nkosi", "Oakes", "Petrov", "Quist", "Rahman", "Sorel", "Tamm"),
)
STREETS = (
    "Mill Lane",
    "Station Road",
    "Linden Street",
    "Harbour View",
    "Orchard Close",
    "North End",
)
TOWNS = ("4051 Elmford", "7320 Castlewick", "1180 Rivermouth", "9002 Stonebridge", "2277 Ashby")
ISLANDS = ("8807 Far Skerry", "8811 Gull Holm", "8815 Outer Ness")
CARDS = ("visa", "visa", "mastercard", "amex")


class Dice:
    """Choices that are the same on every version of Python: only `random()` is promised to be."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- realistic, not secret

    def below(self, limit: int) -> int:
        """A whole number from 0 up to, not including, *limit*."""
        return int(self._random.random() * limit)

    def pick(self, choices: Sequence[T]) -> T:
        """One of *choices*."""
        return choices[self.below(len(choices))]

    def mixed(self, items: Sequence[T]) -> list[T]:
        """All *items* in another order."""
        return sorted(items, key=lambda _: self._random.random())


def catalogue() -> list[dict[str, Any]]:
    """All articles as they are written to `catalogue.json`."""
    names = ("sku", "name", "unit_price", "on_hand")
    return [dict(zip(names, article, strict=True)) for article in ARTICLES]


def orders() -> Iterator[dict[str, Any]]:
    """All orders as they are written to `orders.jsonl`, in the order in which they come in."""
    dice = Dice(42)
    kinds = [kind for kind, count in KINDS.items() for _ in range(count)]
    rest = dice.mixed([*kinds, *["plain"] * (TOTAL - len(kinds) - len(FERRIES))])
    for number in range(1, TOTAL + 1):
        kind = "ferry" if number in FERRIES else rest.pop()
        yield _order(number, kind, dice)


def _order(number: int, kind: str, dice: Dice) -> dict[str, Any]:
    sku, _, price, _ = dice.pick(SOLD_OUT if kind == "sold_out" else IN_STOCK)
    seeds = sku.startswith("SEED")
    quantity = 500 if kind == "too_many" else 1 + dice.below(6 if seeds else 2)
    return {
        "id": f"order-{number:04}",
        "customer": f"{dice.pick(FIRST)} {dice.pick(LAST)}",
        "sku": sku,
        "quantity": quantity,
        "unit_price": price,
        "amount": quantity * price,
        "card": f"tok_{_card(kind, dice)}_{dice.below(16**8):08x}",
        "address": _address(kind, dice),
        "shipping": "ferry" if kind == "ferry" else dice.pick(("standard", "standard", "express")),
    }


def _card(kind: str, dice: Dice) -> str:
    if kind in ("busy", "lost"):
        return f"{kind}{1 + dice.below(2)}"
    return kind if kind in ("declined", "down", "mute", "closed") else dice.pick(CARDS)


def _address(kind: str, dice: Dice) -> str:
    if kind in ("post_box", "closed"):
        return f"PO Box {100 + dice.below(900)}, {dice.pick(TOWNS)}"
    street = f"{1 + dice.below(120)} {dice.pick(STREETS)}"
    return f"{street}, {dice.pick(ISLANDS if kind == 'ferry' else TOWNS)}"


def write(folder: Path = HERE) -> None:
    """Write both files to *folder*."""
    articles = json.dumps(catalogue(), indent=1, ensure_ascii=False)
    lines = [json.dumps(order, ensure_ascii=False) for order in orders()]
    (folder / "catalogue.json").write_text(articles + "\n", encoding="utf-8")
    (folder / "orders.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
