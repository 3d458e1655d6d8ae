"""README and the page about testing show tests; here they are run.

Owns: that each of them passes, and that what the page says explore would say, it says.  Refuses to
know: how the pages are written.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import pytest

from celeriac.testing import Lab, explore
from tests.house.examples import examples, run
from tests.house.sources import ROOT

PAGE = ROOT / "docs" / "testing.md"


@pytest.fixture(scope="module")
def page() -> Any:
    """The page's Python, as one module."""
    return run([example for example in examples([PAGE]) if example.name == "testing"])


def test_the_tests_of_the_page_pass(page: Any) -> None:
    """A reader who pastes them sees them pass."""
    tests = [value for name, value in vars(page).items() if name.startswith("test_")]
    assert len(tests) >= 4
    for test in tests:
        page.bank.__init__()
        test(*[Lab()] * len(inspect.signature(test).parameters))


def test_the_tests_of_readme_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer who saves both blocks, as `shop.py` and as a test beside it, sees it pass."""
    shown = examples([ROOT / "README.md"])
    shop = run([example for example in shown if example.name == "shop"])
    monkeypatch.setitem(sys.modules, "shop", shop)
    tests = run([example for example in shown if example.name == "shop-test"])
    tests.test_a_declined_card_gives_the_stock_back(Lab())
    tests.test_whatever_goes_wrong()


def test_the_test_of_the_page_about_schedules_passes() -> None:
    """Two nights pass, and each has its run."""
    shown = examples([ROOT / "docs" / "schedules.md"])
    run(shown).test_a_night(Lab())


def test_the_mistake_of_the_page_is_found(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page shows of a report is what the explorer says of that mistake."""

    def refund(key: str) -> None:
        page.bank.balance += page.bank.charged.pop(key, 0)

    monkeypatch.setattr(page.bank, "refund", refund)
    order = page.Order(id="45", amount=30)
    report = explore(
        page.place_order, order, check=page.check, fresh=page.bank.__init__, seconds=150
    )
    assert report.shortest is not None
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition("The shortest: ")[2].partition("\n```")[0]
    assert f"{report.shortest.problem}\n\n{report.shortest.story}" == shown
    verdict = "place_order: " + text.partition("\n```\nplace_order: ")[2].partition("\n\n")[0]
    told = str(report).partition("\n\n")[0]
    # How many there are changes with the engine; the form is what readers learn from the page.
    assert re.sub(r"[\d.]+", "N", told).split() == re.sub(r"[\d.]+", "N", verdict).split()
