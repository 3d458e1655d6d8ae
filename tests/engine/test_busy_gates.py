"""A gate that others are at in the same moment: nobody comes through without having a place.

Owns: what a claim, and an operator, hear of it, and that who waits is called.  Refuses to know: who
may pass (`tests/gating`).
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.errors import CommandRefused, StoreUnavailable
from celeriac.machine import Claim, Gate, Rule
from celeriac.machine.places import lines_of
from celeriac.store import line_member
from tests.engine.driver import LEASE, Shop
from tests.machine.story import saga, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.engine.attempts import Attempt


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


def two_copies_at_a_full_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Shop, Attempt, list[Any]]:
    """Two copies of the message of `order-2` have joined the line, and its run does not know yet.

    Returns who is inside, and with what `wait_in_line` was called for each copy.
    """
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
    return shop, inside, held


@pytest.mark.parametrize("order", [1, -1])
def test_two_copies_come_to_it_in_one_moment(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    """The first may be the last to write the run, or the line: it is called all the same."""
    shop, inside, held = two_copies_at_a_full_gate(monkeypatch)
    gates = shop.engine.gates
    for about in held[::order]:
        with pytest.raises(CommandRefused, match="no more than 1 at a time"):
            gates.wait_in_line(*about)
    shop.finish(inside)
    assert [each.run_id for each in shop.post.waiting] == ["order-2"]
    assert shop.work() == 1


@pytest.mark.parametrize("first", ["let out", "waits"])
def test_one_copy_is_let_out_while_the_other_waits(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """A copy that is refused lets its step out of the line in which it waits by the other copy.

    The run may know by then that it waits, or not yet.
    """
    shop, inside, held = two_copies_at_a_full_gate(monkeypatch)
    gates = shop.engine.gates

    def refuse(*_: object) -> None:
        raise CommandRefused("not_due", "its run was held in this moment")

    for what in sorted(["let out", "waits"], key=lambda each: each != first):
        with monkeypatch.context() as patch:
            if what == "let out":
                patch.setattr(gates._commander, "command", refuse)
            with pytest.raises(CommandRefused) as told:
                gates.wait_in_line(*held.pop())
        assert told.value.reason == ("not_due" if what == "let out" else "blocked")
    (turn,) = lines_of(shop.run("order-2"))
    assert shop.store.gates.read("room", turn=line_member(turn)).queued == turn.since
    shop.finish(inside)
    assert [each.run_id for each in shop.post.waiting] == ["order-2"]


@pytest.mark.parametrize("fate", ["is refused", "dies"])
def test_whoever_passes_in_vain_is_in_line_again(
    monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    """One message has left the line and taken a place; its step waits, by another one meanwhile."""
    room = Gate(name="room", rule=Rule(kind="limit", most=1))
    shop = Shop(saga(step("charge", gates=(room,))))
    gates, passed = shop.engine.gates, list[Claim]()
    gates.send = partial(shop.engine.send, shop.post)
    shop.start("order-1")
    inside = shop.claim()
    shop.start("order-2")
    assert shop.claim() is None
    assert inside is not None
    shop.finish(inside)

    def stop(pass_all: Callable[..., Claim]) -> Callable[..., Claim]:
        def told(*words: Any) -> Claim:
            passed.append(pass_all(*words))
            assert shop.store.gates.read("room").waiting == 0
            if fate == "dies":
                raise KeyboardInterrupt
            raise CommandRefused("not_due", "its run was held in this moment")

        return told

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(gates, "pass_all", stop(gates.pass_all))
        assert shop.claim() is None
    assert len(passed) == 1
    (turn,) = lines_of(shop.run("order-2"))
    if fate == "dies":
        assert shop.store.gates.read("room", turn=line_member(turn)).queued is None
        shop.clock.now += LEASE + 1
        gates.look("room")
    found = shop.store.gates.read("room", turn=line_member(turn))
    assert (found.queued, found.taken) == (turn.since, 0)
