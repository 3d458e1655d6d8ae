"""The mark that a sweep leaves: by it anybody can tell that there are sweeps, and how they keep up.

Owns: when it is left, and what it says.  Refuses to know: who reads it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from celeriac.engine.sweep import Sweep
from celeriac.errors import StoreError, StoreFull, StoreUnavailable
from celeriac.testing.clock import NOON
from tests.engine.driver import GRACE, Shop
from tests.machine.story import saga

if TYPE_CHECKING:
    from celeriac.store import DueBatch, SweepMark


def shop() -> Shop:
    """A shop with a saga of one step."""
    return Shop(saga("reserve"))


def mark(at: Shop) -> SweepMark:
    """What is known of the newest sweep."""
    found = at.store.last_sweep()
    assert found is not None
    return found


def test_a_sweep_with_nothing_to_do_leaves_its_mark() -> None:
    """It was there, and nothing had waited for it."""
    at = shop()
    assert at.store.last_sweep() is None
    at.sweep()
    assert mark(at) == (NOON, 0, 0, NOON)
    at.clock.now += 700
    at.sweep()
    assert mark(at).at == NOON + 700


def test_the_lag_is_that_of_the_entry_longest_due() -> None:
    """Over all shards; in the next sweep it is gone."""
    at = shop()
    at.post.losing = True
    for number in range(8):
        at.start(f"order-{number}")
        at.clock.now += 100
    first_due = min(entry for entry in at.store._wake.values())
    at.clock.now = first_due + 4_321
    at.sweep()
    assert mark(at).lag == 4_321
    at.sweep()
    assert mark(at).lag == 0


def test_how_long_it_took() -> None:
    """Time that passes while it sweeps is told in ms."""
    at = shop()
    at.start()
    at.post.waiting.clear()
    at.clock.now += GRACE
    at.store.between = lambda: at.clock.pause(0.25)
    at.sweep()
    assert mark(at).took == 250


def test_a_sweep_that_missed_a_shard_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one that got through every shard counts."""
    at = shop()
    due = at.store.due

    def spoilt(shard: int, limit: int) -> DueBatch:
        if shard == 1:
            raise StoreError("holds something else under our keys")
        return due(shard, limit)

    monkeypatch.setattr(at.store, "due", spoilt)
    at.sweep()
    assert at.store.last_sweep() is None


def test_a_full_store_is_swept_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the mark cannot be written, the sweep has done its work, and says so."""
    at = shop()
    at.start()
    at.post.waiting.clear()
    at.clock.now += GRACE

    def full(lag_ms: int, took_ms: int) -> None:
        raise StoreFull(f"is at maxmemory ({lag_ms}, {took_ms})")

    monkeypatch.setattr(at.store, "swept", full)
    with caplog.at_level(logging.ERROR, "celeriac"):
        assert at.sweep() == 1
    assert "the sweep is done, but could not be recorded" in caplog.text
    assert len(at.post.waiting) == 1


def test_a_store_that_goes_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever called the sweep hears of it, as at any other moment of a sweep."""
    at = shop()

    def away(lag_ms: int, took_ms: int) -> None:
        raise StoreUnavailable(f"connection refused ({lag_ms}, {took_ms})")

    monkeypatch.setattr(at.store, "swept", away)
    with pytest.raises(StoreUnavailable):
        Sweep(at.engine, at.post).run()
