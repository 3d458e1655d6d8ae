"""Definitions are kept by saga and version, and never change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celeriac.store import Store


def test_the_first_one_stays(store: Store) -> None:
    """Whoever keeps a version again is given the one that is there."""
    assert store.definitions() == {}
    assert store.keep_definition("a:b@c", 1, "first") == "first"
    assert store.keep_definition("a:b@c", 1, "first") == "first"
    assert store.keep_definition("a:b@c", 1, "other") == "first"
    assert store.keep_definition("a:b@c", 12, "other") == "other"
    assert store.definitions() == {("a:b@c", 1): "first", ("a:b@c", 12): "other"}
