"""The parts of the demo that can be wrong by themselves: the screen and the verdict.

Owns: what is shown, and that wrong books are called wrong.  Refuses to know: the accident and the
demo as a whole (tests/workers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from workflows import demo
from workflows.order import Order
from workflows.progress_display import LiveScreen, PlainScreen, Progress, open_screen
from workflows.reconcile import Ended
from workflows.services import bank, carrier, ledger, stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRESS = Progress(3.25, 7, 20, {"running": 2, "completed": 4, "compensated": 1})


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new shop with ten spades, whose partners take no time."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "shop.db"))
    for service in (bank, carrier, stock):
        monkeypatch.setattr(service, "SECONDS", 0.0)
    stock.fill({"SPADE": 10})
    yield
    ledger.close()


# --- the screen --------------------------------------------------------------------------------


def test_plain_progress_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal, progress is one line of a table, every other second."""
    screen = open_screen()
    screen.show(PROGRESS)
    screen.show(PROGRESS._replace(seconds=3.5))
    screen.say("done")
    assert isinstance(screen, PlainScreen)
    assert capsys.readouterr().out.splitlines() == [
        "time     placed  running  compensating  completed  compensated  failed",
        "  3.2 s       7        2             ·          4            1       ·",
        "done",
    ]


def test_live_progress_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """With rich, progress is a table, and what is said stays."""
    pytest.importorskip("rich", reason="the extra celeriac[cli] is not installed")
    screen = LiveScreen()
    screen.show(PROGRESS)
    screen.say("[order-1] hit", "red")
    screen.rest()
    shown = capsys.readouterr().out
    assert "7 of 20 orders placed, 3.2 s" in shown
    assert "[order-1] hit" in shown


# --- the verdict -------------------------------------------------------------------------------

ORDER = Order(
    id="order-1",
    customer="Ada Birch",
    sku="SPADE",
    quantity=2,
    unit_price=1000,
    amount=2000,
    card="tok_visa_1",
    address="1 Mill Lane",
)


def verdict(status: str, *, kill: bool = False) -> bool:
    """What the demo says of a day with one order."""
    nothing: Any = None
    day = demo.Day([ORDER], nothing, nothing, nothing, PlainScreen(), kill=kill)
    return demo._report(day, {ORDER.id: Ended(status)}, PlainScreen())


@pytest.fixture
def sold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one order was placed, paid for and shipped."""
    monkeypatch.setattr(stock, "catalogue", lambda: {"SPADE": 10})
    hold = stock.hold("SPADE", 2, order=ORDER.id, key="k1")
    paid = bank.charge(ORDER.card, 2000, order=ORDER.id, hold=hold, key="k2")
    carrier.ship(ORDER.address, "standard", order=ORDER.id, payment=paid, key="k3")


@pytest.mark.usefixtures("sold")
def test_right_books_are_called_right(capsys: pytest.CaptureFixture[str]) -> None:
    """A day on which all went as it must is right, and its sums are shown."""
    assert verdict("completed")
    shown = capsys.readouterr().out
    assert "Money     20.00 charged, 0.00 refunded, 20.00 kept" in shown
    assert "Stock     10 articles before, 2 sold, 8 left" in shown
    assert "WRONG" not in shown


@pytest.mark.usefixtures("sold")
def test_wrong_books_are_called_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """A day on which something was not undone is wrong, and it is said what."""
    bank.refund(key="k2")
    assert not verdict("completed")
    assert "WRONG     order-1: its charge was undone and must stand" in capsys.readouterr().out


@pytest.mark.usefixtures("sold")
def test_a_wrong_status_is_called_wrong() -> None:
    """A day on which an order ended in another way than it must is wrong."""
    assert not verdict("compensated")


@pytest.mark.usefixtures("sold")
def test_a_kill_that_did_not_happen_is_called_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """A demo that was to kill somebody and did not has shown nothing."""
    assert not verdict("completed", kill=True)
    assert "so none was killed" in capsys.readouterr().out
