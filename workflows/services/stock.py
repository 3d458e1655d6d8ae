"""The stock: holds articles for an order, and puts them back.

Owns: how many of each article are on hand; a new shop starts with what the catalogue says.
Refuses to know: customers, and what becomes of what was held.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from workflows.services import ledger

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

SECONDS = 0.005  # what a call takes
CATALOGUE = Path(__file__).parents[1] / "data" / "catalogue.json"


def hold(sku: str, quantity: int, *, order: str, key: str) -> str:
    """Take *quantity* of *sku* off the shelf for *order*; the id of the hold.

    Raises Refused (`out_of_stock`) if there are not enough; then nothing was held.
    """

    def take(db: sqlite3.Connection) -> None:
        _open_shop(db)
        changed = db.execute(
            "UPDATE stock SET on_hand = on_hand - ? WHERE sku = ? AND on_hand >= ?",
            (quantity, sku, quantity),
        ).rowcount
        if not changed:
            raise ledger.Refused("out_of_stock", f"fewer than {quantity} of {sku} are in stock")

    with ledger.call("hold", key, takes=SECONDS):
        return ledger.once(key, ledger.Effect("hold", order, sku, quantity=quantity), take)


def release(*, key: str) -> None:
    """Put back what *key* holds; if it holds nothing yet, it never will."""
    with ledger.call("release", key, takes=SECONDS):
        ledger.undo(key, "hold", _put_back)


def fill(levels: Mapping[str, int]) -> None:
    """Set how many of each article are on hand."""
    with ledger.transaction() as db:
        _set(db, levels)


def on_hand() -> dict[str, int]:
    """How many of each article are on hand now."""
    with ledger.transaction() as db:
        _open_shop(db)
        return dict(db.execute("SELECT sku, on_hand FROM stock ORDER BY sku"))


@cache
def catalogue() -> dict[str, int]:
    """How many of each article a new shop has."""
    articles = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return {article["sku"]: article["on_hand"] for article in articles}


def _open_shop(db: sqlite3.Connection) -> None:
    if db.execute("SELECT 1 FROM stock").fetchone() is None:
        _set(db, catalogue())


def _set(db: sqlite3.Connection, levels: Mapping[str, int]) -> None:
    db.executemany("INSERT OR REPLACE INTO stock VALUES (?, ?)", list(levels.items()))


def _put_back(db: sqlite3.Connection, effect: ledger.Effect) -> None:
    db.execute(
        "UPDATE stock SET on_hand = on_hand + ? WHERE sku = ?", (effect.quantity, effect.item)
    )
