"""A gate that all others are quicker at: nobody comes through without having a place.

Owns: what a claim, and an operator, hear of it.  Refuses to know: who may pass (`tests/gating`).
"""

from __future__ import annotations

import pytest

from celeriac.errors import StoreUnavailable
from celeriac.machine import Gate, Rule
from tests.engine.driver import Shop
from tests.machine.story import saga


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A run that is to pass a gate; whoever writes there finds that it has just changed."""
    rules = {"bank": Rule(kind="breaker", most=5, per=60_000, open_for=30_000)}
    room = Gate(name="room", rule=Rule(kind="limit", most=1))
    shop = Shop(saga("charge").model_copy(update={"gates": (room,)}))
    shop.engine.gates.know(rules)
    shop.start()
    monkeypatch.setattr(shop.store.gates, "commit", lambda _: False)
    return shop


def test_a_claim_does_not_pass(at: Shop) -> None:
    """It took no place, so there might be one too many inside."""
    with pytest.raises(StoreUnavailable, match="gate room is too busy"):
        at.claim()
    assert at.run().step("charge").do.attempt == 0


def test_an_operator_is_told(at: Shop) -> None:
    """Or they would take a breaker for open that is not."""
    with pytest.raises(StoreUnavailable, match="gate bank is too busy"):
        at.engine.gates.set_breaker("bank", "eve", to_open=True)
