"""A gate that others are at in the same moment: nobody comes through without having a place.

Owns: what a claim, and an operator, hear of it, and that who waits is called.  Refuses to know: who
may pass (`tests/gating`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from celeriac.errors import CommandRefused, StoreUnavailable
from celeriac.machine import Gate, Rule
from tests.engine.driver import Shop
from tests.machine.story import saga, step


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


@pytest.mark.parametrize("order", [1, -1])
def test_two_copies_come_to_it_in_one_moment(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    """The first may be the last to write the run, or the line: it is called all the same."""
    room = Gate(name="room", rule=Rule(kind="limit", most=1))
    shop = Shop(saga(step("charge", gates=(room,))))
    gates, held = shop.engine.gates, list[Any]()
    gates.send = partial(shop.engine.send, shop.post)
    shop.start("order-1")
    inside = shop.claim()
    assert inside is not None
    shop.start("order-2")
    message = shop.post.waiting.pop()

    def hold(*about: Any) -> None:
        held.append(about)
        raise CommandRefused("blocked", "it has joined the line, and the run does not know yet")

    with monkeypatch.context() as patch:
        patch.setattr(gates, "wait_in_line", hold)
        for _ in range(2):
            assert shop.claim(message) is None
            shop.clock.now += 5
    for about in held[::order]:
        with pytest.raises(CommandRefused, match="no more than 1 at a time"):
            gates.wait_in_line(*about)
    shop.finish(inside)
    assert [each.run_id for each in shop.post.waiting] == ["order-2"]
    assert shop.work() == 1
