"""The basket in the lab and under the explorer: every line and one parcel, or nothing.

Owns: what its map leads to.  Refuses to know: workers and Redis.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from celeriac.testing import Lab, explore
from workflows.fulfilment import Basket, Line, fulfil
from workflows.services import carrier, ledger, stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac.testing import LabRun


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new ledger and a small shop, whose services take no time."""
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "baskets.db"))
    monkeypatch.setattr(stock, "SECONDS", 0.0)
    monkeypatch.setattr(carrier, "SECONDS", 0.0)
    stock.fill({"tea": 1_000, "cup": 3})
    yield
    ledger.close()


def basket(*lines: Line, address: str = "1 High Street") -> Basket:
    """A basket of these lines."""
    return Basket(id="b-1", lines=list(lines), address=address)


def standing(run_id: str) -> dict[str, int]:
    """What stands for a run: holds and parcels."""
    found: Counter[str] = Counter()
    for row in ledger.rows():
        if row.key.startswith(f"{run_id}:"):
            found[row.item] += 1 if row.kind in ("hold", "ship") else -1
    return {item: count for item, count in found.items() if count}


def tea(count: int) -> list[Line]:
    """So many lines of tea."""
    return [Line(sku="tea", quantity=1) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 30])
def test_each_line_is_picked_and_one_parcel_sent(lab: Lab, count: int) -> None:
    """However many there are; a download needs no shelf."""
    run = lab.start(
        fulfil, basket(*tea(count), Line(sku="song", quantity=1, download=True)), id="f"
    )
    assert run.result().tracking
    assert standing("f") == {"tea": count, "1 High Street": 1}
    assert run.state().step("pick").elements == {"completed": count, "skipped": 1}


def test_an_empty_basket_is_sent_all_the_same(lab: Lab) -> None:
    """There was nothing to pick."""
    assert lab.start(fulfil, basket(), id="f").result().tracking
    assert standing("f") == {"1 High Street": 1}


def test_a_line_that_is_not_there_puts_all_back(lab: Lab) -> None:
    """And nothing is sent."""
    lines = [*tea(7), Line(sku="cup", quantity=4), *tea(20)]
    run = lab.start(fulfil, basket(*lines), id="f")
    lab.run()
    assert run.status == "compensated"
    assert run.state().failed_step == "pick[7]"
    assert standing("f") == {}
    assert stock.on_hand() == {"cup": 3, "tea": 1_000}


def test_whatever_goes_wrong() -> None:
    """Everything or nothing, with any one fault."""

    def check(run: LabRun[object]) -> None:
        wanted = {"tea": 3, "1 High Street": 1}
        assert standing(run.id) == (wanted if run.status == "completed" else {})

    report = explore(fulfil, basket(*tea(3)), check=check, pairs=False, most=120, seconds=150)
    assert report.ok, report
