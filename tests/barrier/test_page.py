"""The example of `docs/effects.md` does what the page says.

Owns: running it on a database of its own.  Refuses to know: how a barrier does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select

from celeriac import Abort, StepContext
from tests.house.examples import examples, run
from tests.house.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = ROOT / "docs" / "effects.md"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example as a module, with five mugs."""
    monkeypatch.chdir(tmp_path)
    found: Any = run([example for example in examples([PAGE]) if example.name == "barrier"])
    found.metadata.create_all(found.engine)
    with found.engine.begin() as db:
        db.execute(insert(found.stock).values(sku="mug", left=5))
    yield found
    found.engine.dispose()


def left(shop: Any) -> Any:
    """How many mugs there are."""
    with shop.engine.begin() as db:
        return db.execute(select(shop.stock.c.left)).scalar_one()


def test_the_step_takes_once_and_gives_back_once(shop: Any) -> None:
    """However often step and undo run, two mugs are taken, and put back; then no more."""
    order = shop.Order(sku="mug", quantity=2)
    step = StepContext.for_test("reserve")
    undo = StepContext.for_test("reserve", reason="cancelled")
    assert {shop.reserve(step, order).quantity for _ in range(3)} == {2}
    assert left(shop) == 3
    for _ in range(2):
        shop.release(undo)
        assert left(shop) == 5
    with pytest.raises(Abort) as refused:
        shop.reserve(step, order)
    assert (refused.value.code, refused.value.effect, left(shop)) == ("undone", False, 5)


def test_the_undo_may_come_first(shop: Any) -> None:
    """An undo before a late step undoes nothing, and the step takes nothing any more."""
    shop.release(StepContext.for_test("reserve", reason="the deadline passed"))
    with pytest.raises(Abort, match="undone"):
        shop.reserve(StepContext.for_test("reserve"), shop.Order(sku="mug", quantity=2))
    assert left(shop) == 5


def test_a_refusal_is_no_effect(shop: Any) -> None:
    """What the effect itself refuses is told as the step says, and may be asked again."""
    with pytest.raises(Abort) as refused:
        shop.reserve(StepContext.for_test("reserve"), shop.Order(sku="mug", quantity=6))
    assert (refused.value.code, refused.value.effect, left(shop)) == ("sold_out", False, 5)
    assert shop.reserve(StepContext.for_test("reserve"), shop.Order(sku="mug", quantity=5))
